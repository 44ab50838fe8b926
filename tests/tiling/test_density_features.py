"""Entropy, distances and the features that are made of them."""

import math

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close
from adaptive_attention_tiling.tiling import (
    InformationDensityAnalyzer,
    attention_entropy,
    encoding_distance,
    entropy_of_probabilities,
    temporal_distance,
)

B, H, G, T, D = 2, 4, 2, 300, 8


def make_pair(*, queries: int = T, keys: int = T) -> tuple[Tensor, Tensor]:
    query = 2 * torch.randn(B, H, queries, D, dtype=torch.float64)
    return query, 2 * torch.randn(B, G, keys, D, dtype=torch.float64)


def dense_attention(query: Tensor, key: Tensor, scale: float = D**-0.5) -> Tensor:
    logits = query @ key.repeat_interleave(H // G, 1).mT * scale
    hidden = torch.ones(logits.shape[-2:], dtype=torch.bool)
    hidden = hidden.triu(key.shape[2] - query.shape[2] + 1)
    return logits.masked_fill(hidden, -torch.inf).softmax(-1)


def test_hand_worked_entropies():
    attention = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]]).double()
    wanted = torch.tensor([0, math.log(2), math.log(4)], dtype=torch.float64)
    assert_close(entropy_of_probabilities(attention), wanted)


@pytest.mark.parametrize(("queries", "keys"), [(T, T), (1, T), (130, T), (1, 1)])
def test_chunked_entropies_are_the_dense_ones(queries, keys):
    query, key = make_pair(queries=queries, keys=keys)
    wanted = entropy_of_probabilities(dense_attention(query, key))
    assert_close(attention_entropy(query, key), wanted)
    wanted = entropy_of_probabilities(dense_attention(query, key, 0.1))
    assert_close(attention_entropy(query, key, scale=0.1), wanted)


def test_gradients_of_chunked_entropies_are_the_dense_ones():
    query, key = (x.requires_grad_() for x in make_pair())
    weights = torch.randn(B, H, T, dtype=torch.float64)
    fast = (attention_entropy(query, key) * weights).sum()
    slow = (entropy_of_probabilities(dense_attention(query, key)) * weights).sum()
    pairs = zip(
        torch.autograd.grad(fast, [query, key]),
        torch.autograd.grad(slow, [query, key]),
        strict=True,
    )
    for got, wanted in pairs:
        assert_close(got, wanted, gradient=True)


@pytest.mark.parametrize("position", [1, 128, 200])
def test_entropies_do_not_look_ahead(position):
    assert_causal(lambda q, k: attention_entropy(q, k)[..., None], make_pair(), position)


def test_alike_keys_spread_attention_over_all_there_are():
    query, key = make_pair()
    wanted = (1 + torch.arange(T, dtype=torch.float64)).log().expand(B, H, T)
    assert_close(attention_entropy(query, torch.zeros_like(key)), wanted)


def test_the_logits_never_exist_all_at_once(monkeypatch):
    rows = []
    plain = torch.Tensor.log_softmax

    def watched(logits: Tensor, *args: object) -> Tensor:
        rows.append(logits.shape[-2])
        return plain(logits, *args)

    monkeypatch.setattr(torch.Tensor, "log_softmax", watched)
    attention_entropy(*make_pair())
    assert rows == [128, 128, 44]


def test_features_are_what_their_names_say():
    states = torch.randn(B, T, 5, dtype=torch.float64)
    positions = (torch.rand(B, T, dtype=torch.float64) + 0.1).cumsum(-1)
    query, key = make_pair()
    analyzer = InformationDensityAnalyzer(4)
    features = analyzer.extract_density_features(states, positions, query=query, key=key)
    assert sorted(features) == ["attention_entropy", "gradient_density", "temporal_distance"]
    assert_bit_equal(features["gradient_density"], analyzer.compute_density(states, positions))
    assert_close(features["temporal_distance"][:, 1:], positions.diff(dim=-1))
    assert not features["temporal_distance"][:, 0].any()
    assert_close(features["attention_entropy"], attention_entropy(query, key).mean(1))
    attention = dense_attention(query, key)
    again = analyzer.extract_density_features(states, positions, attention=attention)
    assert_close(again["attention_entropy"], features["attention_entropy"])


def test_features_without_attention_or_positions():
    features = InformationDensityAnalyzer().extract_density_features(torch.randn(B, 6, 5))
    assert sorted(features) == ["gradient_density", "temporal_distance"]
    assert features["temporal_distance"].tolist() == [[0, 1, 1, 1, 1, 1]] * B
    assert features["temporal_distance"].dtype == torch.float32


def test_the_distance_of_sinusoidal_encodings():
    frequencies = 100 ** (-torch.arange(6, dtype=torch.float64) / 6)

    def encoded(p: Tensor) -> Tensor:
        angles = p[..., None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], -1)

    start = 50 * torch.rand(20, dtype=torch.float64)
    delta = 30 * torch.rand(20, dtype=torch.float64)
    apart = (encoded(start + delta) - encoded(start)).norm(dim=-1) / encoded(start).norm(dim=-1)
    assert_close(encoding_distance(delta, frequencies), apart)


def test_the_distance_of_rotary_encodings():
    frequencies = 100 ** (-torch.arange(3, dtype=torch.float64) / 3)
    x = torch.randn(200_000, 3, 2, dtype=torch.float64)
    z = torch.view_as_complex(x)
    delta = torch.tensor(2.0).double()
    turned = torch.polar(torch.ones(3).double(), 1.5 * frequencies + delta * frequencies)
    still = torch.polar(torch.ones(3).double(), 1.5 * frequencies)
    squares = (z * turned - z * still).abs().square().sum(-1) / z.abs().square().sum(-1)
    measured, deviation = squares.mean(), squares.std() / len(x) ** 0.5
    assert abs(encoding_distance(delta, frequencies) ** 2 - measured) < 4 * deviation


def test_the_gap_before_the_first_token_is_none():
    assert temporal_distance(torch.tensor([[3, 4, 9]])).tolist() == [[0, 1, 5]]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("attention", lambda: entropy_of_probabilities(torch.tensor([0.5, 0.6]))),
        ("attention", lambda: entropy_of_probabilities(torch.tensor([1.5, -0.5]))),
        ("attention", lambda: entropy_of_probabilities(torch.tensor([math.nan, 1.0]))),
        ("attention", lambda: entropy_of_probabilities(torch.tensor([1, 0]))),
        ("key", lambda: attention_entropy(torch.zeros(1, 3, 4, 2), torch.zeros(1, 2, 4, 2))),
        ("key", lambda: attention_entropy(torch.zeros(1, 2, 5, 2), torch.zeros(1, 2, 4, 2))),
        ("key", lambda: attention_entropy(torch.zeros(1, 2, 4, 2), torch.zeros(1, 2, 4, 3))),
        ("key", lambda: features_of(query=torch.zeros(1, 2, 4, 2))),
        (
            "attention",
            lambda: features_of(attention=torch.ones(1, 1, 4, 1), key=torch.zeros(1, 2, 4, 2)),
        ),
        ("positions", lambda: temporal_distance(torch.tensor([[3, 3]]))),
        ("frequencies", lambda: encoding_distance(torch.ones(2), torch.ones(0))),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.name == name


def features_of(**given: Tensor) -> dict[str, Tensor]:
    return InformationDensityAnalyzer().extract_density_features(torch.zeros(1, 4, 2), **given)
