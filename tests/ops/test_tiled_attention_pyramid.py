"""The pyramid over tiles, what covers a far field, and the cut that a block reads."""

import math
from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.ops.tiled_attention import TileLayout, tiled_attention
from adaptive_attention_tiling.ops.tiled_attention.cut import (
    DROPPED,
    EXACT,
    ByBudget,
    ByResolution,
    ByTolerance,
    cheapest,
    descend,
    level_resolution,
)
from adaptive_attention_tiling.ops.tiled_attention.pyramid import cover
from adaptive_attention_tiling.ops.tiled_attention.store import build_store
from adaptive_attention_tiling.ops.tiled_attention.tiles import order_block, summarise
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

SMALL = TileLayout(super_block=16, tile=4, group=2, cells=1, window=0)
BLOCKS = 11


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def store_of(blocks=range(BLOCKS), layout=SMALL, bounds=True):
    """Tiles of two key heads with some padding; keys lie in clusters that come back in time."""
    size = layout.super_block
    centre = 4 * normal(2, 6, 5, seed=1)
    cluster = torch.randint(6, (2, BLOCKS * size), generator=torch.Generator().manual_seed(2))
    key = centre.gather(1, cluster[..., None].expand(-1, -1, 5)) + 0.3 * normal(2, BLOCKS * size, 5)
    value, valid = normal(2, BLOCKS * size, 3, seed=3), torch.ones(2, BLOCKS * size).bool()
    valid[0, :7] = valid[1, 40:42] = False
    scale = 0.5 + normal(2, BLOCKS, 5, seed=4).abs()
    span = slice(blocks.start * size, blocks.stop * size)
    orders = [
        order_block(
            key[:, b * size : (b + 1) * size],
            scale[:, b],
            valid[:, b * size : (b + 1) * size],
            layout,
        )
        + (b - blocks.start) * size
        for b in blocks
    ]
    return build_store(
        key[:, span], value[:, span], valid[:, span], torch.cat(orders, 1),
        scale[:, blocks.start : blocks.stop], layout, bounds=bounds, start=span.start,
    )  # fmt: skip


def tiles_below(pyramid, head, height, number):
    """The tiles that a node stands for."""
    below = [number]
    for children in reversed(pyramid.children[:height]):
        below = [int(c) for node in below for c in children[head, node]]
    return below


def test_golden_spans():
    layout = TileLayout(super_block=256, tile=8, group=4, cells=8)
    expected = [(1, 32), (1, 8), (4, 8), (16, 8), (64, 8)]
    assert layout.spans(64) == expected
    assert layout.spans(63) == expected[:4]
    assert TileLayout(heights=2).spans(64) == expected[:2]
    assert TileLayout(heights=1).spans(64) == TileLayout(group=1).spans(64) == expected[:1]
    # One node a super-block, then two super-blocks a node.
    assert SMALL.spans(8) == [(1, 4), (1, 2), (1, 1), (2, 1), (4, 1), (8, 1)]


def test_every_height_holds_every_tile_of_its_units_once():
    pyramid = store_of().pyramid
    for height, (span, width) in enumerate(SMALL.spans(BLOCKS)):
        units = BLOCKS // span
        for head in range(2):
            for unit in range(units):
                tiles = [
                    tile
                    for number in range(unit * width, (unit + 1) * width)
                    for tile in tiles_below(pyramid, head, height, number)
                ]
                assert sorted(tiles) == list(range(unit * span * 4, (unit + 1) * span * 4))


def test_moments_of_a_node_are_those_of_its_tokens():
    store = store_of()
    for height, upper in enumerate(store.pyramid.heights):
        for head in range(2):
            for number in range(upper.count.shape[1]):
                tiles = tiles_below(store.pyramid, head, height, number)
                parts = [
                    x[head, tiles].flatten(0, 1)[None, None] for x in (store.keys, store.values)
                ]
                direct = summarise(*parts, store.valid[head, tiles].view(1, 1, -1), bounds=True)
                for name in ("count", "key", "value", "variance"):
                    found = getattr(upper, name)[head, number]
                    assert_close(found, getattr(direct, name)[0, 0], what=f"{name} of {height}")
                # Bounds follow from those below: never less than the tokens' own.
                assert upper.radius[head, number] >= direct.radius[0, 0] * (1 - 1e-12)
                assert upper.spread[head, number] >= direct.spread[0, 0] * (1 - 1e-12)


