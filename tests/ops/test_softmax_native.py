"""Attention over ranges of keys in compiled kernels, against one softmax over all pairs."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.ops.softmax_attention import (
    EMPTY,
    explain_ranged_attention,
    ranged_attention,
)
from adaptive_attention_tiling.ops.softmax_attention.native import (
    softmax_ranges,
    softmax_ranges_backward,
)
from adaptive_attention_tiling.ops.softmax_attention.ranged import visible_range
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

SETS = native.runnable_sets()
pytestmark = pytest.mark.skipif(not SETS, reason="no kernels were built on this machine")

NAMES = ("query", "key", "value", "bias")


@pytest.fixture(params=SETS or ("none",))
def instruction_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(native.VARIABLE, request.param)
    return str(request.param)


class Rule(NamedTuple):
    scale: float = 0.4
    lower: int | None = None
    upper: int | None = None


def rule(offset=0, window=None, is_causal=True, scale=0.4) -> Rule:
    return Rule(scale, *visible_range(offset=offset, window=window, is_causal=is_causal))


def draw(T, S, *, B=2, H=2, R=3, D=8, E=5, bias=False, dtype=torch.float64, seed=0):
    """query [B, H R, T, D], key [B, H, S, D], value [B, H, S, E], bias [B, H, S] or None."""
    source = torch.Generator().manual_seed(seed)
    shapes = (B, H * R, T, D), (B, H, S, D), (B, H, S, E), (B, H, S)
    drawn = [torch.randn(s, generator=source, dtype=torch.float64).to(dtype) for s in shapes]
    drawn[3] = drawn[3].masked_fill(drawn[3] < -0.7, EMPTY)
    return [*drawn[:3], drawn[3] if bias else None]


def dense(query, key, value, bias, scale, lower, upper):
    """The same by one softmax over all pairs; differentiable where nothing is seen."""
    group = query.shape[1] // key.shape[1]
    logits = scale * query @ key.repeat_interleave(group, 1).mT
    i, j = torch.arange(query.shape[2])[:, None], torch.arange(key.shape[2])
    shown = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool)
    if lower is not None:
        shown &= j >= i + lower
    if upper is not None:
        shown &= j < i + upper
    shown = shown.expand(*logits.shape)
    if bias is not None:
        each = bias.repeat_interleave(group, 1)[:, :, None]
        shown = shown & (each > EMPTY)
        logits = logits + each.masked_fill(each == EMPTY, 0.0)
    weights = torch.where(shown, logits.exp(), 0.0)
    mass = weights.sum(-1)
    blind = mass == 0
    mass = torch.where(blind, 1.0, mass)
    out = weights @ value.repeat_interleave(group, 1) / mass[..., None]
    return out, torch.where(blind, EMPTY, mass.log())


def gradients(function, tensors, rule, outer):
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in tensors]
    out, lse = function(*leaves, *rule)
    total = (out * outer[0]).sum() + torch.where(lse > EMPTY, lse * outer[1], 0.0).sum()
    return torch.autograd.grad(total, [t for t in leaves if t is not None])


def outer_of(tensors, seed=1):
    source = torch.Generator().manual_seed(seed)
    query, value = tensors[0], tensors[2]
    shape = query.shape[:3]
    return [
        torch.randn(s, generator=source, dtype=torch.float64).to(query)
        for s in ((*shape, value.shape[3]), shape)
    ]


def check_values(tensors, rule):
    exact = dense(*(None if t is None else t.double() for t in tensors), *rule)
    actual = softmax_ranges(*tensors, *rule)
    for name, got, wanted in zip(("out", "lse"), actual, exact, strict=True):
        assert_close(got, wanted.to(got.dtype), what=name)


def check_gradients(tensors, rule):
    outer = outer_of(tensors)
    double = [None if t is None else t.double() for t in tensors]
    exact = gradients(dense, double, rule, [t.double() for t in outer])
    actual = gradients(softmax_ranges, tensors, rule, outer)
    for name, got, wanted in zip(NAMES, actual, exact, strict=False):
        assert_close(got, wanted.to(got.dtype), gradient=True, what=name)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("window", [None, 1, 5, 64, 1000])
@pytest.mark.parametrize("is_causal", [True, False])
def test_equals_dense_softmax(is_causal, window, dtype):
    tensors = draw(150, 150, B=1, bias=window == 5, dtype=dtype)
    check_values(tensors, rule(window=window, is_causal=is_causal))
    check_gradients(tensors, rule(window=window, is_causal=is_causal))


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(
    ("T", "S", "offset"), [(1, 1, 0), (1, 130, 129), (7, 200, 190), (70, 3, -1), (90, 70, -40)]
)
@pytest.mark.parametrize("R", [1, 4])
def test_queries_anywhere_among_the_keys(T, S, offset, R):
    tensors = draw(T, S, R=R, D=3, E=17, bias=True)
    check_values(tensors, rule(offset, 66))
    check_gradients(tensors, rule(offset, 66))


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(("D", "E"), [(1, 1), (64, 64), (65, 33), (16, 40)])
def test_widths(D, E):
    tensors = draw(70, 70, B=1, H=1, D=D, E=E, dtype=torch.float32)
    check_values(tensors, rule())
    check_gradients(tensors, rule())


@pytest.mark.usefixtures("instruction_set")
def test_a_query_that_sees_nothing_gets_zeros_and_no_gradient():
    query, key, value, _ = draw(20, 20, dtype=torch.float32)
    bias = torch.zeros(2, 2, 20)
    bias[0, :, :9] = EMPTY
    bias[1, 1] = EMPTY
    tensors = (query, key, value, bias)
    out, lse = softmax_ranges(*tensors, *rule())
    assert bool((lse[0, :, :9] == EMPTY).all())
    assert bool((lse[1, 3:] == EMPTY).all())
    assert_bit_equal(out[0, :, :9], torch.zeros_like(out[0, :, :9]))
    assert bool(torch.isfinite(out).all())
    # Whatever comes back for the lse of such a query, it moves nothing.
    d_lse = torch.where(lse == EMPTY, torch.nan, 0.0)
    found = softmax_ranges_backward(
        *tensors, out, lse, torch.ones_like(out), d_lse, *rule(), of_bias=True
    )
    assert_bit_equal(found[0][0, :, :9], torch.zeros_like(found[0][0, :, :9]))
    check_gradients(tensors, rule())


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(("T", "S"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_read(T, S):
    check_values(draw(T, S), rule())
    check_gradients(draw(T, S, bias=True), rule())


@pytest.mark.usefixtures("instruction_set")
def test_large_logits_and_bad_numbers():
    query, key, value, _ = draw(90, 90, dtype=torch.float32)
    far = softmax_ranges(query * 300, key * 300, value, None, *rule())
    assert bool(torch.isfinite(far[0]).all())
    exact = (query.double() * 300 @ key.double().repeat_interleave(3, 1).mT * 300 * 0.4).tril()
    top = exact.masked_fill(torch.ones(90, 90).triu(1).bool(), EMPTY).amax(-1)
    assert_close(far[1] / top.float(), torch.ones_like(far[1]))
    query[0, 2, 30, 1] = torch.nan
    out, lse = softmax_ranges(query, key, value, None, *rule())
    assert bool(out[0, 2, 30].isnan().all() and lse[0, 2, 30].isnan())
    assert int(lse.isnan().sum()) == 1


def strided(tensors):
    """The same numbers in tensors with other strides, at an odd place in their memory."""
    changed = []
    for tensor in tensors:
        if tensor is None:
            changed.append(None)
            continue
        wide = tensor.new_full((*tensor.shape[:-1], tensor.shape[-1] + 3), torch.nan)
        place = wide.transpose(0, 1).contiguous().transpose(0, 1)[..., 1:-2]
        place.copy_(tensor)
        assert place.storage_offset() == 1
        assert not place.is_contiguous()
        changed.append(place)
    return changed


@pytest.mark.usefixtures("instruction_set")
def test_strides_do_not_matter():
    tensors = draw(100, 100, bias=True, dtype=torch.float32)
    expected = softmax_ranges(*tensors, *rule(window=70))
    for got, wanted in zip(softmax_ranges(*strided(tensors), *rule(window=70)), expected, strict=1):
        assert_bit_equal(got, wanted)
    outer = outer_of(tensors)
    wanted = softmax_ranges_backward(*tensors, *expected, *outer, *rule(window=70), of_bias=True)
    places = strided((*tensors, *expected, *outer))
    found = softmax_ranges_backward(*places, *rule(window=70), of_bias=True)
    for name, one, other in zip(NAMES, found, wanted, strict=True):
        assert_bit_equal(one, other, what=name)
    last = [None if t is None else t.mT.contiguous().mT for t in tensors[:3]]
    assert last[0].stride(-1) != 1
    assert_bit_equal(softmax_ranges(*last, tensors[3], *rule(window=70))[0], expected[0])


@pytest.mark.usefixtures("instruction_set")
def test_a_shared_key_head_by_zero_strides():
    query, key, value, _ = draw(40, 40, H=1, R=4)
    expected = softmax_ranges(query, key, value, None, *rule())
    many = (t.expand(-1, 4, -1, -1) for t in (key, value))
    for got, wanted in zip(softmax_ranges(query, *many, None, *rule()), expected, strict=True):
        assert_close(got, wanted)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("window", [None, 9])
@pytest.mark.parametrize("position", [1, 63, 64, 130])
def test_later_tokens_leave_no_trace(position, window, dtype):
    def function(query, key, value):
        out, lse = softmax_ranges(query, key, value, None, *rule(window=window))
        return torch.cat([out, lse[..., None]], -1)

    assert_causal(function, draw(150, 150, B=1, R=2, dtype=dtype)[:3], position)


@pytest.mark.usefixtures("instruction_set")
def test_tokens_to_come_leave_no_trace():
    tensors = draw(200, 200, dtype=torch.float32)[:3]
    whole = softmax_ranges(*tensors, None, *rule())
    for length in (1, 64, 65, 131):
        part = softmax_ranges(*(t[:, :, :length] for t in tensors), None, *rule())
        for got, wanted in zip(part, whole, strict=True):
            assert_bit_equal(got, wanted[:, :, :length])


@pytest.mark.usefixtures("instruction_set")
def test_other_sequences_and_heads_leave_no_trace():
    query, key, value, bias = draw(70, 70, B=3, R=2, bias=True, dtype=torch.float32)
    whole = softmax_ranges(query, key, value, bias, *rule())
    one = softmax_ranges(query[1:2, 2:], key[1:2, 1:], value[1:2, 1:], bias[1:2, 1:], *rule())
    for got, wanted in zip(one, whole, strict=True):
        assert_bit_equal(got, wanted[1:2, 2:])


@pytest.mark.usefixtures("instruction_set")
def test_same_bits_again_and_on_more_threads():
    tensors = draw(500, 500, B=2, R=2, bias=True, dtype=torch.float32)
    outer = outer_of(tensors)

    def everything():
        out, lse = softmax_ranges(*tensors, *rule())
        found = softmax_ranges_backward(*tensors, out, lse, *outer, *rule(), of_bias=True)
        return out, lse, *found

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    first, again = everything(), everything()
    torch.set_num_threads(2)
    try:
        two = everything()
    finally:
        torch.set_num_threads(threads)
    for one, other, third in zip(first, again, two, strict=True):
        assert_bit_equal(other, one)
        assert_bit_equal(third, one)


@pytest.mark.usefixtures("instruction_set")
@settings(max_examples=40, deadline=None)
@given(
    T=st.integers(0, 90),
    S=st.integers(0, 140),
    D=st.integers(1, 20),
    E=st.integers(1, 20),
    R=st.integers(1, 7),
    lower=st.none() | st.integers(-150, 150),
    upper=st.none() | st.integers(-150, 150),
    bias=st.booleans(),
    single=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_shape(T, S, D, E, R, lower, upper, bias, single, seed):
    dtype = torch.float32 if single else torch.float64
    tensors = draw(T, S, B=1, H=2, R=R, D=D, E=E, bias=bias, dtype=dtype, seed=seed)
    check_values(tensors, Rule(0.3, lower, upper))
    check_gradients(tensors, Rule(0.3, lower, upper))


def test_twice_differentiating_is_refused():
    query, key, value, _ = draw(6, 6)
    query.requires_grad_()
    out, _ = softmax_ranges(query, key, value, None, *rule())
    (first,) = torch.autograd.grad(out.sum(), query, create_graph=True)
    with pytest.raises(UnsupportedError, match=r"^create_graph: .*AAT_NATIVE=off"):
        first.sum().backward()


def test_a_pinned_implementation_runs_or_raises(monkeypatch):
    query, key, value, _ = draw(6, 6)
    tensors = query.unflatten(1, (2, 3)), key, value
    names = {
        pinned: ranged_attention(
            tensors[0].clone().requires_grad_(), *tensors[1:], scale=1.0, implementation=pinned
        )
        .out.grad_fn.next_functions[0][0]
        .name()
        for pinned in ("native", "eager")
    }
    assert "softmax_ranges" in names["native"]
    assert "softmax_ranges" not in names["eager"]
    half = [t.half() for t in tensors]
    assert explain_ranged_attention(*tensors).implementation == "native"
    assert str(explain_ranged_attention(*half)).startswith("eager: kernels read float32")
    with pytest.raises(UnsupportedError, match=r"^implementation: .*float32 or float64.*Fix"):
        ranged_attention(*half, scale=1.0, implementation="native")
    monkeypatch.setenv(native.VARIABLE, "off")
    assert explain_ranged_attention(*tensors).reason == "AAT_NATIVE=off"
    with pytest.raises(UnsupportedError, match=r"^implementation: .*AAT_NATIVE=off"):
        ranged_attention(*tensors, scale=1.0, implementation="native")
    with pytest.raises(ArgumentError, match="implementation"):
        ranged_attention(*tensors, scale=1.0, implementation="fast")


def test_the_operators_of_torch():
    tensors = [t.requires_grad_() for t in draw(9, 9, bias=True)]
    torch.library.opcheck(softmax_ranges, (*tensors, *rule(window=4)))
    fixed = [t.detach() for t in tensors]
    part = softmax_ranges(*fixed, *rule())
    torch.library.opcheck(softmax_ranges_backward, (*fixed, *part, *outer_of(fixed), *rule(), True))


def test_compiles_as_a_whole():
    tensors = [t.requires_grad_() for t in draw(9, 9)[:3]]

    def loss(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out, lse = softmax_ranges(query, key, value, None, *rule(window=4))
        return out.square().sum() + lse.sum()

    def run(function):
        total = function(*tensors)
        return [total.detach(), *torch.autograd.grad(total, tensors)]

    compiled = run(torch.compile(loss, fullgraph=True, backend="aot_eager"))
    for got, wanted in zip(compiled, run(loss), strict=True):
        assert_close(got, wanted)
