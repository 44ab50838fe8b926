"""Tiles, tilings, budgets, causality and streams."""

import itertools
import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close
from adaptive_attention_tiling.tiling.tiles import (
    Tile,
    TileManager,
    TilingStream,
    greedy_tiling,
    joined,
    threshold_tiling,
    tiling_loss,
    uniform_tiling,
)
from adaptive_attention_tiling.tiling.tiles.loss import span_losses
from adaptive_attention_tiling.tiling.tiles.programme import least_loss_within, solve
from adaptive_attention_tiling.tiling.tiles.sweep import PrefixSweep, SpanSweep

FIELDS = ("start", "length", "resolution", "block_loss", "block_cost", "price")


def draw(n: int, tokens: int, width: int = 8, *, seed: int = 0, dtype=torch.float32):
    """Random walks, now calm, now wild, around a mean that is not zero."""
    source = torch.Generator().manual_seed(seed)
    wild = torch.rand(n, -(-tokens // 20), 1, generator=source).repeat_interleave(20, 1) ** 4
    steps = torch.randn(n, tokens, width, generator=source, dtype=dtype)
    return 3 + (steps * wild[:, :tokens].to(dtype)).cumsum(1)


def small(**options) -> TileManager:
    return TileManager(4, 32, super_block=32, resolutions=(1, 1 / 2, 1 / 4), **options)


def assert_same(a, b):
    for field in FIELDS:
        assert_bit_equal(getattr(a, field), getattr(b, field), what=field)


def test_a_hand_worked_cut():
    """One jump between two plateaus: two tiles of one row, no loss; one tile loses 4 * 4 / 8."""
    states = torch.tensor([0.0] * 4 + [1.0] * 4)[None, :, None]
    tiler = TileManager(4, 8, super_block=8, resolutions=(1, 1 / 4), overhead=1.0)
    for price, spans in ((0.01, [(0, 8)]), (10.0, [(0, 8)])):
        assert [(t.start, t.stop) for t in tiler.tile_at_price(states, price).tiles(0)] == spans
    fourths = tiler.tile_at_price(states, 0.01)
    assert float(fourths.information_loss) == 0
    assert float(fourths.compute_cost) == 3
    whole = TileManager(4, 8, super_block=8, resolutions=(1, 1 / 8), overhead=0.0)
    cuts = [(t.start, t.stop, t.segments) for t in whole.tile_at_price(states, 0.5).tiles(0)]
    assert cuts == [(0, 4, 1), (4, 8, 1)]
    together = whole.tile_at_price(states, 2.5)
    assert [(t.start, t.stop, t.segments) for t in together.tiles(0)] == [(0, 8, 1)]
    assert float(together.information_loss) == 2


def test_density_loss_is_the_mean_over_random_walks():
    source = torch.Generator().manual_seed(1)
    density = torch.rand(12, generator=source, dtype=torch.float64) * 3
    density[0] = 100.0
    steps = torch.randn(40_000, 12, 1, generator=source, dtype=torch.float64)
    walks = (steps * density[:, None].sqrt()).cumsum(1)
    for resolutions in ((1, 1 / 2, 1 / 4), (1 / 3, 1 / 5, 1 / 12)):
        tiler = TileManager(4, 12, super_block=12, resolutions=resolutions)
        offered = tiler.offers(12)
        expected = span_losses(density[None], offered)[..., 0]
        sampled = span_losses(walks, offered)
        error = (sampled.mean(-1) - expected).abs()
        assert bool((error <= 4.5 * sampled.std(-1) / 200 + 1e-12).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tokens", [3, 32, 75, 160])
def test_a_tiling_covers_every_token_and_reports_what_its_segments_lose(tokens, dtype):
    states = draw(3, tokens, dtype=dtype)
    tiling = small().optimize_tiling(states, 0.4)
    assert_close(tiling.block_loss.to(dtype), tiling_loss(states, tiling))
    ids, tiles = tiling.segment_ids(), tiling.tile_ids()
    assert bool((ids.diff(dim=1) >= 0).all() & (ids.diff(dim=1) <= 1).all())
    for row in range(3):
        cut = tiling.tiles(row)
        assert [t.stop for t in cut] == [t.start for t in cut[1:]] + [tokens]
        assert int(ids[row, -1]) + 1 == sum(t.segments for t in cut)
        cost = sum(t.segments + tiling.overhead for t in cut)
        assert float(tiling.compute_cost[row]) == cost
        for number, tile in enumerate(cut):
            span = slice(tile.start, tile.stop)
            assert bool((tiles[row, span] == number).all())
            assert bool((tiling.token_resolution()[row, span] == tile.resolution).all())
            assert len(ids[row, span].unique()) == tile.segments
    assert_close(tiling.mean_resolution, tiling.token_resolution().mean(1))


@pytest.mark.parametrize("budget", [0.3, 0.5, 0.8, 1.0])
def test_every_super_block_keeps_to_the_budget(budget):
    states, tiler = draw(4, 320), small()
    tiling = tiler.optimize_tiling(states, budget)
    assert bool((tiling.block_cost <= budget * tiler.exact_cost(32)).all())
    assert bool((tiling.rows_per_token <= budget).all())
    assert float(tiling.block_cost.mean()) > 0.85 * budget * tiler.exact_cost(32)
    if budget == 1:
        assert float(tiling.information_loss.max()) == 0
    assert_same(tiler.tile_at_price(states, tiling.price), tiling)


def test_a_larger_budget_loses_no_more_and_a_constant_text_is_read_once():
    states, tiler = draw(2, 96), small()
    losses = [tiler.optimize_tiling(states, b).block_loss for b in (0.3, 0.5, 0.7, 0.9)]
    assert all(bool((less <= more).all()) for more, less in itertools.pairwise(losses))
    constant = tiler.optimize_tiling(torch.ones(1, 64, 2), 0.9)
    assert [t.segments for t in constant.tiles(0)] == [8, 8]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prefix_sums_and_the_table_of_spans_agree(dtype):
    blocks = draw(6, 512, dtype=dtype)
    offered = TileManager().offers(512)
    fast, slow = PrefixSweep(blocks, offered), SpanSweep(blocks, offered)
    results = [solve(sweep, least_loss_within(sweep, 0.3 * 513)) for sweep in (fast, slow)]
    assert_bit_equal(results[0].cost, results[1].cost)
    assert_close(results[0].loss.to(dtype), results[1].loss.to(dtype))


@pytest.mark.parametrize("kind", ["states", "density"])
def test_aligned_energies_are_those_from_tokens(kind):
    from adaptive_attention_tiling.tiling.tiles import loss

    signal = draw(3, 48, dtype=torch.float64)
    signal = signal if kind == "states" else signal[..., 0].square()
    tiler = TileManager(12, 24, super_block=48, resolutions=(1, 1 / 2, 1 / 3, 1 / 6, 1 / 12))
    offered = tiler.offers(48)
    assert offered.is_aligned
    assert_close(span_losses(signal, offered), loss._losses_from_tokens(signal, offered))


@pytest.mark.parametrize("kind", ["states", "density"])
def test_a_finished_super_block_depends_on_its_own_tokens_only(kind):
    states = draw(2, 150)
    signal = states if kind == "states" else states[..., 0].square()
    tiler = small()
    before = tiler.optimize_tiling(signal, 0.4, kind=kind)
    assert before.finished == 128
    changed = signal.clone()
    changed[:, 64:] += torch.randn_like(changed[:, 64:]).abs()
    after = tiler.optimize_tiling(changed, 0.4, kind=kind)
    alone = tiler.optimize_tiling(signal[:, :64].clone(), 0.4, kind=kind)
    for field in ("block_loss", "block_cost", "price"):
        assert_bit_equal(getattr(after, field)[:, :2], getattr(before, field)[:, :2])
        assert_bit_equal(getattr(alone, field), getattr(before, field)[:, :2])
    assert_bit_equal(after.segment_ids()[:, :64], before.segment_ids()[:, :64])
    assert_bit_equal(alone.segment_ids(), before.segment_ids()[:, :64])
    assert not torch.equal(after.block_loss[:, 2:], before.block_loss[:, 2:])


@pytest.mark.parametrize("kind", ["states", "density"])
@pytest.mark.parametrize("rule", [{"compute_budget": 0.4}, {"price": 0.7}])
def test_a_stream_gives_the_tiles_of_the_whole_call_bit_for_bit(kind, rule):
    states = draw(3, 1300, 24)
    signal = states if kind == "states" else states[..., 0].square()
    tiler = TileManager()
    stream = TilingStream(tiler, kind=kind, **rule)
    parts, at = [], 0
    for size in (1, 300, 0, 211, 2, 700, 86):
        parts.append(stream.append(signal[:, at : at + size]))
        at += size
    assert stream.finished == 1024
    parts = [part for part in [*parts, stream.unfinished()] if part is not None]
    assert [part.tokens for part in parts] == [512, 512, 276]
    if "price" in rule:
        whole = tiler.tile_at_price(signal, rule["price"], kind=kind)
    else:
        whole = tiler.optimize_tiling(signal, 0.4, kind=kind)
    assert_same(joined(parts), whole)


@pytest.mark.parametrize("overhead", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_no_rival_lies_below_the_hull(seed, overhead):
    """On offer is all that the rivals may choose: any cut into tiles of up to 8, read as a mean.

    No tiling lies below the line of the optimum's price, wherever it comes from.
    """
    spans = tuple(1 / size for size in range(1, 9))
    tiler = TileManager(1, 8, super_block=48, resolutions=spans, overhead=overhead)
    states = draw(3, 96, seed=seed, dtype=torch.float64)
    if seed % 2:
        states = torch.randn_like(states)
    for rival in (
        uniform_tiling(states, 0.4, tiler),
        greedy_tiling(states, 0.4, tiler),
        greedy_tiling(states, 0.4, tiler, by="cosine"),
        threshold_tiling(states, 0.01, tiler),
    ):
        assert_close(rival.block_loss, tiling_loss(states, rival))
        for budget in (0.35, 0.5, 0.8):
            best = tiler.optimize_tiling(states, budget)
            priced = best.block_loss + best.price * best.block_cost
            theirs = rival.block_loss + best.price * rival.block_cost
            assert bool((priced <= theirs * (1 + 1e-9) + 1e-9).all())


@pytest.mark.parametrize("budget", [0.15, 0.3, 0.6])
@pytest.mark.parametrize("signal", ["noise", "walk", "calm and wild"])
def test_rivals_lose_more_at_an_equal_budget(signal, budget):
    states = draw(4, 1024, seed=7)
    if signal != "calm and wild":
        states = torch.randn(4, 1024, 8, generator=torch.Generator().manual_seed(8))
    if signal == "walk":
        states = states.cumsum(1)
    tiler = TileManager()
    best = tiler.optimize_tiling(states, budget)
    most = budget * tiler.exact_cost(512)
    assert bool((best.block_cost <= most).all())
    for rival in (
        uniform_tiling(states, budget, tiler),
        greedy_tiling(states, budget, tiler),
        greedy_tiling(states, budget, tiler, by="cosine"),
    ):
        assert bool((rival.block_cost <= most).all())
        assert bool((best.information_loss <= rival.information_loss).all())


def test_rivals_keep_to_the_budget_and_cut_at_the_largest_steps():
    states = torch.zeros(1, 16, 2)
    states[:, 5:] += 1
    states[:, 11:] += 2
    tiler = TileManager(4, 16, super_block=16, resolutions=(1, 1 / 4), overhead=0.0)
    greedy = greedy_tiling(states, 0.25, tiler)
    starts = {tile.start for tile in greedy.tiles(0)}
    assert {0, 5, 11} <= starts
    assert float(greedy.information_loss) < 1e-9
    assert float(greedy.compute_cost) <= 4
    uniform = uniform_tiling(states, 0.25, tiler)
    assert [(t.start, t.stop, t.segments) for t in uniform.tiles(0)] == [(0, 16, 4)]
    gate = threshold_tiling(states, 1.0, tiler, by="step")
    assert [t.start for t in gate.tiles(0)] == [0, 5, 11]


def test_tile_counts_its_segments():
    assert Tile(start=3, stop=13, resolution=1 / 4).segments == 3
    assert Tile(start=0, stop=512, resolution=float(torch.tensor(1 / 3))).segments == 171
    members = Tile(members=torch.tensor([7, 1, 4]), resolution=0.5, state=torch.zeros(2))
    assert (members.length, members.segments) == (3, 2)
    assert Tile(start=2, stop=4, resolution=1).tokens.tolist() == [2, 3]


@pytest.mark.parametrize(
    "options",
    [
        {"start": 0, "stop": 4, "resolution": 0.0},
        {"start": 0, "stop": 4, "resolution": 1.5},
        {"start": 4, "stop": 4, "resolution": 1},
        {"resolution": 1},
        {"start": 0, "stop": 2, "members": torch.tensor([1]), "resolution": 1},
        {"members": torch.tensor([1, 1]), "resolution": 1},
        {"members": torch.tensor([True]), "resolution": 1},
        {"start": 0, "stop": 4, "resolution": 1, "state": torch.zeros(2, 2)},
        {
            "start": 0,
            "stop": 4,
            "resolution": 1,
            "state": torch.zeros(2),
            "transition": torch.zeros(2, 3),
        },
    ],
)
def test_tile_refuses(options):
    with pytest.raises(ArgumentError):
        Tile(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"min_size": 0},
        {"min_size": 32, "max_size": 16},
        {"granularity": 5},
        {"super_block": 100},
        {"resolutions": (0.7,)},
        {"resolutions": ()},
        {"overhead": -1.0},
        {"overhead": 0.3},
    ],
)
def test_tiler_refuses_sizes_that_do_not_fit(options):
    with pytest.raises(ArgumentError):
        TileManager(**options)


@pytest.mark.parametrize("budget", [0.0, 1.01, -1, math.nan])
def test_budgets_outside_their_range_are_refused(budget):
    with pytest.raises(ArgumentError, match="compute_budget"):
        small().optimize_tiling(draw(1, 40), budget)


def test_an_unreachable_budget_is_refused_with_the_lowest():
    assert small().lowest_budget == 9 / 33
    with pytest.raises(ArgumentError, match=r"at least 0\.2727"):
        small().optimize_tiling(draw(1, 40), 0.27)
    small().optimize_tiling(draw(1, 40), 9 / 33)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", [5, 33, 39])
@pytest.mark.parametrize("resolutions", [(1, 1 / 4), (1,), (1, 1 / 3)])
def test_signals_that_are_not_finite_are_refused(bad, where, resolutions):
    states = draw(2, 40)
    states[1, where, 3] = bad
    tiler = TileManager(4, 32, super_block=32, resolutions=resolutions)
    with pytest.raises(ArgumentError, match="finite"):
        tiler.tile_at_price(states, 1.0)


@pytest.mark.parametrize(
    ("signal", "kind"),
    [
        (torch.zeros(()), None),
        (torch.zeros(4), "states"),
        (torch.zeros(2, 0, 3), None),
        (torch.zeros(2, 4, 3, dtype=torch.long), None),
        (-torch.ones(8), None),
        (torch.ones(8), "steps"),
    ],
)
def test_signals_of_the_wrong_form_are_refused(signal, kind):
    with pytest.raises(ArgumentError):
        small().optimize_tiling(signal, 0.5, kind=kind)


@pytest.mark.parametrize("price", [-1.0, math.inf, torch.ones(3), torch.ones(2, 3)])
def test_prices_that_do_not_fit_are_refused(price):
    with pytest.raises(ArgumentError, match="price"):
        small().tile_at_price(draw(2, 40), price)


def test_streams_and_joins_refuse_what_they_cannot_follow():
    with pytest.raises(ArgumentError, match="one of them"):
        TilingStream(small())
    with pytest.raises(ArgumentError, match="compute_budget"):
        TilingStream(small(), compute_budget=0.01)
    part = small().tile_at_price(draw(1, 40), 1.0)
    with pytest.raises(ArgumentError, match="whole super-blocks"):
        joined([part, part])
    with pytest.raises(ArgumentError, match="at least one"):
        joined([])
