"""The parts of IFQ of planted heads, and their bounds."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import attention_rows, head_quality
from adaptive_attention_tiling.tiling.quality import (
    cross_tile_flow,
    edge_utilization,
    pattern_stability,
)


def head(tokens=64, width=8, sharp=1.0):
    query, key, value = torch.randn(3, tokens, width)
    return query * sharp, key, value


def quality(query, key, value, count=32, **settings):
    rows = attention_rows(query, key, rows=count, **settings)
    return head_quality(query, key, value, rows, scale=settings.get("scale"), tiles=4)


@pytest.mark.parametrize("is_causal", [True, False])
def test_parts_are_those_of_the_full_matrix(is_causal):
    query, key, value = head(40)
    full = attention_rows(query, key, rows=40, is_causal=is_causal, scale=0.5).weights
    found = quality(query, key, value, 40, is_causal=is_causal, scale=0.5)
    current = full[1:]
    spans = torch.tensor([[0, 10], [10, 20], [20, 30], [30, 40]])
    queries = [current[0:9], current[9:19], current[19:29], current[29:39]]
    spread = torch.stack([rows.mean(0) for rows in queries])
    weights = torch.ones(4, 4).double().triu(1) / 6
    flow = cross_tile_flow(spread, weights if is_causal else None)
    expected = (
        pattern_stability(full[:-1], current),
        flow,
        edge_utilization(current, spans),
    )
    for part, other in zip(found[:3], expected, strict=True):
        torch.testing.assert_close(part.raw, other.raw)
    density = (value[1:] - value[:-1]).double().square().mean()
    torch.testing.assert_close(found.information_density.raw, density)
    assert float(found.ifq) == pytest.approx(sum(float(part.bounded) for part in found[:4]) / 4)


def test_a_head_that_asks_the_same_everywhere_is_stable_and_flows_nowhere():
    query, key, value = head()
    found = quality(query[:1].expand(64, 8), key, value, is_causal=False)
    assert float(found.pattern_stability.bounded) == pytest.approx(1)
    assert float(found.cross_tile_flow.bounded) == pytest.approx(0, abs=1e-9)
    sharp = quality(*head(sharp=9.0), is_causal=False)
    assert float(sharp.pattern_stability.bounded) < 0.1
    assert float(sharp.cross_tile_flow.bounded) > 0.9


@pytest.mark.parametrize(("place", "low", "high"), [(0, 7.9, 8), (8, 0, 0.01)])
def test_keys_at_the_borders_of_tiles_are_told(place, low, high):
    query, key = torch.zeros(2, 64, 8)
    query[:, 0], key[place::16, 0] = 10, 3
    found = quality(query, key, torch.randn(64, 8), is_causal=False).edge_utilization
    assert low <= float(found.raw) <= high  # 64 keys, 8 of them at borders


@pytest.mark.parametrize("tokens", [2, 3, 70])
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("sharp", [0.1, 300.0])
def test_bounded_parts_stay_in_the_unit_interval(tokens, is_causal, sharp):
    query, key, value = head(tokens, sharp=sharp)
    found = quality(query, key, value * 1e3, is_causal=is_causal)
    for figure in [found.ifq, *(part.bounded for part in found[:4])]:
        assert 0 <= float(figure) <= 1


def test_bad_arguments_are_named():
    query, key, value = head(8)
    rows = attention_rows(query, key)
    with pytest.raises(ArgumentError, match=r"^value"):
        head_quality(query, key, value[1:], rows)
    with pytest.raises(ArgumentError, match=r"^value"):
        head_quality(query, key, value.long(), rows)
    with pytest.raises(ArgumentError, match=r"^tiles"):
        head_quality(query, key, value, rows, tiles=0)
    with pytest.raises(ArgumentError, match=r"^rows"):
        head_quality(query[:1], key[:1], value[:1], attention_rows(query[:1], key[:1]))
