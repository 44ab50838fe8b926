"""What a head's page shows: its strongest keys, its tiles and its splats."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import AttentionRows, attention_rows
from adaptive_attention_tiling.evaluation.inspection import splat_map, strongest_keys, tile_cut


def head(tokens, width=8, spread=1.0):
    query, key, value = torch.randn(3, tokens, width) * spread
    return query, key, value


def test_strongest_keys_by_hand():
    weights = torch.tensor(
        [[1.0, 0, 0, 0], [0.4, 0.6, 0, 0], [0.2, 0.5, 0.3, 0], [0.1, 0, 0.2, 0.7]]
    )
    rows = AttentionRows(torch.arange(4), weights.double(), True)
    found = strongest_keys(rows, queries=4, keys=2)
    assert found.queries == (0, 1, 2, 3)
    assert found.keys == ((0,), (1, 0), (1, 2), (3, 2))
    assert torch.tensor(found.weights[3]) == pytest.approx([0.7, 0.2])
    # Two of four: from the middles of both halves.
    assert strongest_keys(rows, queries=2).queries == (1, 3)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("tokens", [1, 2, 300])
def test_strongest_keys_are_those_of_the_whole_row(tokens, is_causal):
    query, key, _ = head(tokens)
    rows = attention_rows(query, key, rows=64, is_causal=is_causal)
    found = strongest_keys(rows, queries=10, keys=5)
    assert len(found.queries) == min(10, tokens)
    assert list(found.queries) == sorted(set(found.queries))
    for place, keys, weights in zip(found.queries, found.keys, found.weights, strict=True):
        seen = place + 1 if is_causal else tokens
        whole = (8**-0.5 * query[place].double() @ key[:seen].double().mT).softmax(-1)
        best = whole.topk(min(5, seen))
        assert list(keys) == best.indices.tolist()
        assert list(weights) == pytest.approx(best.values.tolist())


def test_a_cut_reads_closely_where_one_key_decides():
    query, key, value = head(1024)
    key, query = 0.01 * key, 0.01 * query
    key[500] = query[-1] = 4.0
    value[500] = 10.0
    found = tile_cut(query, key, value, tolerance=0.05)
    assert found is not None
    assert found.query == 1023
    assert found.ends[-1] == 1024
    assert list(found.ends) == sorted(set(found.ends))
    starts = (0, *found.ends[:-1])
    closest = [
        (start, end)
        for start, end, rows in zip(starts, found.ends, found.resolution, strict=True)
        if rows == 1
    ]
    assert (0, 4) in closest
    assert any(start <= 500 < end for start, end in closest)
    assert sum(end - start for start, end in closest) <= 64
    assert set(found.resolution) <= {1.0, 1 / 8, 1 / 32}


def test_a_cut_at_tolerance_0_reads_everything_and_a_wide_one_little():
    tensors = head(700, spread=2.0)
    exact, wide = (tile_cut(*tensors, tolerance=t) for t in (0.0, 3.0))
    assert (exact.ends, exact.resolution) == ((700,), (1.0,))
    assert wide.resolution[-1] < 1


@pytest.mark.parametrize("tokens", [1, 2, 8, 9, 33])
def test_a_cut_of_a_short_text(tokens):
    found = tile_cut(*head(tokens))
    assert (found is None) == (tokens <= 8)
    if found is not None:
        assert found.ends[-1] == tokens


def test_the_map_keeps_distances_in_the_plane_and_finds_planted_clusters():
    angles = torch.arange(4) * torch.pi / 2
    centres = torch.zeros(4, 6)
    centres[:, 2], centres[:, 4] = 8 * angles.cos(), 8 * angles.sin() * 1.5
    places = centres.repeat(50, 1)
    query, key = (places + 0.1 * torch.randn(200, 6) for _ in range(2))
    found = splat_map(query, key, splats=4, points=200)
    assert found is not None
    assert found.axes[0] > found.axes[1] > 0
    assert sum(found.axes) == pytest.approx(1, abs=0.01)
    between = torch.cdist(found.queries, found.queries)
    assert between == pytest.approx(torch.cdist(query, query).double(), abs=1.5)
    # Along the first axis lies what varies more, and the plane is centred.
    assert found.queries[:, 0].abs().max() > found.queries[:, 1].abs().max() > 7
    assert torch.cat([found.queries, found.keys]).mean(0).abs().max() < 1e-5
    nearest = torch.cdist(found.queries, found.centres[:, :2]).amin(1)
    assert float(nearest.max()) < 3
    assert float(found.centres[:, 4].max()) == 1
    assert (found.centres[:, 2:] >= 0).all()


def test_the_map_shows_evenly_spread_tokens_and_the_same_ones_again():
    query, key, _ = head(500)
    first, second = (splat_map(query, key, splats=4, points=50) for _ in range(2))
    assert first.queries.shape == first.keys.shape == (50, 2)
    for name in ("queries", "keys", "centres"):
        assert torch.equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_the_map_of_too_few_tokens_is_none(tokens):
    assert splat_map(*head(tokens)[:2], splats=4) is None


def test_the_map_of_points_that_are_all_alike_is_none():
    assert splat_map(torch.ones(50, 4), torch.ones(50, 4), splats=4) is None


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda q, k, v: strongest_keys(attention_rows(q, k), queries=0), "queries"),
        (lambda q, k, v: strongest_keys(attention_rows(q, k), keys=0), "keys"),
        (lambda q, k, v: tile_cut(q[:3], k, v), "query"),
        (lambda q, k, v: splat_map(q, k, splats=0), "splats"),
        (lambda q, k, v: splat_map(q, k, points=0), "points"),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(ArgumentError, match=f"{name}: got"):
        call(*head(20))
