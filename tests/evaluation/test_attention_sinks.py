"""Keys that stand out wherever rows stand."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import attention_rows, find_sinks

T = 160
PLACE = torch.arange(T)
DISTANCE = (PLACE[:, None] - PLACE).abs().double()


def rows_of(logits, **settings):
    key = torch.eye(len(logits), dtype=torch.float64)
    return attention_rows(logits.double(), key, scale=1.0, **settings)


def noise(seed, deviation=1.5):
    return deviation * torch.randn(T, T, generator=torch.Generator().manual_seed(seed))


def column(*keys):
    return torch.isin(PLACE, torch.tensor(keys)).double()


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("keys", [(0,), (37,), (5, 80)])
def test_planted_sinks_are_found_and_no_other_key(is_causal, keys):
    for seed in range(4):
        logits = noise(seed) - DISTANCE / 30 + 4 * column(*keys)
        rows = rows_of(logits, is_causal=is_causal)
        found = find_sinks(rows)
        assert {sink.key for sink in found} == set(keys)
        assert [s.z for s in found] == sorted((s.z for s in found), reverse=True)
        for sink in found:
            seen = rows.queries >= sink.key if is_causal else rows.queries >= 0
            assert sink.share == pytest.approx(float(rows.weights[seen, sink.key].mean()))
            tail = 0.5 * math.erfc(sink.z / 2**0.5)
            judged = int(((rows.queries[:, None] >= PLACE).sum(0) >= 8).sum()) if is_causal else T
            assert sink.p_value == pytest.approx(tail * judged)


@pytest.mark.parametrize("length", [5.0, 1e9])
def test_noise_has_none(length):
    hits = [find_sinks(rows_of(noise(s) - DISTANCE / length)) for s in range(40)]
    assert sum(map(bool, hits)) <= 2


def test_keys_that_differ_a_little_are_no_sinks():
    popular = torch.randn(T, generator=torch.Generator().manual_seed(0)).double()
    assert find_sinks(rows_of(noise(0) + popular)) == []
    found = find_sinks(rows_of(noise(0) + popular + 6 * column(9)))
    assert [sink.key for sink in found] == [9]


def test_one_strong_link_a_row_makes_no_sink():
    """It raises its key in that row alone, and lowers all others alike, which says nothing."""
    logits = noise(0, 0.5)
    late = torch.arange(120, T)
    logits[late, torch.randint(100, (len(late),), generator=torch.Generator().manual_seed(0))] = 25
    assert find_sinks(rows_of(logits)) == []
    assert find_sinks(rows_of(logits + 4 * column(30)))[0].key == 30


def test_more_is_found_at_a_larger_level():
    rows = rows_of(noise(1))
    few, many = find_sinks(rows, level=0.001), find_sinks(rows, level=0.999)
    assert len(few) < len(many)
    assert all(sink.p_value <= 0.999 for sink in many)


@pytest.mark.parametrize("tokens", [1, 2, 20])
def test_short_texts_have_none(tokens):
    assert find_sinks(attention_rows(torch.randn(tokens, 4), torch.randn(tokens, 4))) == []


def test_equal_attention_has_none():
    assert find_sinks(rows_of(torch.zeros(T, T))) == []


@pytest.mark.parametrize("level", [0, 1])
def test_bad_levels_are_told(level):
    with pytest.raises(ArgumentError, match=r"level: got"):
        find_sinks(rows_of(noise(0)), level=level)
