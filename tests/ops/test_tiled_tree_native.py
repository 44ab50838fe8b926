"""Compiled tiles and pyramids: the order, the moments and their gradients, as torch finds them."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import UnsupportedError
from adaptive_attention_tiling.ops.tiled_attention import TileLayout
from adaptive_attention_tiling.ops.tiled_attention.native_tree import merged_moments, tile_moments
from adaptive_attention_tiling.ops.tiled_attention.store import build_store
from adaptive_attention_tiling.ops.tiled_attention.tiles import (
    POWER_STEPS,
    bisect_order,
    order_block,
    tile_order,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

LAYOUT = TileLayout(super_block=32, tile=4, group=2, cells=2, window=0)
NAMES = ("count", "key", "value", "variance", "radius", "spread")


@pytest.fixture(params=("avx512", "avx2", "baseline"))
def compiled(request, monkeypatch):
    if request.param not in native.runnable_sets():
        pytest.skip(native.availability()[request.param])
    monkeypatch.setenv("AAT_NATIVE", request.param)
    return request.param


def normal(*shape, seed=0, dtype=torch.float64):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64).to(dtype)


def keys_of(n, size, width, *, seed=0, dtype=torch.float64):
    """Points of unequal variance along mixed directions."""
    spread = 2.0 ** -torch.linspace(0, 4, width, dtype=torch.float64)
    turn = torch.linalg.qr(normal(width, width, seed=seed + 9)).Q
    return ((normal(n, size, width, seed=seed) * spread) @ turn + 1.0).to(dtype)


def store_of(key, value, valid, *, layout=LAYOUT, is_native, bounds=True):
    n, tokens, width = key.shape
    blocks = tokens // layout.super_block
    scale = 0.5 + normal(n, blocks, width, seed=4, dtype=key.dtype).abs()
    pieces = [
        (x.detach().unflatten(1, (blocks, -1)).transpose(0, 1).flatten(0, 1)) for x in (key, valid)
    ]
    cut = scale.transpose(0, 1).flatten(0, 1)
    order = order_block(pieces[0], cut, pieces[1], layout, native=is_native)
    first = torch.arange(blocks)[:, None, None] * layout.super_block
    order = (order.unflatten(0, (blocks, n)) + first).transpose(0, 1).flatten(1)
    return build_store(
        key, value, valid, order, scale, layout, bounds=bounds, start=7, native=is_native
    )


def drawn(blocks=9, n=2, width=20, value_width=3, dtype=torch.float64, seed=0):
    tokens = blocks * LAYOUT.super_block
    valid = torch.ones(n, tokens, dtype=torch.bool)
    valid[0, :6] = valid[-1, -9:] = False
    key = keys_of(n, tokens, width, seed=seed, dtype=dtype)
    return key, normal(n, tokens, value_width, seed=seed + 3, dtype=dtype), valid


def assert_same_store(found, expected, *, bounds=True):
    assert_bit_equal(found.positions, expected.positions)
    for name in ("keys", "values", "valid"):
        assert_bit_equal(getattr(found, name), getattr(expected, name), what=name)
    assert len(found.pyramid.heights) == len(expected.pyramid.heights)
    for mine, other in zip(found.pyramid.children, expected.pyramid.children, strict=True):
        assert_bit_equal(mine, other, what="children")
    for height, upper in enumerate(expected.pyramid.heights):
        for name in NAMES[: 6 if bounds else 4]:
            mine = getattr(found.pyramid.heights[height], name)
            assert_close(mine, getattr(upper, name), what=f"{name} of {height}")
        assert bounds or found.pyramid.heights[height].radius is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("width", [1, 7, 16, 17, 64])
def test_order_is_that_of_torch(compiled, width, dtype):
    key, scale = keys_of(3, 64, width, dtype=dtype), normal(3, width, dtype=dtype).abs() + 0.1
    valid = torch.ones(3, 64, dtype=torch.bool)
    layout = TileLayout(super_block=64, tile=4)
    expected = order_block(key, scale, valid, layout)
    assert_bit_equal(order_block(key, scale, valid, layout, native=True), expected)
    whole = tile_order(key, scale, None, 4, 0, POWER_STEPS)
    assert_bit_equal(whole, bisect_order(key * scale[:, None], 4))
    assert (expected != torch.arange(64)).any()


def test_points_that_belong_to_no_tile_lie_at_zero(compiled):
    layout = TileLayout(super_block=64, tile=4)
    valid = torch.ones(2, 64, dtype=torch.bool)
    valid[0, :10] = valid[1, ::7] = False
    key, scale = keys_of(2, 64, 20), normal(2, 20).abs() + 0.1
    zeroed = key * valid[..., None]
    poisoned = key.masked_fill(~valid[..., None], math.nan)
    found = order_block(poisoned, scale, valid, layout, native=True)
    everywhere = torch.ones_like(valid)
    assert_bit_equal(found, order_block(zeroed, scale, everywhere, layout, native=True))
    # Those at one point are ordered by rounding alone: compare the tiles of the others.
    expected = order_block(key, scale, valid, layout)
    for head in range(2):
        shown = valid[head]
        assert_bit_equal(found[head][shown[found[head]]], expected[head][shown[expected[head]]])


def test_points_that_are_all_alike_stay_in_place(compiled):
    key = torch.ones(2, 32, 5, dtype=torch.float64)
    key[1] = math.nan
    order = tile_order(key, torch.ones(2, 5, dtype=torch.float64), None, 4, 0, POWER_STEPS)
    assert_bit_equal(order[0], torch.arange(32))
    assert_bit_equal(order.sort(-1).values, torch.arange(32).expand(2, -1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("bounds", [True, False])
@pytest.mark.parametrize("order", ["key_space", "contiguous"])
def test_stores_are_those_of_torch(compiled, dtype, bounds, order):
    layout, given = replace(LAYOUT, order=order), drawn(dtype=dtype)
    expected = store_of(*given, layout=layout, is_native=False, bounds=bounds)
    found = store_of(*given, layout=layout, is_native=True, bounds=bounds)
    assert_same_store(found, expected, bounds=bounds)
    assert len(expected.pyramid.heights) == 6


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    blocks=st.integers(1, 5),
    n=st.integers(1, 3),
    width=st.integers(1, 33),
    value_width=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_shape(blocks, n, width, value_width, seed):
    if not native.runnable_sets():
        pytest.skip(native.choice().reason)
    given = drawn(blocks, n, width, value_width, seed=seed)
    # Padding is ordered by rounding alone.
    given[2].fill_(True)
    expected = store_of(*given, is_native=False)
    assert_same_store(store_of(*given, is_native=True), expected)


def test_super_blocks_one_by_one_make_the_same_store(compiled):
    key, value, valid = drawn()
    layout = LAYOUT
    whole = store_of(key, value, valid, is_native=True)
    scale, size = whole.pyramid.scale, layout.super_block
    grown = None
    for block in range(9):
        span = slice(block * size, (block + 1) * size)
        order = order_block(key[:, span], scale[:, block], valid[:, span], layout, native=True)
        new = build_store(
            key[:, span], value[:, span], valid[:, span], order, scale[:, block : block + 1],
            layout, bounds=True, start=7 + span.start, native=True,
        )  # fmt: skip
        grown = new if grown is None else grown.extended(new, layout, native=True)
    assert_bit_equal(grown.positions, whole.positions)
    for mine, other in zip(grown.pyramid.children, whole.pyramid.children, strict=True):
        assert_bit_equal(mine, other)
    for mine, other in zip(grown.pyramid.heights, whole.pyramid.heights, strict=True):
        for name in NAMES:
            assert_bit_equal(getattr(mine, name), getattr(other, name), what=name)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_are_those_of_torch(compiled, dtype):
    key, value, valid = drawn(5, dtype=dtype)

    def gradients(is_native):
        leaves = [x.clone().requires_grad_() for x in (key, value)]
        store = store_of(*leaves, valid, is_native=is_native)
        assert not any(
            getattr(height, name).requires_grad
            for height in store.pyramid.heights
            for name in ("count", "variance", "radius", "spread")
        )
        total = 0.0
        outputs = [store.keys, store.values]
        outputs += [x for height in store.pyramid.heights for x in (height.key, height.value)]
        for number, x in enumerate(outputs):
            total = total + (x * normal(*x.shape, seed=number, dtype=dtype)).sum()
        return torch.autograd.grad(total, leaves)

    for mine, other in zip(gradients(True), gradients(False), strict=True):
        assert_close(mine, other, gradient=True, what="gradient")
        assert other.abs().max() > 0.5


def test_gradients_pass_the_numerical_check(compiled):
    key, value = (normal(1, 8, 3, seed=s).requires_grad_() for s in (0, 1))
    valid = torch.arange(8)[None] != 2
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))[None]
    index = torch.tensor([[2, 0, 1, 3]])

    def moments(key, value):
        keys, values, _, count, *means, variance, _, _ = tile_moments(
            key, value, valid, order, 2, False
        )
        merged = merged_moments(count, *means, variance.detach(), None, None, index, 2)
        return keys, values, *means, *merged[1:3]

    assert torch.autograd.gradcheck(moments, (key, value))
    assert torch.autograd.gradgradcheck(moments, (key, value))


def test_threads_strides_and_repetition_change_no_bit(compiled):
    key, value, valid = drawn()
    expected = store_of(key, value, valid, is_native=True)

    def moved(x):
        storage = x.new_empty(x.numel() + 1)
        storage[1:] = x.reshape(-1)
        return storage[1:].view(x.shape)

    others = [
        (key, value, valid),
        (key.mT.contiguous().mT, moved(value), moved(valid)),
        tuple(torch.stack([x, x], 2).flatten(1, 2)[:, ::2] for x in (key, value, valid)),
    ]
    for tokens in others:
        found = store_of(*tokens, is_native=True)
        assert_bit_equal(found.positions, expected.positions)
        for mine, other in zip(found.pyramid.heights, expected.pyramid.heights, strict=True):
            for name in NAMES:
                assert_bit_equal(getattr(mine, name), getattr(other, name), what=name)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = store_of(key, value, valid, is_native=True)
    finally:
        torch.set_num_threads(before)
    for mine, other in zip(again.pyramid.heights, expected.pyramid.heights, strict=True):
        assert_bit_equal(mine.variance, other.variance)


def test_a_later_super_block_changes_no_tile_before_it(compiled):
    key, value, valid = drawn()
    expected = store_of(key, value, valid, is_native=True)
    later = key.clone()
    later[:, 128:] = math.pi
    found = store_of(later, value, valid, is_native=True)
    assert_bit_equal(found.positions[:, :32], expected.positions[:, :32])
    for name in NAMES:
        mine, other = (getattr(s.pyramid.heights[0], name)[:, :32] for s in (found, expected))
        assert_bit_equal(mine, other, what=name)


def test_empty(compiled):
    none = torch.empty(0, 32, 5)
    assert tile_order(none, torch.empty(0, 5), None, 4, 16, 2).shape == (0, 32)
    valid, order = torch.empty(0, 32, dtype=torch.bool), torch.empty(0, 32, dtype=torch.long)
    found = tile_moments(none, none, valid, order, 4, True)
    assert found[4].shape == (0, 8, 5)


def test_operators_describe_themselves():
    if not native.runnable_sets():
        pytest.skip(native.choice().reason)
    ops = torch.ops.adaptive_attention_tiling
    key, value = (normal(2, 8, 3, seed=s).requires_grad_() for s in (0, 1))
    valid, order = torch.ones(2, 8, dtype=torch.bool), torch.arange(8).expand(2, -1)
    torch.library.opcheck(ops.tiled_order, (key.detach(), key.detach()[:, 0], valid, 2, 0, 2))
    # Compiling, below, traces what the whole check would, in a tenth of the time.
    quick = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(ops.tiled_moments, (key, value, valid, order, 2, True), test_utils=quick)
    count = torch.ones(2, 8, dtype=torch.float64)
    merge = (count, key, value, key.detach().square(), count, count, order, 4)
    torch.library.opcheck(ops.tiled_merge, merge, test_utils=quick)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def means(key):
        return ops.tiled_moments(key * 2, value, valid, order, 2, False)[4]

    found, expected = means(key), ops.tiled_moments(key * 2, value, valid, order, 2, False)[4]
    assert_bit_equal(found, expected)
    mine, other = (torch.autograd.grad(x.square().sum(), key)[0] for x in (found, expected))
    assert_bit_equal(mine, other)


def test_without_kernels_it_says_so(monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", "off")
    with pytest.raises(UnsupportedError, match="AAT_NATIVE=off"):
        store_of(*drawn(1), is_native=True)
