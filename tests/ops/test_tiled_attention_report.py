import math
from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.ops.tiled_attention import (
    TiledAttentionConfig,
    TiledAttentionReport,
    tiled_attention,
)
from adaptive_attention_tiling.testing import assert_close

T = 83
directions = pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "bidirectional"])
CONTROLS = [
    {},
    {"tolerance": 0.02},
    {"tolerance": 0.7, "certified": True},
    {"budget": 0.35},
    {"resolution": 0.2},
]


@pytest.fixture(scope="session")
def reported(clustered, tiny):
    def call(*, is_causal=True, layout=tiny, **settings) -> TiledAttentionReport:
        rules = {"is_causal": is_causal, "enable_gqa": True, "layout": layout}
        return tiled_attention(*clustered(T), **rules, **settings, return_report=True)[1]

    return call


@directions
@pytest.mark.parametrize("control", CONTROLS, ids=str)
def test_shapes_and_ranges(control, is_causal, reported, tiny):
    report = reported(is_causal=is_causal, **control)
    tiles = (4 if is_causal else 6) * tiny.tiles_per_block
    assert report.resolution.shape == (2, 4, 6, tiles)
    assert report.tiles.shape == (2, 2, tiles, tiny.tile)
    assert report.error_bound.shape == (2, 4, T)
    assert report.read_by_block.shape == (2, 4, 6)
    assert 0 <= report.fraction_read <= 1
    known = report.read_by_block[~report.read_by_block.isnan()]
    assert bool(((known >= 0) & (known <= 1)).all())
    assert bool((report.error_bound >= 0).all())
    assert set(report.resolution[~report.resolution.isnan()].tolist()) <= {
        1 / 64,
        1 / 32,
        1 / 16,
        1 / 8,
        1 / 4,
        1.0,
    }
    assert report.certified == control.get("certified", False)


@directions
def test_tiles_are_a_partition_of_each_block(is_causal, reported, tiny):
    tiles = reported(is_causal=is_causal).tiles
    blocks = tiles.unflatten(2, (-1, tiny.tiles_per_block)).flatten(3).sort(-1).values
    tokens = torch.arange(blocks.shape[2] * 16).view(-1, 16)
    assert torch.equal(blocks, tokens.expand_as(blocks))


@directions
def test_resolution_is_nan_exactly_where_a_tile_is_not_far(is_causal, reported, tiny):
    resolution = reported(is_causal=is_causal).resolution
    block = torch.arange(6)[:, None]
    home = torch.arange(resolution.shape[-1]) // tiny.tiles_per_block
    far = block - home > 1 if is_causal else (block - home).abs() > 1
    assert torch.equal(~resolution.isnan(), far.expand_as(resolution))


@directions
def test_groups_are_read_as_one(is_causal, reported, tiny):
    resolution = reported(is_causal=is_causal, tolerance=0.5).resolution.nan_to_num(-1)
    grouped = (resolution == 1 / 8).unflatten(-1, (-1, tiny.group))
    assert grouped.any()
    assert torch.equal(grouped.all(-1), grouped.any(-1))


@directions
@pytest.mark.parametrize("budget", [0.0, 0.1, 0.35, 0.8, 1.0])
def test_a_budget_is_kept_and_used_up_to_a_tile(budget, is_causal, reported, tiny):
    report = reported(is_causal=is_causal, budget=budget)
    exact = (report.resolution == 1.0).double().sum((1, 3))
    far = (~report.resolution.isnan()).double().sum((1, 3))
    seen = far[0] > 0
    # The 4 heads of a sequence share the budget of a block. Of their tiles' places, 2 sinks and
    # the 13 places after the last token may be empty.
    tokens = far[:, seen] * tiny.tile - 4 * (2 + 13)
    read = report.read_by_block.nanmean(1)[:, seen]
    assert bool((read <= budget + 1e-12).all())
    assert bool((read >= budget - tiny.tile / tokens).all())
    assert bool((exact <= far).all())
    assert report.fraction_read <= budget + 1e-12
    assert report.fraction_read == pytest.approx(budget, abs=0.05)


