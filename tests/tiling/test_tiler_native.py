"""The compiled tiler cuts what torch's cuts, and what trying every tiling finds."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close
from adaptive_attention_tiling.tiling.tiles import TileManager, reference
from adaptive_attention_tiling.tiling.tiles import native as kernels
from adaptive_attention_tiling.tiling.tiles import sweep as sweeps
from adaptive_attention_tiling.tiling.tiles.loss import prefix_losses
from adaptive_attention_tiling.tiling.tiles.programme import least_loss_within, solve

TILERS = {
    "free": {"min_size": 4, "max_size": 48, "resolutions": (1, 1 / 2, 1 / 4), "overhead": 0.5},
    "thirds": {"min_size": 12, "max_size": 48, "resolutions": (1, 1 / 2, 1 / 3, 1 / 12)},
    "bounded": {"min_size": 4, "max_size": 12, "resolutions": (1, 1 / 2, 1 / 4), "overhead": 1.0},
    "unaligned": {"min_size": 4, "max_size": 12, "granularity": 2, "resolutions": (1, 1 / 3)},
    "exact": {"min_size": 4, "max_size": 48, "resolutions": (1,), "overhead": 0.0},
}
FIELDS = ("start", "length", "resolution", "block_loss", "block_cost", "price")


@pytest.fixture(params=("avx512", "avx2", "baseline"))
def compiled(request, monkeypatch):
    if request.param not in native.runnable_sets():
        pytest.skip(native.availability()[request.param])
    monkeypatch.setenv("AAT_NATIVE", request.param)
    return request.param


def tiler_of(name):
    return TileManager(**{"super_block": 48} | TILERS[name])


def walk(*shape, dtype=torch.float64, seed=0):
    """States that walk, now calmly, now wildly."""
    source = torch.Generator().manual_seed(seed)
    step = torch.randn(*shape, generator=source, dtype=torch.float64)
    wild = torch.rand(*shape[:-1], 1, generator=source, dtype=torch.float64) ** 4
    return (step * wild).cumsum(-2).to(dtype)


def by_torch(monkeypatch, call):
    with monkeypatch.context() as context:
        context.setenv("AAT_NATIVE", "off")
        return call()


@pytest.mark.parametrize("name", TILERS)
@pytest.mark.parametrize("kind", ["states", "density"])
@pytest.mark.parametrize("tokens", [1, 47, 48, 149])
def test_cuts_are_those_of_torch(compiled, monkeypatch, name, kind, tokens):
    tiler, signal = tiler_of(name), walk(3, tokens, 5)
    if kind == "density":
        signal = signal.square().sum(-1)
    calls = [
        *(lambda b=b: tiler.optimize_tiling(signal, b, kind=kind) for b in (0.45, 0.6, 1.0)),
        *(lambda p=p: tiler.tile_at_price(signal, p, kind=kind) for p in (0.0, 0.05, 2.0, 1e9)),
    ]
    if name == "exact":
        calls = [calls[2], *calls[3:]]
    for call in calls:
        found, expected = call(), by_torch(monkeypatch, call)
        for field in ("start", "length", "resolution", "block_cost"):
            assert_bit_equal(getattr(found, field), getattr(expected, field), what=field)
        assert_close(found.block_loss, expected.block_loss, what="loss")
        assert_close(found.price, expected.price, what="price")


@pytest.mark.parametrize("name", TILERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_from_the_same_losses_no_bit_differs(compiled, monkeypatch, name, dtype):
    # Without the kernel of the losses both search the same whole numbers.
    monkeypatch.setattr(
        sweeps, "native_prefix_losses", lambda _, states, offered: prefix_losses(states, offered)
    )
    offered, signal = tiler_of(name).offers(48), walk(19, 48, 5, dtype=dtype)
    # Plateaus: many tilings lose nothing and are worth the same.
    signal[:5] = signal[:5, ::8].repeat_interleave(8, 1)

    def results():
        sweep = sweeps.sweep_of(signal, offered)
        prices = [least_loss_within(sweep, most) for most in (offered.least_cost, 25, 40.0, 49.0)]
        prices += [torch.zeros(19, dtype=torch.float64), prices[1] * 2 + 3]
        return sweep.programme, prices, [solve(sweep, price) for price in prices]

    programme, prices, solutions = results()
    none, torch_prices, expected = by_torch(monkeypatch, results)
    assert programme is not None
    assert none is None
    for mine, other in zip(prices, torch_prices, strict=True):
        assert_bit_equal(mine, other, what="price")
    for mine, other in zip(solutions, expected, strict=True):
        for field in ("length", "span", "loss", "cost"):
            assert_bit_equal(getattr(mine, field), getattr(other, field), what=field)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("width", [1, 5, 16, 33])
@pytest.mark.parametrize("name", ["free", "thirds"])
def test_losses_are_those_of_torch(compiled, name, width, dtype):
    states, offered = walk(7, 48, width, dtype=dtype), tiler_of(name).offers(48)
    expected = prefix_losses(states, offered)
    found = kernels.prefix_losses(native.choice().library, states, offered)
    assert found.dtype == torch.float64
    assert_close(found.to(dtype), expected.to(dtype), what="losses")


@pytest.mark.parametrize("name", ["free", "bounded", "unaligned"])
def test_equals_brute_force(compiled, name):
    tiler = TileManager(**{"super_block": 12} | TILERS[name] | {"max_size": 12})
    for tokens in (7, 12):
        signal = walk(tokens, 3, seed=tokens)
        tilings = reference.every_tiling(signal, tiler)
        for price in (0.003, 0.1, 0.7, 30.0):
            cost, loss = reference.best_at_price(tilings, price).tolist()
            found = tiler.tile_at_price(signal, price)
            assert abs(float(found.information_loss) - loss) < 1e-12 * (1 + loss)
            assert float(found.compute_cost) == cost
        for budget in (0.6, 0.75, 0.9):
            most = budget * tiler.exact_cost(tokens)
            cost, loss = reference.best_within(tilings, most).tolist()
            found = tiler.optimize_tiling(signal, budget)
            assert float(found.compute_cost) == cost
            assert abs(float(found.information_loss) - loss) < 1e-12 * (1 + loss)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 9),
    tokens=st.integers(1, 130),
    width=st.integers(1, 9),
    name=st.sampled_from(["free", "thirds", "bounded", "unaligned"]),
    budget=st.floats(0.6, 1.0),
)
def test_any_shape(n, tokens, width, name, budget):
    if not native.runnable_sets():
        pytest.skip(native.choice().reason)
    signal, tiler = walk(n, tokens, width, seed=tokens), tiler_of(name)
    found = tiler.optimize_tiling(signal, budget)
    with pytest.MonkeyPatch.context() as context:
        expected = by_torch(context, lambda: tiler.optimize_tiling(signal, budget))
    assert_bit_equal(found.start, expected.start)
    assert_bit_equal(found.resolution, expected.resolution)


@pytest.mark.parametrize("name", ["free", "bounded"])
def test_threads_strides_and_repetition_change_no_bit(compiled, name):
    tiler, signal = tiler_of(name), walk(3, 150, 6, dtype=torch.float32)
    expected = tiler.optimize_tiling(signal, 0.5)
    storage = torch.full((signal.numel() + 1,), math.nan)
    storage[1:] = signal.flatten()
    others = [signal, storage[1:].view(signal.shape), signal.mT.contiguous().mT]
    for other in others:
        found = tiler.optimize_tiling(other, 0.5)
        for field in FIELDS:
            assert_bit_equal(getattr(found, field), getattr(expected, field), what=field)
    same = tiler.optimize_tiling(signal[:1].expand(4, -1, -1), 0.5)
    assert_bit_equal(same.price, expected.price[:1].expand(4, -1))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        found = tiler.optimize_tiling(signal, 0.5)
    finally:
        torch.set_num_threads(before)
    for field in FIELDS:
        assert_bit_equal(getattr(found, field), getattr(expected, field), what=field)


def test_a_later_super_block_changes_no_tile_before_it(compiled):
    tiler, signal = tiler_of("free"), walk(1, 144, 6)
    later = signal.clone()
    later[:, 96:] = walk(1, 48, 6, seed=3)
    first, second = (tiler.optimize_tiling(each, 0.5) for each in (signal, later))
    count = int((first.start < 96).sum())
    assert_bit_equal(second.start[:, :count], first.start[:, :count])
    assert_bit_equal(second.block_loss[:, :2], first.block_loss[:, :2])
    assert (second.block_loss[:, 2] != first.block_loss[:, 2]).all()


def test_which_kernels_run_can_be_asked(monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", "off")
    assert kernels.kernels_for(torch.zeros(1)).reason == "AAT_NATIVE=off"
    assert kernels.kernels_for(torch.zeros(1, device="meta")).library is None
