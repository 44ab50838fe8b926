"""Gradients of sums in log space read by compiled kernels: those of the definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import UnsupportedError
from adaptive_attention_tiling.ops.gaussian_splat import explain_splat_attention, splat_attention
from adaptive_attention_tiling.ops.linear_attention.native import (
    memory_absorb,
    memory_read,
    memory_scan,
)
from adaptive_attention_tiling.splats import SplatField
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

SETS = native.runnable_sets()
KINDS = ("given", "diagonal", "scalar")
DTYPES = (torch.float32, torch.float64)
DECAYS = (None, "head", "splat")

pytestmark = pytest.mark.skipif(not SETS, reason="no kernels were compiled here")


@pytest.fixture(autouse=True, params=SETS)
def instruction_set(request, monkeypatch):
    monkeypatch.setenv(native.VARIABLE, request.param)
    return request.param


class Draw:
    """Seeded numbers."""

    def __init__(self, seed=0, dtype=torch.float64):
        self.source, self.dtype = torch.Generator().manual_seed(seed), dtype

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.source, dtype=torch.float64).to(self.dtype)

    def logs(self, *shape):
        return logsigmoid(self.normal(*shape) + 1)


def parameters_of(draw, kind, H, D, K, norm_factor=True):
    """For K splats and a background, as `splats.log_features` prepares them."""
    if kind == "given":
        return []
    origin, offset = draw.normal(H, 1, D), 0.3 * draw.normal(H, K + 1)
    linear, square = 0.3 * draw.normal(H, K + 1, D), -0.1 * draw.normal(H, K + 1, D).abs()
    linear[:, K], square[:, K] = 0, 0
    tilt = 0.1 * draw.normal(H).abs() + 0.1 if norm_factor else draw.normal(0)
    if kind == "scalar":
        return [origin, tilt, offset, linear, square[..., :1].clone()]
    return [origin, tilt, offset, torch.cat([square, linear], -1)]


def log_features(kind, parameters, x):
    if kind == "given":
        return x
    origin, tilt, offset, *weights = parameters
    y = x - origin
    square = y.square() if kind == "diagonal" else y.square().sum(-1, keepdim=True)
    columns = weights[0] if kind == "diagonal" else torch.cat(weights[::-1], -1)
    logs = torch.cat([square, y], -1) @ columns.mT + offset[:, None]
    if tilt.numel():
        logs = logs + 0.5 * tilt[:, None, None] * x.square().sum(-1, keepdim=True)
    return logs


def scan_arguments(
    draw, kind="diagonal", *, decay="splat", B=2, H=2, R=2, T=70, D=6, E=5, K=7, gate=True, **more
):
    """What memory_scan takes; features as "given" are logarithms of any size."""
    parameters = parameters_of(draw, kind, H, D, K, **more)
    F = D if kind == "given" else K + 1
    size = 5 if kind == "given" else 1
    return [
        size * draw.normal(B, H * R, T, D),
        size * draw.normal(B, H, T, D),
        draw.normal(B, H, T, E),
        draw.logs(B, H, T, 1) if gate else None,
        0.3 * draw.logs(B, H, T, {"head": 1, "splat": F}[decay]) if decay else None,
        draw.normal(B, H, F, E),
        draw.normal(B, H, F).abs() + 1,
        draw.normal(B, H, F),
        parameters,
        kind,
        int(bool(parameters)),
        0.0,
        True,
        0,
    ]


def leaves_of(arguments):
    """Tensors whose gradients are looked at, by name, as leaves of their own in the arguments."""
    names = ("query", "key", "value", "gate", "decay", "values", "mass", "level")
    leaves = {}
    for n, name in enumerate(names):
        if arguments[n] is not None:
            leaves[name] = arguments[n] = arguments[n].clone().requires_grad_()
    learned = [t.clone().requires_grad_(n > 1) for n, t in enumerate(arguments[8])]
    arguments[8] = learned
    leaves.update(zip(("offset", "weights", "square"), learned[2:], strict=False))
    return leaves


def answer(read, values, mass, level):
    """Queries read [B, H, R, n, F] of sums; out and lse."""
    logs = read + level[:, :, None, None]
    top = logs.detach().amax(-1, keepdim=True)
    top = torch.where(top == -torch.inf, 0.0, top)
    weights = (logs - top).exp()
    total = weights @ mass[:, :, None, :, None]
    nothing = total == 0
    total = total.masked_fill(nothing, 1.0)
    lse = (total.log() + top).masked_fill(nothing, -torch.inf)
    return weights @ values[:, :, None] / total, lse[..., 0]


def read_of(arguments):
    query, kind, parameters = arguments[0], arguments[9], arguments[8]
    heads = arguments[5].shape[1]
    read = log_features(kind, parameters, query.unflatten(1, (heads, -1)).flatten(2, 3))
    return read.unflatten(2, (-1, query.shape[2]))


def without_constant(parameters, constant):
    if not constant:  # the last feature has no weights
        return parameters
    fixed = (torch.cat([t[:, :-1], t[:, -1:].detach()], 1) for t in parameters[3:])
    return [*parameters[:3], *fixed]


def defined(arguments):
    """out, lse and the last sums of memory_scan, token by token, with a level for each feature."""
    arguments = list(arguments)
    arguments[8] = without_constant(arguments[8], arguments[10])
    _, key, value, gate, decay, values, mass, level, parameters, kind = arguments[:10]
    read, written = read_of(arguments), log_features(kind, parameters, key)
    outs, masses = [], []
    for t in range(key.shape[2]):
        fresh = written[:, :, t]
        if gate is not None:
            fresh = fresh + gate[:, :, t]
        kept = level if decay is None else level + decay[:, :, t]
        level = torch.maximum(kept, fresh).detach()
        scale = torch.where(level == -torch.inf, 0.0, level)
        old, new = (kept - scale).exp(), (fresh - scale).exp()
        mass = old * mass + new
        values = old[..., None] * values + new[..., None] * value[:, :, t, None]
        out, lse = answer(read[:, :, :, t : t + 1], values, mass, level)
        outs.append(out)
        masses.append(lse)
    out, total = torch.cat(outs, 3).flatten(1, 2), torch.cat(masses, 3).flatten(1, 2)
    return out, total, values, mass, level


def parts(results):
    """Results of memory_scan that have gradients."""
    return results[:4]


def weighed(results, seed=1):
    draw = Draw(seed)
    return sum((t.double() * draw.normal(*t.shape)).sum() for t in results)


def gradients(results, leaves):
    return torch.autograd.grad(weighed(results), list(leaves.values()), retain_graph=True)


def assert_same_gradients(actual, expected, leaves):
    found, wanted = gradients(actual, leaves), gradients(expected, leaves)
    for name, a, e in zip(leaves, found, wanted, strict=True):
        assert e.any(), name
        assert_close(a, e, gradient=True, what=name)


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_reading_in_order(kind, decay, gate):
    arguments = scan_arguments(Draw(), kind, decay=decay, gate=gate)
    leaves = leaves_of(arguments)
    found, expected = memory_scan(*arguments), defined(arguments)
    for got, wanted in zip(found, expected, strict=False):
        assert_close(got, wanted)
    assert_same_gradients(parts(found), parts(expected), leaves)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_in_single_precision(kind, decay):
    arguments = scan_arguments(Draw(dtype=torch.float32), kind, decay=decay)
    leaves = leaves_of(arguments)
    doubled = [a.double() if isinstance(a, torch.Tensor) else a for a in arguments]
    doubled[8] = [t.double() for t in arguments[8]]
    found = gradients(parts(memory_scan(*arguments)), leaves)
    wanted = gradients(parts(defined(doubled)), leaves)
    for name, a, e in zip(leaves, found, wanted, strict=True):
        assert_close(a, e, gradient=True, what=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("size", [4, 40, 400])
def test_logarithms_that_rise_and_fall_by_more_than_exponents_hold(decay, size, dtype):
    """Pieces of a few tokens each, and features that are never written, or late.

    In single precision a logarithm of that size has lost the digits that the tolerance allows for.
    """
    draw = Draw(dtype=dtype)
    arguments = scan_arguments(draw, "given", decay=decay, T=140, D=3)
    for n in (0, 1):
        arguments[n] = arguments[n] / 5
    arguments[1][:, :, 60:64] += size
    arguments[1][:, :, 100:, 1] -= size
    arguments[1][:, :, :, 2] = -torch.inf
    arguments[1][:, 0, 3::5, 2] = 0
    arguments[7][:, 0, 2] = -torch.inf
    if decay:
        arguments[4][:, :, 64::9, 0] -= size
    leaves = leaves_of(arguments)
    doubled = [a.double() if isinstance(a, torch.Tensor) else a for a in arguments]
    found = gradients(parts(memory_scan(*arguments)), leaves)
    wanted = gradients(parts(defined(doubled)), leaves)
    for name, a, e in zip(leaves, found, wanted, strict=True):
        assert not e.isnan().any(), name
        if dtype == torch.float32 and size > 4:
            assert (a - e).abs().max() <= 2e-6 * size * e.abs().max(), name
        else:
            assert_close(a, e, gradient=True, what=name)


@pytest.mark.parametrize("part", range(4))
def test_each_result_alone_has_its_gradients(part):
    """A result that is not used has no gradient at all, and is none to the kernel."""
    arguments = scan_arguments(Draw(), H=1)
    leaves = leaves_of(arguments)
    if part > 1:
        del leaves["query"]
    if part in (1, 3):
        del leaves["value"], leaves["values"]
    if part == 2:
        del leaves["mass"]
    actual, expected = memory_scan(*arguments)[part], defined(arguments)[part]
    assert_same_gradients([actual], [expected], leaves)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_reading_keys_alone(kind, decay):
    arguments = scan_arguments(Draw(), kind, decay=decay)
    leaves = leaves_of(arguments)
    del leaves["query"]
    assert_same_gradients(memory_absorb(*arguments[1:-1])[:2], defined(arguments)[2:4], leaves)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_answering_from_fixed_sums(kind):
    arguments = scan_arguments(Draw(), kind)
    leaves = leaves_of(arguments)
    for name in ("key", "value", "gate", "decay"):
        del leaves[name]
    actual = memory_read(arguments[0], *arguments[5:-1])
    fixed = [*arguments[:8], without_constant(arguments[8], arguments[10]), *arguments[9:]]
    expected = answer(read_of(fixed), *arguments[5:8])
    expected = [t.flatten(1, 2) for t in expected]
    assert_same_gradients(actual, expected, leaves)


@pytest.mark.parametrize("kind", ["diagonal", "scalar"])
def test_plain_sums_have_the_same_gradients(kind):
    """Also of features with norm_factor, where these are of moderate size."""
    arguments = scan_arguments(Draw(), kind, decay="head")
    arguments[7] = torch.zeros_like(arguments[7])
    leaves = leaves_of(arguments)
    del leaves["level"]
    plain = [*arguments[:12], False, 64]
    assert_same_gradients(memory_scan(*plain)[:2], memory_scan(*arguments)[:2], leaves)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.tuples(*(st.integers(1, n) for n in (2, 3, 3, 150, 18, 18, 40))),
    st.sampled_from(KINDS),
    st.sampled_from(DECAYS),
    st.booleans(),
    st.booleans(),
)
def test_random_shapes(sizes, kind, decay, gate, norm_factor):
    B, H, R, T, D, E, K = sizes
    arguments = scan_arguments(
        Draw(seed=sum(sizes)), kind, B=B, H=H, R=R, T=T, D=D, E=E, K=K, decay=decay, gate=gate,
        norm_factor=norm_factor,
    )  # fmt: skip
    leaves = leaves_of(arguments)
    found = gradients(parts(memory_scan(*arguments)), leaves)
    wanted = gradients(parts(defined(arguments)), leaves)
    for name, a, e in zip(leaves, found, wanted, strict=True):
        assert_close(a, e, gradient=True, what=name)


@pytest.mark.parametrize("decay", DECAYS)
def test_keys_that_weigh_nothing_and_queries_that_find_nothing(decay):
    arguments = scan_arguments(Draw(), decay=decay)
    arguments[3][:, :, :9] = -torch.inf
    arguments[3][:, :, 20] = -torch.inf
    for n, number in ((5, 0), (6, 0), (7, -torch.inf)):
        arguments[n].fill_(number)
    leaves = leaves_of(arguments)
    out, lse, *after = memory_scan(*arguments)
    assert lse[:, :, :9].isneginf().all()
    found = gradients((out, lse[:, :, 9:], *after[:2]), leaves)
    out, lse, *after = defined(arguments)
    wanted = gradients((out, lse[:, :, 9:], *after[:2]), leaves)
    for name, a, e in zip(leaves, found, wanted, strict=True):
        assert not a.isnan().any(), name
        assert_close(a, e.nan_to_num(), gradient=True, what=name)
    named = dict(zip(leaves, found, strict=True))
    assert not named["query"][:, :, :9].any()
    assert not named["key"][:, :, 20].any()


def test_a_memory_that_forgets_at_once():
    """log gamma = -inf is the limit of very strong decay."""
    results = []
    for forgotten in (-torch.inf, -5000.0):
        arguments = scan_arguments(Draw(), decay="head")
        arguments[4][:, :, 20] = forgotten
        leaves = leaves_of(arguments)
        results.append(gradients(parts(memory_scan(*arguments)), leaves))
    for got, expected in zip(*results, strict=True):
        assert not got.isnan().any()
        assert_bit_equal(got, expected)


def every_gradient(arguments):
    leaves = leaves_of(arguments)
    loss = weighed(memory_scan(*arguments)[:4]) + weighed(memory_absorb(*arguments[1:-1])[:2], 2)
    read = memory_read(arguments[0], *arguments[5:-1])
    return torch.autograd.grad(loss + weighed(read, 3), list(leaves.values()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_repetitions_change_no_bit(dtype):
    arguments = scan_arguments(Draw(dtype=dtype), H=3, T=330)
    first = every_gradient(list(arguments))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = every_gradient(list(arguments))
    finally:
        torch.set_num_threads(before)
    for got, expected in zip((*again, *every_gradient(arguments)), (*first, *first), strict=True):
        assert_bit_equal(got, expected)


@pytest.mark.parametrize("sizes", [{"B": 0}, {"T": 0}, {"T": 1}, {}])
def test_gradients_are_fully_written(sizes, monkeypatch):
    def poisoned(tensor, *shape):
        return tensor.new_full(torch.Size(shape[0] if len(shape) == 1 else shape), torch.nan)

    arguments = scan_arguments(Draw(), **sizes)
    expected = every_gradient(list(arguments))
    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    for got, wanted in zip(every_gradient(arguments), expected, strict=True):
        assert not got.isnan().any()
        assert_bit_equal(got, wanted)


def test_any_strides_and_addresses():
    """Transposed and expanded tensors, odd addresses, and expanded gradients of the results."""
    arguments = scan_arguments(Draw(), R=1)
    arguments[1] = arguments[1][:, :1].expand(-1, 2, -1, -1)

    def all_of(arguments):
        arguments = [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments]
        leaves = [arguments[n].requires_grad_() for n in (0, 1, 2, 4, 5)]
        out, lse, values, _ = memory_scan(*arguments)[:4]
        return torch.autograd.grad(out.sum() + lse.sum() + values.sum(), leaves)

    turned = [a.mT.contiguous().mT if isinstance(a, torch.Tensor) else a for a in arguments]
    moved = list(arguments)
    for n in (0, 2, 4):
        wide = torch.full((2 * arguments[n].numel() + 1,), torch.nan, dtype=torch.float64)
        strides = [2 * s for s in arguments[n].stride()][:-1]
        view = wide.as_strided(arguments[n].shape, [*strides, 1], 1)
        moved[n] = view.copy_(arguments[n])
    copied = [a.contiguous() if isinstance(a, torch.Tensor) else a for a in arguments]
    expected = all_of(copied)
    for other in (arguments, turned, moved):
        for got, wanted in zip(all_of(other), expected, strict=True):
            assert_bit_equal(got.contiguous(), wanted)


def test_operators_keep_to_the_rules_of_torch():
    arguments = scan_arguments(Draw(), T=5)
    leaves_of(arguments)
    torch.library.opcheck(memory_scan, tuple(arguments))
    torch.library.opcheck(memory_absorb, tuple(arguments[1:-1]))
    torch.library.opcheck(memory_read, (arguments[0], *arguments[5:-1]))


def test_compiles_as_one_graph():
    arguments = scan_arguments(Draw(), T=9)
    leaves = leaves_of(arguments)
    compiled = torch.compile(memory_scan, fullgraph=True, backend="aot_eager")
    found = gradients(compiled(*arguments)[:4], leaves)
    for got, expected in zip(found, gradients(memory_scan(*arguments)[:4], leaves), strict=True):
        assert_bit_equal(got, expected)


def test_gradients_of_gradients_are_refused():
    arguments = scan_arguments(Draw(), T=5)
    leaves = leaves_of(arguments)
    query = leaves["query"]
    for results in (memory_scan(*arguments), memory_read(arguments[0], *arguments[5:-1])):
        with pytest.raises(UnsupportedError, match=r"^create_graph"):
            torch.autograd.grad(results[0].sum(), [query], create_graph=True)


def field_of(draw, kind, *, H=2, K=6, D=5, norm_factor=0.4, background=None):
    shape = [draw.normal(H, K, *([] if kind == "scalar" else [D])).abs() + 0.8]
    factor = 0.3 * draw.normal(H, K, D, 2)
    if kind == "low_rank":
        shape.append(factor)
    if kind == "full":
        shape = [torch.diag_embed(shape[0]) + factor @ factor.mT]
    amplitude = draw.normal(H, K).abs() + 0.1
    more = {} if norm_factor is None else {"norm_factor": norm_factor}
    make = getattr(SplatField, kind)
    return make(draw.normal(H, K, D), *shape, amplitude, background=background, **more)


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (5, 2)])
@pytest.mark.parametrize("form", ["unbounded", "no background", "decays", "top_m", "whole"])
@pytest.mark.parametrize("kind", ["scalar", "diagonal", "low_rank", "full"])
def test_gradients_reach_the_parameters_of_a_field(kind, form, window, sinks):
    draw = Draw()
    field = field_of(
        draw,
        kind,
        norm_factor=None if form in ("no background", "decays") else 0.4,
        background=0.01 if form == "decays" else None,
    )
    tensors = [draw.normal(2, heads, 90, 5).requires_grad_() for heads in (4, 2, 2)]
    gate = draw.logs(2, 2, 90).requires_grad_()
    rest = () if form != "decays" else (field.features,)
    decay = draw.logs(2, 2, 90, *rest).requires_grad_()
    causal = form != "whole"
    options = {"is_causal": causal, "enable_gqa": True, "window": window, "sinks": sinks}
    options |= {"gate": gate, "decay": decay if causal else None}
    options["top_m"] = 3 if form == "top_m" else None
    leaves = [*tensors, gate, *([decay] if causal else []), *field.parameters()]

    def found(implementation):
        out = splat_attention(*tensors, field, **options, implementation=implementation)
        return torch.autograd.grad(weighed([out]), leaves)

    for got, expected in zip(found("native"), found("chunked"), strict=True):
        assert expected.any()
        assert_close(got, expected, gradient=True)


def test_gradients_pass_through_states():
    draw = Draw()
    field = field_of(draw, "diagonal")
    tensors = [draw.normal(1, 2, 60, 5).requires_grad_() for _ in range(3)]
    leaves = [*tensors, *field.parameters()]

    def found(implementation, *pieces):
        options = {"is_causal": True, "return_state": True, "implementation": implementation}
        state, outs = None, []
        for part in pieces:
            tokens = [t[:, :, part] for t in tensors]
            out, state = splat_attention(*tokens, field, **options, initial_state=state)
            outs.append(out)
        return torch.autograd.grad(weighed([torch.cat(outs, 2)]), leaves)

    pieces = (slice(0, 23), slice(23, 24), slice(24, 60))
    expected = found("chunked", *pieces)
    for actual in (found("native", *pieces), found("native", slice(0, 60))):
        for got, wanted in zip(actual, expected, strict=True):
            assert_close(got, wanted, gradient=True)


def test_training_is_native_and_explained():
    draw = Draw()
    field = field_of(draw, "diagonal")
    query = draw.normal(1, 2, 40, 5).requires_grad_()
    explanation = explain_splat_attention(query, field)
    assert explanation.implementation == "native"
    assert "log features have no bound" in explanation.reason
