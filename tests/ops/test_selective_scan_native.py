"""The scan's kernels: every instruction set against the loop and against the scan in chunks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import UnsupportedError
from adaptive_attention_tiling.ops.selective_scan import (
    explain_selective_scan,
    selective_scan,
    tile_contributions,
)
from adaptive_attention_tiling.ops.selective_scan.chunked import chunked_scan
from adaptive_attention_tiling.ops.selective_scan.native import native_scan, selective_scan_op
from adaptive_attention_tiling.ops.selective_scan.reference import reference_selective_scan
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

SETS = native.runnable_sets()
pytestmark = pytest.mark.skipif(not SETS, reason="no kernels were built: python csrc/build.py")


@pytest.fixture(params=SETS)
def kernels(request, monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", request.param)
    return request.param


@pytest.fixture
def poisoned(monkeypatch):
    """New tensors hold NaN until they are written."""
    made = torch.Tensor.new_empty

    def new_empty(self, *size, **kind):
        tensor = made(self, *size, **kind)
        return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

    monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)


def leaves(T, *, B=2, J=5, N=4, dtype=torch.float64, seed=0):
    """x, delta, A, write, read, start."""
    source = torch.Generator().manual_seed(seed)
    shapes = (B, T, J), (B, T, J), (J, N), (B, T, N), (B, T, N), (B, J, N)
    drawn = [torch.randn(s, generator=source, dtype=torch.float64).to(dtype) for s in shapes]
    drawn[1], drawn[2] = drawn[1].abs(), -drawn[2].exp()
    return [tensor.requires_grad_() for tensor in drawn]


def some_widths(kind, T, *, B=2, N=4):
    if kind is None:
        return None
    tokens = torch.randint(1, N + 1, (B, T), generator=torch.Generator().manual_seed(1))
    return tokens if kind == "tokens" else tokens[:, :1].expand(B, T)


def gradients(outputs, inputs):
    # Another weight for every number, so that no gradient can hide behind another.
    outer = [torch.linspace(-1, 2, t.numel()).to(t).view_as(t) for t in outputs]
    return torch.autograd.grad(outputs, inputs, outer)


def each(check, found, wanted, **settings):
    for got, expected in zip(found, wanted, strict=True):
        check(got, expected, **settings)


def assert_same(inputs, widths):
    found, wanted = (f(*inputs, widths=widths) for f in (native_scan, chunked_scan))
    each(assert_close, found, wanted)
    names = ("x", "delta", "A", "write", "read", "start")
    grads = gradients(found, inputs), gradients(wanted, inputs)
    for name, got, expected in zip(names, *grads, strict=True):
        assert_close(got, expected, gradient=True, what=name)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", [None, "rows", "tokens"])
@pytest.mark.parametrize(("T", "J"), [(1, 1), (31, 5), (33, 8), (70, 37), (2, 130)])
@pytest.mark.usefixtures("kernels", "poisoned")
def test_values_and_gradients_are_those_of_chunks(T, J, kind, dtype):
    assert_same(leaves(T, J=J, dtype=dtype), some_widths(kind, T))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.usefixtures("kernels", "poisoned")
def test_values_and_gradients_are_those_of_the_loop(dtype):
    inputs = leaves(40, dtype=dtype)
    names = ("x", "delta", "A", "B", "C", "initial_state")
    extra = [torch.linspace(-1, 1, 5, dtype=dtype).requires_grad_() for _ in range(2)]
    call = dict(zip(names, inputs, strict=True), D=extra[0], delta_bias=extra[1])
    call.update(delta_softplus=True, resolution=torch.rand(2, 40).clamp(min=0.01))
    y, state = selective_scan(**call, return_state=True, implementation="native")
    wanted = reference_selective_scan(**call)
    each(assert_close, (y, state.channels), wanted)
    grads = (gradients(o, inputs + extra) for o in ((y, state.channels), wanted))
    each(assert_close, *grads, gradient=True)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    T=st.integers(1, 80),
    B=st.integers(1, 3),
    J=st.integers(1, 70),
    N=st.integers(1, 20),
    kind=st.sampled_from([None, "rows", "tokens"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_any_shape(T, B, J, N, kind, dtype):
    assert_same(leaves(T, B=B, J=J, N=N, dtype=dtype), some_widths(kind, T, B=B, N=N))


@pytest.mark.usefixtures("kernels", "poisoned")
def test_nothing_is_read_without_readers_or_tokens():
    x, delta, A, write, _, start = leaves(12)
    y, end = native_scan(x, delta, A, write, None, start)
    assert y is None
    assert_close(end, chunked_scan(x, delta, A, write, None, start)[1])
    wanted = gradients(chunked_scan(x, delta, A, write, None, start)[1:], [x, delta, A, write])
    each(assert_close, gradients((end,), [x, delta, A, write]), wanted, gradient=True)
    x, delta, A, write, read, start = leaves(0)
    y, end = native_scan(x, delta, A, write, read, start)
    assert y.shape == (2, 0, 5)
    assert_bit_equal(end, start)
    assert_bit_equal(torch.autograd.grad(end.sum(), start)[0], torch.ones_like(start))
    x, delta, A, write, read, start = leaves(3, B=0)
    assert native_scan(x, delta, A, write, read, start)[0].shape == (0, 3, 5)


@pytest.mark.usefixtures("kernels")
def test_only_one_of_the_outputs_may_have_a_gradient():
    inputs = leaves(20)
    for chosen in (0, 1):
        found, wanted = (f(*inputs)[chosen] for f in (native_scan, chunked_scan))
        grads = [torch.autograd.grad(t.sum(), inputs, allow_unused=True) for t in (found, wanted)]
        for got, expected in zip(*grads, strict=True):
            if expected is None:
                assert got is None or not got.any()
            else:
                assert_close(got, expected, gradient=True)


@pytest.mark.usefixtures("kernels")
def test_any_layout_in_memory():
    inputs = [tensor.detach() for tensor in leaves(33)]
    widths = some_widths("tokens", 33)
    wanted = native_scan(*inputs, widths=widths)
    turned = [t.mT.contiguous().mT for t in inputs]
    each(assert_bit_equal, native_scan(*turned, widths=widths.T.contiguous().T), wanted)
    shifted = []
    for t in inputs:
        room = t.new_empty(t.numel() + 1)
        shifted.append(room[1:].view_as(t).copy_(t))
    each(assert_bit_equal, native_scan(*shifted, widths=widths), wanted)
    spread = [torch.stack([t, t], -2).flatten(-3, -2)[..., ::2, :] for t in inputs]
    each(assert_bit_equal, native_scan(*spread, widths=widths), wanted)
    alike = [t[:1].expand(2, *t.shape[1:]) if t.dim() == 3 else t for t in inputs]
    each(assert_bit_equal, native_scan(*alike), native_scan(*(t.clone() for t in alike)))


@pytest.mark.usefixtures("kernels")
def test_results_do_not_depend_on_threads_or_runs():
    inputs, results = leaves(70, B=3, J=100, dtype=torch.float32), []
    threads = torch.get_num_threads()
    try:
        for count in (1, 1, 2, 3):
            torch.set_num_threads(count)
            outputs = native_scan(*inputs, widths=some_widths("tokens", 70, B=3))
            results.append((*(t.detach() for t in outputs), *gradients(outputs, inputs)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        each(assert_bit_equal, other, results[0])


@pytest.mark.parametrize("position", [0, 1, 31, 32, 50])
@pytest.mark.usefixtures("kernels")
def test_no_output_looks_ahead(position):
    inputs = [tensor.detach() for tensor in leaves(60)]
    before = native_scan(*inputs, widths=some_widths("tokens", 60))[0]
    for which in (0, 1, 3, 4):
        changed = [t.clone() for t in inputs]
        changed[which][:, position] += 1.0
        after = native_scan(*changed, widths=some_widths("tokens", 60))[0]
        assert_bit_equal(after[:, :position], before[:, :position])
        assert not torch.equal(after[:, position], before[:, position])


@pytest.mark.usefixtures("kernels")
def test_what_sleeps_is_kept_to_the_bit():
    inputs = [tensor.detach() for tensor in leaves(9)]
    _, end = native_scan(*inputs, widths=torch.ones(2, 9, dtype=torch.long))
    assert_bit_equal(end[..., 1:], inputs[-1][..., 1:])
    assert not torch.equal(end[..., :1], inputs[-1][..., :1])


@pytest.mark.usefixtures("kernels")
def test_decays_beyond_all_limits():
    # exp gives 0 and inf where torch's does, and what is not a number stays none.
    inputs = [tensor.detach() for tensor in leaves(1, dtype=torch.float32)]
    for rate in (-1e30, -200.0, 200.0, torch.nan):
        inputs[2] = torch.full((5, 4), rate)
        found, wanted = native_scan(*inputs)[1], chunked_scan(*inputs)[1]
        torch.testing.assert_close(found, wanted, equal_nan=True)


def test_the_op_is_well_formed():
    inputs = leaves(12)
    torch.library.opcheck(selective_scan_op, (*inputs, some_widths("tokens", 12), True))
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    without = [*inputs[:4], None, inputs[5]]
    torch.library.opcheck(selective_scan_op, (*without, None, True), test_utils=tests)


def test_it_compiles_as_a_whole():
    inputs = leaves(12)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def scan(*tensors):
        y, end, _ = torch.ops.adaptive_attention_tiling.selective_scan(*tensors, None, True)
        return y * 2, end

    found, wanted = scan(*inputs), native_scan(*inputs)
    wanted = wanted[0] * 2, wanted[1]
    each(assert_bit_equal, found, wanted)
    each(assert_bit_equal, gradients(found, inputs), gradients(wanted, inputs))


def test_it_is_not_twice_differentiable():
    inputs = leaves(5)
    with pytest.raises(UnsupportedError, match=r"^create_graph: .*reference"):
        torch.autograd.grad(native_scan(*inputs)[0].sum(), inputs[0], create_graph=True)


def test_the_choice_can_be_asked_and_pinned(monkeypatch):
    x = torch.zeros(1, 3, 2)
    for name in SETS:
        monkeypatch.setenv("AAT_NATIVE", name)
        told = explain_selective_scan(x)
        assert told.implementation == "native"
        assert name in told.reason
    assert explain_selective_scan(x, implementation="chunked").reason == "pinned by the caller"
    assert explain_selective_scan(x.to("meta")).implementation == "chunked"
    with pytest.raises(UnsupportedError, match=r"^implementation: .*on meta"):
        explain_selective_scan(x.to("meta"), implementation="native")
    monkeypatch.setenv("AAT_NATIVE", "off")
    assert explain_selective_scan(x).implementation == "chunked"
    given = [tensor.detach() for tensor in leaves(3)]
    with pytest.raises(UnsupportedError, match=r"^implementation: .*AAT_NATIVE=off"):
        selective_scan(*given[:5], implementation="native")


def test_tiles_and_states_take_the_kernels_where_they_are():
    x, delta, A, write, read, _ = (tensor.detach() for tensor in leaves(9))
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            native.Library, "call", lambda self, name, *_, **__: calls.append(name), raising=True
        )
        tile_contributions(x, delta, A, write)
        selective_scan(x, delta, A, write, read, return_state=True, rollback_limit=2)
    assert calls == ["selective_scan"] * 3
