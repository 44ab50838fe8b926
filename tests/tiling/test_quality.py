"""Information flow quality stays in [0, 1]; the formula that it comes from does not."""

import math
from dataclasses import astuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close
from adaptive_attention_tiling.tiling.quality import (
    QualityReport,
    QualityWeights,
    cross_tile_flow,
    edge_utilization,
    information_density,
    information_flow_quality,
    pattern_stability,
)

B, H, T, S, N, V, C = 2, 3, 4, 6, 3, 5, 7
SPANS = torch.tensor([[0, 2], [2, 3], [3, 6]])
WEIGHTS = QualityWeights(
    pattern_stability=0.1, cross_tile_flow=0.2, edge_utilization=0.3, information_density=0.4
)


def probabilities(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).softmax(-1)


def inputs(*batch: int) -> dict[str, Tensor]:
    return {
        "previous": probabilities(*batch, T, S),
        "current": probabilities(*batch, T, S),
        "distributions": probabilities(*batch, N, V),
        "gradient": torch.randn(*batch, T, C, dtype=torch.float64),
        "spans": SPANS,
    }


def only(part: str) -> QualityWeights:
    return QualityWeights(**{name: float(name == part) for name in QualityReport._fields[:4]})


def test_it_is_the_weighted_sum_of_its_parts():
    given = inputs(B, H)
    report = information_flow_quality(**given, weights=WEIGHTS)
    parts = [
        pattern_stability(given["previous"], given["current"]),
        cross_tile_flow(given["distributions"]),
        edge_utilization(given["current"], SPANS),
        information_density(given["gradient"]),
    ]
    for got, wanted in zip(report[:4], parts, strict=True):
        assert_bit_equal(got.raw, wanted.raw)
        assert_bit_equal(got.bounded, wanted.bounded)
    weights = (0.1, 0.2, 0.3, 0.4)
    pairs = list(zip(weights, parts, strict=True))
    assert_close(report.raw_ifq, torch.stack([w * p.raw for w, p in pairs]).sum(0))
    assert_close(report.ifq, torch.stack([w * p.bounded for w, p in pairs]).sum(0))
    assert report.ifq.shape == (B, H)


def test_texts_and_heads_of_a_batch_do_not_mix():
    given = inputs(B, H)
    whole = information_flow_quality(**given).ifq
    alone = {name: x if name == "spans" else x[1, 2] for name, x in given.items()}
    assert_close(whole[1, 2], information_flow_quality(**alone).ifq)


def test_heads_may_share_distributions_and_states():
    given = inputs(B, H)
    for name in ("distributions", "gradient"):
        given[name] = given[name][:, :1]
    assert information_flow_quality(**given).ifq.shape == (B, H)
    given["gradient"] = given["gradient"][:, 0]
    with pytest.raises(ArgumentError, match="broadcast"):
        information_flow_quality(**given)


@pytest.mark.parametrize(
    ("part", "raw", "bounded"),
    [
        ("pattern_stability", 1 - math.sqrt(2), 0),
        ("cross_tile_flow", 9 * math.log(10) / 11, 1 - 10 ** (-9 / 11)),
        ("edge_utilization", 2, 1),
        ("information_density", 25, 25 / 26),
    ],
)
def test_the_formula_as_written_leaves_its_bounds(part, raw, bounded):
    """Attention that jumps from one token to the other; distributions (10, 1)/11 and (1, 10)/11."""
    report = information_flow_quality(
        previous=torch.tensor([[0.0, 1.0]]).double(),
        current=torch.tensor([[1.0, 0.0]]).double(),
        distributions=torch.tensor([[10.0, 1.0], [1.0, 10.0]]).double() / 11,
        spans=torch.tensor([[0, 1]]),
        gradient=torch.tensor([[5.0]]).double(),
        weights=only(part),
    )
    assert not 0 <= report.raw_ifq <= 1
    assert_close(report.raw_ifq, torch.tensor(raw, dtype=torch.float64))
    assert_close(report.ifq, torch.tensor(bounded, dtype=torch.float64))


