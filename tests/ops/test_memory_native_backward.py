"""Gradients of memories read by compiled kernels: those of the definition, token by token."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import UnsupportedError
from adaptive_attention_tiling.ops.fidelity_attention import FidelityKernel, fidelity_attention
from adaptive_attention_tiling.ops.gaussian_splat import explain_splat_attention, splat_attention
from adaptive_attention_tiling.ops.linear_attention import linear_attention
from adaptive_attention_tiling.ops.linear_attention.native import (
    memory_absorb,
    memory_read,
    memory_scan,
)
from adaptive_attention_tiling.ops.linear_attention.native_gradients import kept_tokens
from adaptive_attention_tiling.splats import SplatField
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

SETS = native.runnable_sets()
KINDS = ("given", "diagonal", "scalar", "fidelity", "complex_fidelity")
DTYPES = (torch.float32, torch.float64)
BACKGROUND = 0.01

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


def parameters_of(draw, kind, H, D, K):
    """For K splats and a background, as `splats.log_features` prepares them."""
    if kind not in ("diagonal", "scalar"):
        return []
    origin, offset = draw.normal(H, 1, D), 0.3 * draw.normal(H, K + 1)
    linear, square = 0.3 * draw.normal(H, K + 1, D), -0.1 * draw.normal(H, K + 1, D).abs()
    linear[:, K], square[:, K] = 0, 0
    if kind == "scalar":
        return [origin, draw.normal(0), offset, linear, square[..., :1].clone()]
    return [origin, draw.normal(0), offset, torch.cat([square, linear], -1)]


def features(kind, parameters, x):
    if kind == "given":
        return x
    if not parameters:
        is_complex = kind == "complex_fidelity"
        kernel = FidelityKernel(x.shape[-1] // (1 + is_complex), is_complex, BACKGROUND)
        return kernel.feature_map(kernel.states(x))
    origin, _, offset, *weights = parameters
    y = x - origin
    square = y.square() if kind == "diagonal" else y.square().sum(-1, keepdim=True)
    columns = weights[0] if kind == "diagonal" else torch.cat(weights[::-1], -1)
    return (torch.cat([square, y], -1) @ columns.mT + offset[:, None]).exp()


def scan_arguments(
    draw, kind="diagonal", *, B=2, H=2, R=2, T=70, D=6, E=5, K=7, gate=True, decay=True, every=0
):
    """What memory_scan takes."""
    parameters = parameters_of(draw, kind, H, D, K)

    def points(heads, tokens):
        x = draw.normal(B, heads, tokens, D)
        return x.abs() + 0.1 if kind == "given" else x

    written = features(kind, parameters, points(H, 3))  # so that sums are sums of something
    sums = written.mT @ draw.normal(B, H, 3, E), written.sum(-2)
    return [
        points(H * R, T),
        points(H, T),
        draw.normal(B, H, T, E),
        draw.logs(B, H, T, 1) if gate else None,
        0.1 * draw.logs(B, H, T, 1) if decay else None,
        *sums,
        torch.zeros_like(sums[1]),
        parameters,
        kind,
        int(bool(parameters)),
        0.0 if kind == "given" or parameters else BACKGROUND,
        False,
        every,
    ]


def leaves_of(arguments):
    """Tensors whose gradients are looked at, by name, as leaves of their own in the arguments."""
    names = ("query", "key", "value", "gate", "decay", "values", "mass")
    leaves = {}
    for n, name in enumerate(names):
        if arguments[n] is not None:
            leaves[name] = arguments[n] = arguments[n].clone().requires_grad_()
    learned = [t.clone().requires_grad_(n > 1) for n, t in enumerate(arguments[8])]
    arguments[8] = learned
    leaves.update(zip(("offset", "weights", "square"), learned[2:], strict=False))
    return leaves


def defined(arguments):
    """out, lse and the last sums of memory_scan, token by token."""
    query, key, value, gate, decay, values, mass, _, parameters, kind, constant = arguments[:11]
    if constant:  # the last feature has no weights
        fixed = (torch.cat([t[:, :-1], t[:, -1:].detach()], 1) for t in parameters[3:])
        parameters = [*parameters[:3], *fixed]
    heads = key.shape[1]
    read = features(kind, parameters, query.unflatten(1, (heads, -1)).flatten(2, 3))
    read = read.unflatten(2, (-1, query.shape[2]))
    written = features(kind, parameters, key)
    outs, masses = [], []
    for t in range(key.shape[2]):
        fresh = written[:, :, t]
        if gate is not None:
            fresh = fresh * gate[:, :, t].exp()
        if decay is not None:
            mass, values = mass * decay[:, :, t].exp(), values * decay[:, :, t, :, None].exp()
        mass = mass + fresh
        values = values + fresh[..., None] * value[:, :, t, None]
        masses.append((read[:, :, :, t] @ mass[..., None])[..., 0])
        outs.append(read[:, :, :, t] @ values / masses[-1][..., None])
    out, total = torch.stack(outs, 3).flatten(1, 2), torch.stack(masses, 3).flatten(1, 2)
    return out, total.log(), values, mass


def weighed(results, seed=1):
    draw = Draw(seed)
    return sum((t.double() * draw.normal(*t.shape)).sum() for t in results)


def assert_same_gradients(actual, expected, leaves):
    found = torch.autograd.grad(weighed(actual), list(leaves.values()), retain_graph=True)
    wanted = torch.autograd.grad(weighed(expected), list(leaves.values()))
    for name, a, e in zip(leaves, found, wanted, strict=True):
        assert e.abs().max() > 1e-4, name
        assert_close(a, e, gradient=True, what=name)


@pytest.mark.parametrize("every", [0, 64])
@pytest.mark.parametrize("factors", [(), ("gate",), ("decay",), ("gate", "decay")])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_reading_in_order(kind, factors, every):
    options = {name: name in factors for name in ("gate", "decay")}
    arguments = scan_arguments(Draw(), kind, every=every, **options)
    leaves = leaves_of(arguments)
    assert_same_gradients(memory_scan(*arguments)[:4], defined(arguments), leaves)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_in_single_precision(kind):
    arguments = scan_arguments(Draw(dtype=torch.float32), kind)
    leaves = leaves_of(arguments)
    assert_same_gradients(memory_scan(*arguments)[:4], defined(arguments), leaves)


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


@pytest.mark.parametrize("factors", [(), ("gate", "decay")])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_reading_keys_alone(kind, factors):
    options = {name: name in factors for name in ("gate", "decay")}
    arguments = scan_arguments(Draw(), kind, **options)
    leaves = leaves_of(arguments)
    del leaves["query"]
    assert_same_gradients(memory_absorb(*arguments[1:-1])[:2], defined(arguments)[2:], leaves)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_answering_from_fixed_sums(kind):
    arguments = scan_arguments(Draw(), kind)
    leaves = leaves_of(arguments)
    for name in ("key", "value", "gate", "decay"):
        del leaves[name]
    query, values, mass, parameters = *arguments[::5][:2], arguments[6], arguments[8]
    actual = memory_read(query, values, mass, *arguments[7:-1])
    read = features(kind, parameters, query.unflatten(1, (2, 2)).flatten(2, 3))
    total = read @ mass[..., None]
    expected = (read @ values / total).reshape(actual[0].shape), total.log().reshape(2, 4, -1)
    if parameters:  # the last feature has no weights
        leaves = {n: t for n, t in leaves.items() if n not in ("weights", "square")}
    assert_same_gradients(actual, expected, leaves)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.tuples(*(st.integers(1, n) for n in (2, 3, 3, 200, 18, 18, 40))),
    st.sampled_from(KINDS),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from(DTYPES),
)
def test_random_shapes(sizes, kind, factors, dtype):
    B, H, R, T, D, E, K = sizes
    # One amplitude alone is always the same state: its gradients are nothing but rounding.
    D = {"fidelity": D + 1, "complex_fidelity": 2 * D + 2}.get(kind, D)
    options = dict(zip(("gate", "decay"), factors, strict=True))
    draw = Draw(seed=sum(sizes), dtype=dtype)
    arguments = scan_arguments(draw, kind, B=B, H=H, R=R, T=T, D=D, E=E, K=K, **options)
    leaves = leaves_of(arguments)
    found = torch.autograd.grad(weighed(memory_scan(*arguments)[:4]), list(leaves.values()))
    wanted = torch.autograd.grad(weighed(defined(arguments)), list(leaves.values()))
    for name, a, e in zip(leaves, found, wanted, strict=True):
        assert_close(a, e, gradient=True, what=name)


def test_a_memory_that_forgets_at_once_and_a_key_that_weighs_nothing():
    arguments = scan_arguments(Draw(), H=1)
    arguments[3][:, :, 5], arguments[4][:, :, 20] = -torch.inf, -torch.inf
    leaves = leaves_of(arguments)
    found = torch.autograd.grad(weighed(memory_scan(*arguments)[:4]), list(leaves.values()))
    wanted = torch.autograd.grad(weighed(defined(arguments)), list(leaves.values()))
    for name, a, e in zip(leaves, found, wanted, strict=True):
        assert_close(a, e, gradient=True, what=name)
    assert not dict(zip(leaves, found, strict=True))["key"][:, :, 5].any()


def test_queries_that_find_nothing_have_no_gradient():
    arguments = scan_arguments(Draw(), decay=False)
    arguments[3][:, :, :9] = -torch.inf
    arguments[5].zero_(), arguments[6].zero_()
    leaves = leaves_of(arguments)
    out, lse, *_ = memory_scan(*arguments)
    assert lse[:, :, :9].isneginf().all()
    for grad in torch.autograd.grad(out.sum() + lse[:, :, 9:].sum(), list(leaves.values())):
        assert not grad.isnan().any()
    (grad,) = torch.autograd.grad(memory_scan(*arguments)[0].square().sum(), [leaves["query"]])
    assert not grad[:, :, :9].any()
    assert grad[:, :, 9:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_differences(kind):
    arguments = scan_arguments(Draw(), kind, B=1, H=1, R=2, T=4, D=2, E=2, K=2)
    arguments[3], arguments[4] = arguments[3] - 0.1, arguments[4] - 0.1
    leaves = leaves_of(arguments)
    # The constant feature has no weights, but numbers there would change it.
    names = [n for n in leaves if n not in ("weights", "square")]
    places = {id(leaves[n]): n for n in names}

    def call(*tensors):
        given = dict(zip(names, tensors, strict=True))
        swap = lambda t: given[places[id(t)]] if id(t) in places else t  # noqa: E731
        moved = [swap(a) for a in arguments]
        moved[8] = [swap(t) for t in arguments[8]]
        return memory_scan(*moved)[:4]

    assert torch.autograd.gradcheck(call, tuple(leaves[n] for n in names), atol=1e-7, rtol=1e-5)


def every_gradient(arguments):
    leaves = leaves_of(arguments)
    loss = weighed(memory_scan(*arguments)[:4]) + weighed(memory_absorb(*arguments[1:-1])[:2], 2)
    read = memory_read(arguments[0], *arguments[5:-1])
    return torch.autograd.grad(loss + weighed(read, 3), list(leaves.values()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_repetitions_change_no_bit(dtype):
    arguments = scan_arguments(Draw(dtype=dtype), H=3, T=330, every=256)
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
    """Transposed and expanded tensors, and expanded gradients of the results."""
    arguments = scan_arguments(Draw(), R=1)
    arguments[1] = arguments[1][:, :1].expand(-1, 2, -1, -1)

    def gradients(arguments):
        arguments = [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments]
        leaves = [arguments[n].requires_grad_() for n in (0, 1, 2, 5)]
        out, lse, values, _ = memory_scan(*arguments)[:4]
        return torch.autograd.grad(out.sum() + lse.sum() + values.sum(), leaves)

    turned = [a.mT.contiguous().mT if isinstance(a, torch.Tensor) else a for a in arguments]
    moved = list(arguments)
    for n in (0, 2):
        wide = torch.full((2 * arguments[n].numel() + 1,), torch.nan, dtype=torch.float64)
        strides = [2 * s for s in arguments[n].stride()][:-1]
        view = wide.as_strided(arguments[n].shape, [*strides, 1], 1)
        moved[n] = view.copy_(arguments[n])
    copied = [a.contiguous() if isinstance(a, torch.Tensor) else a for a in arguments]
    expected = gradients(copied)
    for other in (arguments, turned, moved):
        for got, wanted in zip(gradients(other), expected, strict=True):
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
    found = torch.autograd.grad(weighed(compiled(*arguments)[:4]), list(leaves.values()))
    wanted = torch.autograd.grad(weighed(memory_scan(*arguments)[:4]), list(leaves.values()))
    for got, expected in zip(found, wanted, strict=True):
        assert_bit_equal(got, expected)


def test_gradients_of_gradients_are_refused():
    arguments = scan_arguments(Draw(), T=5)
    leaves = leaves_of(arguments)
    query = leaves["query"]
    for results in (memory_scan(*arguments), memory_read(arguments[0], *arguments[5:-1])):
        with pytest.raises(UnsupportedError, match=r"^create_graph"):
            torch.autograd.grad(results[0].sum(), [query], create_graph=True)


@pytest.mark.parametrize("features", [1, 65, 300, 5000])
def test_sums_are_kept_between_whole_chunks(features):
    assert kept_tokens(features) % 64 == 0
    assert 256 <= kept_tokens(features) <= 2048


def field_of(draw, kind, *, H=2, K=6, D=5):
    shape = [draw.normal(H, K, *([] if kind == "scalar" else [D])).abs() + 0.8]
    factor = 0.3 * draw.normal(H, K, D, 2)
    if kind == "low_rank":
        shape.append(factor)
    if kind == "full":
        shape = [torch.diag_embed(shape[0]) + factor @ factor.mT]
    amplitude = draw.normal(H, K).abs() + 0.1
    return getattr(SplatField, kind)(draw.normal(H, K, D), *shape, amplitude, background=0.01)


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (5, 2)])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", ["scalar", "diagonal", "low_rank", "full"])
def test_gradients_reach_the_parameters_of_a_field(kind, causal, window, sinks):
    draw = Draw()
    field = field_of(draw, kind)
    tensors = [draw.normal(2, heads, 90, 5).requires_grad_() for heads in (4, 2, 2)]
    gate, decay = (draw.logs(2, 2, 90).requires_grad_() for _ in range(2))
    options = {"is_causal": causal, "enable_gqa": True, "window": window, "sinks": sinks}
    options |= {"gate": gate, "decay": decay if causal else None}
    leaves = [*tensors, gate, *([decay] if causal else []), *field.parameters()]

    def gradients(implementation):
        out = splat_attention(*tensors, field, **options, implementation=implementation)
        return torch.autograd.grad(weighed([out]), leaves)

    for got, expected in zip(gradients("native"), gradients("chunked"), strict=True):
        assert expected.any()
        assert_close(got, expected, gradient=True)


def test_gradients_pass_through_states():
    draw = Draw()
    field = field_of(draw, "diagonal")
    tensors = [draw.normal(1, 2, 60, 5).requires_grad_() for _ in range(3)]
    leaves = [*tensors, *field.parameters()]

    def gradients(implementation):
        options = {"is_causal": True, "return_state": True, "implementation": implementation}
        state, outs = None, []
        for part in (slice(0, 23), slice(23, 60)):
            pieces = [t[:, :, part] for t in tensors]
            out, state = splat_attention(*pieces, field, initial_state=state, **options)
            outs.append(out)
        return torch.autograd.grad(weighed([*outs, state.values, state.mass]), leaves)

    for got, expected in zip(gradients("native"), gradients("chunked"), strict=True):
        assert_close(got, expected, gradient=True)


@pytest.mark.parametrize("complex_states", [False, True])
def test_gradients_of_fidelities(complex_states):
    draw = Draw()
    query, key, value = (draw.normal(1, 2, 80, 4) for _ in range(3))
    if complex_states:
        query, key = (torch.complex(t, draw.normal(*t.shape)) for t in (query, key))
    key[0, 0, 3] = 0
    leaves = [t.requires_grad_() for t in (query, key, value)]

    def gradients(implementation):
        out = fidelity_attention(*leaves, is_causal=True, implementation=implementation)
        return torch.autograd.grad(weighed([out]), leaves)

    for got, expected in zip(gradients("native"), gradients("chunked"), strict=True):
        assert_close(
            torch.view_as_real(got) if got.is_complex() else got,
            torch.view_as_real(expected) if got.is_complex() else expected,
            gradient=True,
        )


@pytest.mark.parametrize("name", ["elu", "exp"])
def test_gradients_of_features_that_torch_evaluates(name):
    draw = Draw()
    leaves = [draw.normal(1, 2, 600, 4).requires_grad_() for _ in range(3)]

    def gradients(implementation):
        out = linear_attention(
            *leaves, is_causal=True, feature_map=name, implementation=implementation
        )
        return torch.autograd.grad(weighed([out]), leaves)

    for got, expected in zip(gradients("native"), gradients("chunked"), strict=True):
        assert_close(got, expected, gradient=True)


def test_training_is_native_and_explained(instruction_set):
    draw = Draw()
    field = field_of(draw, "diagonal")
    query = draw.normal(1, 2, 40, 5).requires_grad_()
    explanation = explain_splat_attention(query, field)
    assert explanation.implementation == "native"
    assert instruction_set in explanation.reason