@pytest.mark.parametrize("order", ["key_space", "contiguous"])
def test_super_blocks_one_by_one_make_the_same_pyramid(order):
    layout = replace(SMALL, order=order)
    whole = store_of(layout=layout)
    grown = store_of(range(0, 1), layout)
    for block in range(1, BLOCKS):
        grown = grown.extended(store_of(range(block, block + 1), layout), layout)
    assert_bit_equal(grown.positions, whole.positions)
    assert len(grown.pyramid.heights) == len(whole.pyramid.heights) == 6
    for mine, other in zip(grown.pyramid.children, whole.pyramid.children, strict=True):
        assert_bit_equal(mine, other)
    for mine, other in zip(grown.pyramid.heights, whole.pyramid.heights, strict=True):
        for name in ("count", "key", "value", "variance", "radius", "spread"):
            assert_bit_equal(getattr(mine, name), getattr(other, name))


def test_nodes_gather_what_is_close_not_what_is_recent():
    wide = TileLayout(super_block=16, tile=2, group=4, cells=2, window=0)
    close = store_of(layout=wide, bounds=False).pyramid.heights[2]
    runs = store_of(layout=replace(wide, order="contiguous"), bounds=False).pyramid.heights[2]
    assert wide.spans(BLOCKS)[2] == (4, 2)
    assert close.variance.sum() < 0.7 * runs.variance.sum()


@pytest.mark.parametrize("seed", range(8))
def test_a_cover_holds_every_far_block_once_and_nothing_else(seed):
    pyramid = store_of(bounds=False).pyramid
    far = torch.rand(BLOCKS, generator=torch.Generator().manual_seed(seed)) < (seed + 1) / 8
    roots = cover(far, pyramid.sizes, SMALL)
    for head in range(2):
        tiles = [
            tile
            for height, mask in enumerate(roots)
            for number in mask.nonzero()[:, 0].tolist()
            for tile in tiles_below(pyramid, head, height, number)
        ]
        assert sorted(tiles) == far.repeat_interleave(4).nonzero()[:, 0].tolist()


