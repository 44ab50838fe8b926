"""Reading by compiled kernels against vectorised torch, for every instruction set that runs."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_attention_tiling.backends.native import runnable_sets
from adaptive_attention_tiling.errors import UnsupportedError
from adaptive_attention_tiling.ops.tiled_attention import tiled_attention
from adaptive_attention_tiling.ops.tiled_attention.native import (
    Near,
    read_block,
    tiled_read,
    tiled_read_backward,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

if not runnable_sets():
    pytest.skip("no kernels were built: there was no C++ compiler", allow_module_level=True)

CONTROLS = {
    "tolerance": {"tolerance": 0.05},
    "wide": {"tolerance": 0.3},
    "certified": {"tolerance": 0.6, "certified": True},
    "budget": {"budget": 0.3},
    "resolution": {"resolution": 0.25},
    "everything": {"resolution": 1.0},
}
directions = pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "bidirectional"])


@pytest.fixture(params=runnable_sets())
def kernels(request, monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", request.param)
    return request.param


def attended(inputs, implementation, **rules):
    """Output, report and gradients."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out, report = tiled_attention(
        *leaves, enable_gqa=True, implementation=implementation, return_report=True, **rules
    )
    weighted = (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)).sum()
    return out.detach(), report, torch.autograd.grad(weighted, leaves)


def both(inputs, **rules):
    return [attended(inputs, implementation, **rules) for implementation in ("native", "eager")]


def assert_same(inputs, **rules):
    native, eager = both(inputs, **rules)
    assert_close(native[0], eager[0], what="output")
    for name in ("error_bound", "resolution", "read_by_block", "rows_per_query"):
        pair = (getattr(x[1], name).nan_to_num(-1) for x in (native, eager))
        assert_close(*pair, what=name)
    for name, a, e in zip(("query", "key", "value"), native[2], eager[2], strict=True):
        assert_close(a, e, gradient=True, what=f"gradient of {name}")
    return native[1]


@directions
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("sides", [{}, {"left": 9}], ids=str)
def test_equals_torch(kernels, control, sides, is_causal, clustered, padding, tiny):
    mask = padding(83, **sides) if sides else None
    rules = {"is_causal": is_causal, "layout": tiny, "key_padding_mask": mask}
    report = assert_same(clustered(83), **rules, **CONTROLS[control])
    if control == "tolerance":
        assert 0 < report.fraction_read < 1


@directions
@pytest.mark.parametrize("length", [1, 3, 17, 49, 200])
def test_lengths_and_widths(kernels, length, is_causal, draw, tiny):
    assert_same(draw(length, B=1, D=11, E=5), is_causal=is_causal, layout=tiny, tolerance=0.3)


@pytest.mark.parametrize(
    "change", [{"rest": "drop"}, {"order": "contiguous"}, {"window": 0, "sinks": 0}], ids=str
)
def test_layouts(kernels, change, clustered, tiny):
    assert_same(clustered(83), is_causal=True, layout=replace(tiny, **change), tolerance=0.1)


def test_cross_attention(kernels, draw, padding, tiny):
    inputs = draw(21, S=70, E=5)
    assert_same(inputs, key_padding_mask=padding(70, right=6), layout=tiny, tolerance=0.3)


@directions
@pytest.mark.parametrize("control", ["budget", "resolution", "everything"])
def test_equals_torch_in_float32(kernels, control, is_causal, clustered, tiny):
    inputs = clustered(83, dtype=torch.float32)
    assert_same(inputs, is_causal=is_causal, layout=tiny, **CONTROLS[control])


def test_rounding_flips_few_decisions(kernels, clustered, tiny):
    """In float32 a query at the limit may open another node; all others agree."""
    inputs = clustered(400, dtype=torch.float32)
    rules = {"is_causal": True, "layout": tiny, "tolerance": 0.1}
    (native, mine, _), (eager, other, _) = both(inputs, **rules)
    away = (native - eager).norm(dim=-1) > 1e-5 * eager.norm(dim=-1).max()
    assert away.double().mean() < 0.01
    assert abs(mine.fraction_read - other.fraction_read) < 0.01


@pytest.mark.parametrize("control", ["tolerance", "certified", "budget"])
def test_the_future_is_not_read(kernels, control, draw, tiny):
    def attend(*inputs):
        rules = {"enable_gqa": True, "layout": tiny, "implementation": "native"}
        return tiled_attention(*inputs, is_causal=True, **rules, **CONTROLS[control])

    for position in (1, 47, 48, 63, 74):
        assert_causal(attend, draw(75, B=1, dtype=torch.float32), position)