def test_gradients_reach_everything_that_is_measured():
    given = inputs()
    # Near each other, since the clip has no gradient where the change outweighs the pattern.
    given["previous"] = 0.2 * given["previous"] + 0.8 * given["current"]
    leaves = [x.requires_grad_() for name, x in given.items() if name != "spans"]

    def ifq(*tensors: Tensor) -> Tensor:
        names = ("previous", "current", "distributions", "gradient")
        arguments = dict(zip(names, tensors, strict=True))
        arguments["distributions"] = arguments["distributions"].softmax(-1)
        return information_flow_quality(**arguments, spans=SPANS, weights=WEIGHTS).ifq

    for gradient in torch.autograd.grad(ifq(*leaves).sum(), leaves):
        assert gradient.abs().sum() > 0
    assert torch.autograd.gradcheck(ifq, leaves)


def wild(generator: torch.Generator, *shape: int, largest: float) -> Tensor:
    """Entries >= 0 of all magnitudes up to the largest, with zeros, ones and repetitions."""
    exponents = torch.empty(shape, dtype=torch.float64).uniform_(-46, 38, generator=generator)
    kinds = torch.randint(0, 6, shape, generator=generator)
    numbers = [10**exponents, *(torch.full(shape, x).double() for x in (0, 0, 1, 1e-45, largest))]
    return torch.stack(numbers).gather(0, kinds[None])[0].clamp(max=largest)


def normalised(rows: Tensor) -> Tensor:
    """Rows divided by their sums, with zeros where they were; the first entry takes the rest."""
    rows = rows.double()
    sums = rows.sum(-1, keepdim=True)
    rows = rows / torch.where(sums > 0, sums, 1)
    rows[..., 0] += 1 - rows.sum(-1)
    return rows.clamp(min=0)


@st.composite
def tilings(draw: st.DrawFn) -> Tensor:
    bounds = sorted(draw(st.lists(st.integers(0, S), min_size=2 * N, max_size=2 * N)))
    return torch.tensor(bounds).view(N, 2)


@st.composite
def quality_weights(draw: st.DrawFn) -> QualityWeights:
    numbers = draw(st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(any))
    return QualityWeights(
        **{name: x / sum(numbers) for name, x in zip(QualityReport._fields, numbers, strict=False)}
    )


@settings(derandomize=True, deadline=None, max_examples=100)
@given(seed=st.integers(0, 2**32), spans=tilings(), weights=quality_weights(), single=st.booleans())
def test_it_stays_in_its_bounds(seed, spans, weights, single):
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.float32 if single else torch.float64
    report = information_flow_quality(
        wild(generator, T, S, largest=3e38).to(dtype),
        wild(generator, T, S, largest=3e38).to(dtype),
        normalised(wild(generator, N, V, largest=1e6)).to(dtype),
        spans,
        wild(generator, T, C, largest=3e38).to(dtype),
        weights=weights,
    )
    assert 0 <= report.ifq <= 1
    for part in report[:4]:
        assert 0 <= part.bounded <= 1
        assert not part.raw.isnan()


def test_weights_that_round_to_more_than_one_do_not_pass_one():
    """Parts of 1, infinite flow and motion among them, under weights whose sum is above 1."""
    weights = QualityWeights(
        pattern_stability=0.7 + 5e-7,
        cross_tile_flow=0.1,
        edge_utilization=0.1,
        information_density=0.1,
    )
    assert sum(astuple(weights)) > 1
    one = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    report = information_flow_quality(
        one, one, one, torch.tensor([[0, 2]]), torch.full((2, 1), 1e30), weights=weights
    )
    assert [part.bounded.item() for part in report[:4]] == [1, 1, 1, 1]
    assert report.ifq == 1


def test_nothing_at_all_is_stable_and_nothing_else():
    report = information_flow_quality(
        torch.zeros(T, S), torch.zeros(T, S), torch.ones(1, 1), SPANS, torch.zeros(T, C)
    )
    assert [part.bounded.item() for part in report[:4]] == [1, 0, 0, 0]
    assert report.ifq == 0.25


@pytest.mark.parametrize(
    "weights", [(0.5, 0.5, 0.5, 0.5), (1.5, -0.5, 0, 0), (math.nan, 0.5, 0.5, 0), (0, 0, 0, 0)]
)
def test_weights_that_do_not_share_one_are_refused(weights):
    with pytest.raises(ArgumentError, match="weights"):
        QualityWeights(**dict(zip(QualityReport._fields, weights, strict=False)))