def test_a_cover_takes_the_largest():
    far = torch.arange(BLOCKS) < 7  # blocks 0-3, 4-5 and 6
    roots = cover(far, store_of(bounds=False).pyramid.sizes, SMALL)
    assert [mask.nonzero()[:, 0].tolist() for mask in roots] == [[], [], [6], [2], [0], []]
    # 4^5 - 1 super-blocks are three units of each of five sizes, of four nodes each.
    many = TileLayout(super_block=4, tile=1, group=4, cells=4, window=0)
    sizes = [4**5 // span * width for span, width in many.spans(4**5)]
    roots = cover(torch.arange(4**5) < 4**5 - 1, sizes, many)
    assert [int(mask.sum()) for mask in roots] == [12, 12, 12, 12, 12, 0]


FOUR_TILES = [1.0, 2.0, 30.0, 4.0, 0.0, 0.0, 50.0, 6.0]


def two_blocks(heights=2):
    """Two blocks of four tiles whose counts name them: 1 ... 8, groups 12, 34, 56, 78."""
    layout = replace(SMALL, heights=heights)
    return store_of(range(2), layout, bounds=False).pyramid, layout


def decided(decision, pyramid, layout, far=(True, True), heads=2):
    cut = descend(pyramid, cover(torch.tensor(far), pyramid.sizes, layout), heads, decision)
    return cut.levels(pyramid)[0].tolist(), cut


def priced(tiles, groups, pyramid):
    """Costs looked up by the mean key of a node, so that they follow it into any list."""
    table = torch.cat([torch.tensor(tiles), torch.tensor(groups)]).double()
    keys = pyramid.nodes.key[0, :, 0]

    def cost(nodes):
        return table[(nodes.key[..., :1] - keys).abs().argmin(-1)]

    return cost


def test_golden_cut_under_a_tolerance():
    pyramid, layout = two_blocks()
    cost = priced(FOUR_TILES, [4.0, 40.0, 0.5, 5.0], pyramid)
    # A quarter of 20 admits the groups of 0.5 and 4, not that of 5; 15.5 are left, which admit
    # the tiles of 4 and 6.
    levels, cut = decided(ByTolerance(pyramid, cost, 20.0, 2), pyramid, layout)
    assert levels == [2, 2, EXACT, 1, 2, 2, EXACT, 1]
    # Four groups, and the tiles of the two that were opened.
    assert cut.looked[0].item() == 4 + 4
    assert decided(ByTolerance(pyramid, cost, 0.0, 2), pyramid, layout)[0] == (
        [EXACT] * 4 + [1, 1] + [EXACT] * 2
    )
    far = (True, False)
    assert (
        decided(ByTolerance(pyramid, cost, 20.0, 2), pyramid, layout, far)[0][4:] == [DROPPED] * 4
    )


def test_golden_cut_under_a_budget():
    pyramid, layout = two_blocks(heights=1)
    cost = priced(FOUR_TILES, [], pyramid)
    tokens = pyramid.heights[0].count.sum().item()
    assert decided(ByBudget(pyramid, cost, 0.0, 1), pyramid, layout)[0] == [1] * 8
    assert decided(ByBudget(pyramid, cost, 1.0, 1), pyramid, layout)[0] == [EXACT] * 8
    # The dearest tiles of both heads: exactly as many tokens as the budget pays for.
    cut = decided(ByBudget(pyramid, cost, 0.5, 1), pyramid, layout)[1]
    read = (pyramid.heights[0].count * cut.exact).sum().item()
    assert 0.5 * tokens - 4 < read <= 0.5 * tokens
    assert bool(cut.exact[0, 6] & cut.exact[0, 2] & ~cut.exact[0, 4])
    # A budget of each sequence, not of all: batch of two.
    apart = decided(ByBudget(pyramid, cost, 0.5, 2), pyramid, layout)[1]
    each = (pyramid.heights[0].count * apart.exact).sum(1)
    assert bool((each <= 0.5 * pyramid.heights[0].count.sum(1)).all())


def test_golden_cut_by_resolution():
    pyramid, layout = two_blocks(heights=3)
    asked = torch.tensor([1.0, 0.25, 0.125, 0.1, 0.0625, 0.01, 0.05, 0.0625])
    asked = asked.expand(2, -1)
    # Four tiles at 1 / 16 are one node of height 2; two at 1 / 8 one of height 1.
    levels, cut = decided(ByResolution(pyramid, asked, layout), pyramid, layout)
    assert levels == [EXACT, 1, 2, 2, 3, 3, 3, 3]
    assert level_resolution(torch.tensor([-1, 0, 1, 2, 3]), layout).tolist() == [
        0.0, 1.0, 1 / 4, 1 / 8, 1 / 16,
    ]  # fmt: skip
    assert cut.closed.sum(1).tolist() == [3, 3]


def test_the_cheapest_stay_within_the_limit():
    cost = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, math.inf]])
    assert cheapest(cost, torch.tensor([3.0, 4.0])).tolist() == [
        [False, True, True],
        [True, True, False],
    ]


def test_rows_are_all_keys_where_everything_is_exact():
    query, key, value = normal(3, 1, 2, 70, 4).unbind()
    for causal in (True, False):
        report = tiled_attention(
            query, key, value, is_causal=causal, resolution=1.0, layout=SMALL, return_report=True
        )[1]  # fmt: skip
        keys = torch.arange(1, 71).double() if causal else torch.full((70,), 70.0).double()
        expected = torch.stack([block.mean() for block in keys.split(16)])
        # A sink before the near field is a row of its own and not of its tile.
        assert_close(report.rows_per_query[0, 0].double(), expected)


def test_far_rows_grow_with_the_logarithm_of_the_text_where_summaries_serve():
    """Keys of few clusters: what is read beyond the near field, from 512 to 8,192 tokens."""
    layout = TileLayout(super_block=16, tile=4, group=4, cells=4, window=0, sinks=0)
    rows = []
    for blocks in (32, 128, 512):
        length = blocks * 16
        generator = torch.Generator().manual_seed(0)
        cluster = torch.stack([torch.randperm(16, generator=generator) % 4 for _ in range(blocks)])
        cluster = cluster.flatten()
        key = (3 * normal(4, 4, seed=5)[cluster] + 1e-4 * normal(length, 4))[None, None]
        query, value = normal(1, 1, length, 4, seed=6), normal(1, 1, length, 4, seed=7)
        report = tiled_attention(
            query, key, value, is_causal=True, tolerance=0.05, layout=layout, return_report=True
        )[1]
        rows.append(report.rows_per_query[0, 0, -blocks // 4 :].mean().item())
        assert report.fraction_read < 0.02
    # Four times the text, one height more: an equal step, not four times as much.
    assert rows[2] - rows[1] < 1.5 * (rows[1] - rows[0]) + 4
    assert rows[2] < 0.06 * 512 * 16 / 2