@directions
def test_threads_and_repetition_change_no_bit(kernels, is_causal, clustered, tiny):
    rules = {"is_causal": is_causal, "layout": tiny, "tolerance": 0.1}
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 1, 2):
            torch.set_num_threads(count)
            found.append(attended(clustered(100, dtype=torch.float32), "native", **rules))
    finally:
        torch.set_num_threads(threads)
    for out, report, grads in found[1:]:
        assert_bit_equal(out, found[0][0])
        assert_bit_equal(report.error_bound, found[0][1].error_bound)
        for grad, first in zip(grads, found[0][2], strict=True):
            assert_bit_equal(grad, first)


def near_inputs(draw, dtype=torch.float64, length=21):
    query, key, value = draw(length, B=2, dtype=dtype)
    return query.flatten(0, 1), Near(key, value, None)


def test_views_are_read_where_they_lie(kernels, draw):
    """Misaligned queries, one key for all groups, and values that NaNs lie between."""
    query, near = near_inputs(draw, torch.float32)
    room = torch.full((query.numel() + 1,), torch.nan)
    moved = room[1:].view(query.shape).copy_(query)
    shared = near.key[:, :1].expand(-1, 2, -1, -1)
    apart = torch.cat([near.value, torch.full_like(near.value, torch.nan)], -1)[..., :8]
    found = read_block(moved, Near(shared, apart, None), None, None, causal=True)
    copied = Near(shared.contiguous(), near.value, None)
    expected = read_block(query, copied, None, None, causal=True)
    assert_bit_equal(found.out, expected.out)
    assert_bit_equal(found.lse, expected.lse)


def test_outputs_are_written_whole(kernels, clustered, tiny, monkeypatch):
    """With outputs that are NaN before."""
    empty = torch.Tensor.new_empty

    def poisoned(self, *args, **kwargs):
        made = empty(self, *args, **kwargs)
        return made.fill_(torch.nan) if made.is_floating_point() else made

    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    for control in ("tolerance", "budget"):
        assert_same(clustered(83), is_causal=True, layout=tiny, **CONTROLS[control])


def test_nothing_in_nothing_out(kernels, draw):
    query, near = near_inputs(draw)
    assert read_block(query[:, :0], near, None, None, causal=False).out.shape == (8, 0, 8)
    none = Near(near.key[:, :, :0], near.value[:, :, :0], None)
    blind = read_block(query, none, None, None, causal=False)
    assert not blind.out.any()
    assert bool((blind.lse == -torch.inf).all())


def test_second_derivatives_are_refused(kernels, draw, tiny):
    leaves = [x.requires_grad_() for x in draw(40)]
    out = tiled_attention(*leaves, is_causal=True, enable_gqa=True, layout=tiny, tolerance=0.1)
    with pytest.raises(UnsupportedError, match="create_graph"):
        torch.autograd.grad(out.sum(), leaves, create_graph=True)


def test_torch_accepts_the_operators(kernels, draw):
    query, near = near_inputs(draw, length=5)
    inputs = (query, *near, *[None] * 16)
    torch.library.opcheck(tiled_read, (*inputs, torch.inf, True))
    leaves = [x.requires_grad_() for x in (query, near.key, near.value)]
    torch.library.opcheck(tiled_read, (*leaves, *inputs[3:], torch.inf, True))
    out, lse, planned = tiled_read(*(x.detach() for x in leaves), *inputs[3:], torch.inf, True)[:3]
    detached = [*(x.detach() for x in leaves), *inputs[3:]]
    torch.library.opcheck(
        tiled_read_backward, (torch.ones_like(out), out, lse, planned, detached, torch.inf, True)
    )


def test_the_operator_compiles(draw):
    query, near = near_inputs(draw, length=5)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def attend(query, key, value):
        return tiled_read(query, key, value, *[None] * 17, torch.inf, True)[0]

    expected = read_block(query, near, None, None, causal=True).out
    assert_close(attend(query, near.key, near.value), expected)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 90),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3)),
    widths=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    tolerance=st.sampled_from([0.02, 0.1, 0.5]),
    is_causal=st.booleans(),
)
def test_any_shape(length, shape, widths, tolerance, is_causal, draw, tiny):
    batch, groups, repeat = shape
    width, value_width = widths
    inputs = draw(length, B=batch, G=groups, H=groups * repeat, D=width, E=value_width)
    assert_same(inputs, is_causal=is_causal, layout=tiny, tolerance=tolerance)
