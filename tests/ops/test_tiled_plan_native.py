"""Compiled planning: the costs of nodes, and the cut of a block, as torch finds them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import UnsupportedError
from adaptive_attention_tiling.ops.tiled_attention import TileLayout
from adaptive_attention_tiling.ops.tiled_attention.block import ScoutCost, Scouts, cut_for_block
from adaptive_attention_tiling.ops.tiled_attention.control import Control
from adaptive_attention_tiling.ops.tiled_attention.native_plan import scout_costs
from adaptive_attention_tiling.ops.tiled_attention.pyramid import build_pyramid, cover
from adaptive_attention_tiling.ops.tiled_attention.tiles import summarise
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

LAYOUT = TileLayout(super_block=32, tile=4, group=2, cells=2, window=0)
CONTROLS = {
    "estimate": (Control(tolerance=0.3), LAYOUT),
    "certificate": (Control(tolerance=3.0, certified=True), LAYOUT),
    "tiles only": (Control(tolerance=0.3), TileLayout(super_block=32, tile=4, heights=1)),
    "drop": (Control(tolerance=0.3), TileLayout(super_block=32, tile=4, rest="drop")),
    "budget": (Control(budget=0.3), LAYOUT),
    "resolution": (Control(resolution=0.25), LAYOUT),
}
FORMS = ("estimate", "certificate", "drop")


@pytest.fixture(params=("avx512", "avx2", "baseline"))
def compiled(request, monkeypatch):
    if request.param not in native.runnable_sets():
        pytest.skip(native.availability()[request.param])
    monkeypatch.setenv("AAT_NATIVE", request.param)
    return request.param


def normal(*shape, seed=0, dtype=torch.float64):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64).to(dtype)


def problem(blocks=9, *, key_heads=2, repeat=3, scouts=37, width=12, dtype=torch.float64, seed=0):
    """A pyramid with padding and an empty tile, and scouts of which one is hidden."""
    layout, tokens = LAYOUT, blocks * 32
    source = torch.Generator().manual_seed(seed)
    cluster = torch.randint(5, (key_heads, tokens), generator=source).sort(-1).values
    centre = 2 * normal(key_heads, 5, width, seed=seed + 1, dtype=dtype)
    key = centre.gather(1, cluster[..., None].expand(-1, -1, width))
    key = key + 0.2 * normal(key_heads, tokens, width, seed=seed + 2, dtype=dtype)
    value = normal(key_heads, tokens, 3, seed=seed + 3, dtype=dtype)
    valid = torch.ones(key_heads, tokens, dtype=torch.bool)
    valid[0, :6] = False
    tiles = summarise(
        *(x.unflatten(1, (-1, layout.tile)) for x in (key, value, valid)), bounds=True
    )
    scale = 0.5 + normal(key_heads, blocks, width, seed=seed + 4, dtype=dtype).abs()
    query = normal(key_heads * repeat, scouts, width, seed=seed + 5, dtype=dtype) * 0.6
    logits = query.unflatten(0, (key_heads, -1)) @ key.mT[:, None]
    lse = logits.logsumexp(-1).flatten(0, 1) + 0.5
    lse[:, 0] = math.inf
    return tiles, scale, Scouts(query, lse)


def cut(tiles, scale, scouts, control, layout, *, is_native, far=None, budgeted=1):
    pyramid = build_pyramid(tiles, scale, layout)
    blocks = scale.shape[1]
    far = torch.ones(blocks, dtype=torch.bool) if far is None else far
    resolution = None
    if control.resolution is not None:
        resolution = torch.full((len(scouts.lse), pyramid.sizes[0]), control.resolution)
    return cut_for_block(
        scouts, pyramid, far, control, layout, resolution, batch=budgeted, native=is_native
    )


def assert_same_cut(found, expected):
    assert_bit_equal(found.closed, expected.closed)
    assert_bit_equal(found.exact, expected.exact)
    assert_bit_equal(found.looked, expected.looked)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_costs_are_those_of_torch(compiled, form, dtype):
    control, layout = CONTROLS[form]
    tiles, _, scouts = problem(dtype=dtype)
    picked = tiles.picked(torch.arange(tiles.count.shape[1]).expand(len(scouts.lse), -1))
    expected = ScoutCost(scouts, control, layout)(picked)
    found = ScoutCost(scouts, control, layout, native=True)(tiles)
    most = expected.amax()
    assert_close(found / most, expected / most, what="cost")
    assert_bit_equal(ScoutCost(scouts, control, layout, native=True)(picked), found)
    # An empty tile, and costs of every size.
    assert expected[0, 0] == 0
    assert expected[:, 2:].amin() < 0.1 * most
    assert form == "drop" or most > 0.3 * control.limit


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cuts_are_those_of_torch(compiled, name, dtype):
    control, layout = CONTROLS[name]
    given = problem(dtype=dtype)
    expected = cut(*given, control, layout, is_native=False)
    found = cut(*given, control, layout, is_native=True)
    assert_same_cut(found, expected)
    # Both kinds occur, or the comparison says little.
    assert expected.closed.any()
    assert expected.exact.any() or name in ("resolution", "drop")


@pytest.mark.parametrize("tolerance", [1e-9, 0.05, 0.2, 1.0, 1e6])
def test_every_tolerance(compiled, tolerance):
    given = problem()
    control = Control(tolerance=tolerance)
    assert_same_cut(
        cut(*given, control, LAYOUT, is_native=True), cut(*given, control, LAYOUT, is_native=False)
    )


@pytest.mark.parametrize("far", ["none", "first", "middle", "around"])
def test_only_far_super_blocks_are_covered(compiled, far):
    given = problem()
    mask = {
        "none": torch.zeros(9, dtype=torch.bool),
        "first": torch.arange(9) < 3,
        "middle": (torch.arange(9) >= 4) & (torch.arange(9) < 7),
        "around": (torch.arange(9) - 4).abs() > 1,
    }[far]
    control = Control(tolerance=0.2)
    expected = cut(*given, control, LAYOUT, is_native=False, far=mask)
    assert_same_cut(cut(*given, control, LAYOUT, is_native=True, far=mask), expected)
    roots = cover(mask, build_pyramid(*given[:2], LAYOUT).sizes, LAYOUT)
    assert expected.looked.min() >= sum(int(root.sum()) for root in roots)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    blocks=st.integers(1, 6),
    key_heads=st.integers(1, 3),
    repeat=st.integers(1, 3),
    scouts=st.integers(1, 20),
    width=st.integers(1, 20),
    tolerance=st.sampled_from([0.02, 0.2, 0.8]),
    certified=st.booleans(),
)
def test_any_shape(blocks, key_heads, repeat, scouts, width, tolerance, certified):
    if not native.runnable_sets():
        pytest.skip(native.choice().reason)
    given = problem(blocks, key_heads=key_heads, repeat=repeat, scouts=scouts, width=width)
    control = Control(tolerance=tolerance * (10 if certified else 1), certified=certified)
    assert_same_cut(
        cut(*given, control, LAYOUT, is_native=True), cut(*given, control, LAYOUT, is_native=False)
    )


def test_of_equal_costs_the_earlier_node_stays_closed(compiled):
    tiles, scale, scouts = problem(1)
    alike = tiles.map(lambda x: x[:, 3:4].expand(-1, 8, *x.shape[2:]))
    layout = TileLayout(super_block=32, tile=4, heights=1)
    control = Control(tolerance=0.3)
    cost = ScoutCost(scouts, control, layout, native=True)(alike)
    assert cost.eq(cost[:, :1]).all()
    found = cut(alike, scale, scouts, control, layout, is_native=True)
    first = cost[:, :1] * torch.arange(1, 9) <= control.limit
    assert first.any()
    assert not first.all()
    assert_bit_equal(found.closed, first)
    assert_bit_equal(found.exact, ~first)


def test_hidden_and_blind_scouts(compiled):
    tiles, scale, scouts = problem()
    hidden = Scouts(scouts.query, torch.full_like(scouts.lse, math.inf))
    control = Control(tolerance=0.2)
    found = cut(tiles, scale, hidden, control, LAYOUT, is_native=True)
    assert not found.exact.any()
    # Masses beyond the range of numbers count as the worst there is.
    blind = Scouts(scouts.query, torch.full_like(scouts.lse, -1e4))
    costs = scout_costs(*blind, tiles, control, LAYOUT, 0.04)
    assert_close(costs[3:], torch.full_like(costs[3:], 0.04), what="cost of a blind scout")


def test_threads_strides_and_repetition_change_no_bit(compiled):
    tiles, scale, scouts = problem()
    control = Control(tolerance=0.2)
    expected = scout_costs(*scouts, tiles, control, LAYOUT, 0.04)
    plan = cut(tiles, scale, scouts, control, LAYOUT, is_native=True)
    assert_bit_equal(scout_costs(*scouts, tiles, control, LAYOUT, 0.04), expected)

    def moved(x):
        storage = x.new_full((x.numel() + 1,), math.nan)
        storage[1:] = x.reshape(-1)
        return storage[1:].view(x.shape)

    odd = Scouts(scouts.query.mT.contiguous().mT, moved(scouts.lse))
    strided = tiles.map(lambda x: torch.stack([x, x], 2).flatten(1, 2)[:, ::2])
    assert_bit_equal(scout_costs(*odd, strided, control, LAYOUT, 0.04), expected)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert_bit_equal(scout_costs(*scouts, tiles, control, LAYOUT, 0.04), expected)
        again = cut(tiles, scale, scouts, control, LAYOUT, is_native=True)
    finally:
        torch.set_num_threads(before)
    assert_same_cut(again, plan)


def test_empty_and_single(compiled):
    tiles, _, scouts = problem(1)
    none = tiles.map(lambda x: x[:, :0])
    assert scout_costs(*scouts, none, Control(tolerance=0.2), LAYOUT, 0.04).shape == (6, 0)
    few = Scouts(scouts.query[:, 1:2], scouts.lse[:, 1:2])
    one = tiles.map(lambda x: x[:, 4:5])
    picked = one.picked(torch.zeros(6, 1, dtype=torch.long))
    control = Control(tolerance=0.2)
    assert_close(
        scout_costs(*few, one, control, LAYOUT, control.limit),
        ScoutCost(few, control, LAYOUT)(picked),
        what="cost",
    )


def test_operators_describe_themselves():
    if not native.runnable_sets():
        pytest.skip(native.choice().reason)
    tiles, scale, scouts = problem(3, scouts=5, width=4)
    pyramid = build_pyramid(tiles, scale, LAYOUT)
    nodes, ops = pyramid.nodes, torch.ops.adaptive_attention_tiling
    units = [number for unit in LAYOUT.spans(3) for number in unit]
    common = (*scouts, nodes.count, nodes.key, nodes.variance, None, None)
    far = torch.ones(3, dtype=torch.bool)
    torch.library.opcheck(
        ops.tiled_plan, (*common, pyramid.offspring, far, pyramid.sizes, units, 0.04, 0.04)
    )
    torch.library.opcheck(ops.tiled_scout_costs, (*common, 0.04))

    @torch.compile(fullgraph=True, backend="aot_eager")
    def planned(query):
        return ops.tiled_scout_costs(query * 2, *common[1:], 0.04)

    expected = ops.tiled_scout_costs(scouts.query * 2, *common[1:], 0.04)
    assert_bit_equal(planned(scouts.query), expected)


def test_without_kernels_it_says_so(monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", "off")
    with pytest.raises(UnsupportedError, match="AAT_NATIVE=off"):
        cut(*problem(2), Control(tolerance=0.2), LAYOUT, is_native=True)