def test_fraction_read_counts_keys_of_queries(reported, tiny):
    """Block b reads the tiles of the blocks before b - 1, without the two sinks."""
    report = reported(resolution=0.0)
    assert report.fraction_read == 0.0
    asked = torch.zeros(6, 4 * tiny.tiles_per_block)
    asked[:, 4:8] = 1.0  # the tiles of block 1
    report = reported(resolution=asked)
    queries = torch.tensor([16, 16, 16, 16, 16, 3.0])
    far = torch.tensor([0, 0, 14, 30, 46, 62.0], dtype=torch.float64)
    read = torch.tensor([0, 0, 0, 16, 16, 16.0])
    assert report.fraction_read == pytest.approx(
        ((queries * read).sum() / (queries * far).sum()).item()
    )
    expected = (read / far)[2:].expand(2, 4, 4)
    assert_close(report.read_by_block[:, :, 2:], expected)


def test_default_is_the_default_tolerance(reported):
    report, same = reported(), reported(tolerance=0.1)
    assert torch.equal(report.error_bound, same.error_bound)
    assert not torch.equal(report.error_bound, reported(tolerance=0.2).error_bound)


def test_error_is_unknown_where_budget_or_resolution_drops(reported, tiny):
    """Documented: nan where far tiles were dropped."""
    for settings in ({"budget": 0.3, "layout": replace(tiny, rest="drop")}, {"resolution": 0.0}):
        assert bool(reported(**settings).error_bound[:, :, 32:].isnan().all())


@directions
def test_token_resolution_is_the_mean_over_the_readers(is_causal, reported, tiny):
    report = reported(is_causal=is_causal, tolerance=0.05)
    tokens = report.token_resolution()
    assert tokens.shape == (2, 4, report.tiles.shape[2] * tiny.tile)
    for b, h, m, slot in ((0, 0, 0, 0), (1, 3, 5, 2), (0, 2, 15, 3)):
        at = int(report.tiles[b, h // 2, m, slot])
        rows = report.resolution[b, h, :, m]
        assert tokens[b, h, at].item() == pytest.approx(rows[~rows.isnan()].mean().item())


def test_token_resolution_without_a_far_field(draw, tiny):
    _, report = tiled_attention(
        *draw(20), is_causal=True, enable_gqa=True, layout=tiny, return_report=True
    )
    assert report.token_resolution().shape == (2, 4, 0)


def test_the_report_does_not_change_the_output(clustered, tiny):
    for control in CONTROLS:
        settings = {"is_causal": True, "enable_gqa": True, "layout": tiny, **control}
        out = tiled_attention(*clustered(T), **settings)
        assert torch.equal(out, tiled_attention(*clustered(T), **settings, return_report=True)[0])


def test_config_gives_the_control_of_a_call():
    assert TiledAttentionConfig().control().tolerance == 0.1
    assert TiledAttentionConfig(budget=0.2).control().budget == 0.2
    assert TiledAttentionConfig(tolerance=0.3).control().limit == pytest.approx(0.09)
    assert TiledAttentionConfig(tolerance=0.3, certified=True).control().limit == 0.3
    assert TiledAttentionConfig().layout.neighbours == 1
    assert math.isfinite(TiledAttentionConfig(tolerance=0).control().limit)


@pytest.mark.parametrize("asking", [16, 31])
def test_first_and_last_queries_of_a_block_plan_for_the_next(asking, tiny):
    """Of the queries of block 1, one alone asks for the tokens 8..11; the others for 4..7."""
    layout = replace(tiny, order="contiguous", window=0, sinks=0, group=1)
    query, key, value = 0.1 * torch.randn(3, 1, 1, 48, 4, dtype=torch.float64)
    key[:, :, 8:12, 0] = torch.tensor([4.0, 5.0, 6.0, 5.0])
    query[..., 1] = 0.5
    key[:, :, 4:8, 1] = torch.tensor([2.0, -2.0, 2.0, -2.0])
    query[:, :, asking, 0] = 5.0
    _, report = tiled_attention(
        query, key, value, is_causal=True, layout=layout, budget=1 / 8, return_report=True
    )
    assert (report.resolution[0, 0, 2] == 1.0).nonzero().flatten().tolist() == [2]
