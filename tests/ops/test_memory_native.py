"""Memories read by compiled kernels: the values of the torch forms, and no bit of chance."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.ops.fidelity_attention import (
    explain_fidelity_attention,
    fidelity_attention,
)
from adaptive_attention_tiling.ops.gaussian_splat import explain_splat_attention, splat_attention
from adaptive_attention_tiling.ops.linear_attention import (
    explain_linear_attention,
    linear_attention,
)
from adaptive_attention_tiling.ops.linear_attention.native import (
    memory_absorb,
    memory_read,
    memory_scan,
)
from adaptive_attention_tiling.splats import SplatField
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

SETS = native.runnable_sets()
KINDS = ("scalar", "diagonal", "low_rank", "full")
MEMORIES = {
    "plain": {},
    "no_background": {"background": None},
    "norm_factor": {"norm_factor": 0.3},
}
DTYPES = (torch.float32, torch.float64)

pytestmark = pytest.mark.skipif(not SETS, reason="no kernels were compiled here")


@pytest.fixture(autouse=True, params=SETS)
def instruction_set(request, monkeypatch):
    monkeypatch.setenv(native.VARIABLE, request.param)
    return request.param


class Draw:
    """Seeded tensors, splats and settings."""

    def __init__(self, seed=0, dtype=torch.float64):
        self.source, self.dtype = torch.Generator().manual_seed(seed), dtype

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.source, dtype=torch.float64).to(self.dtype)

    def inputs(self, T, *, B=2, H=4, G=2, D=5, E=6, S=None):
        return self.normal(B, H, T, D), self.normal(B, G, S or T, D), self.normal(B, G, S or T, E)

    def field(self, *, kind="diagonal", H=2, K=6, D=5, **options):
        shape = [self.normal(H, K, *([] if kind == "scalar" else [D])).abs() + 0.8]
        factor = 0.3 * self.normal(H, K, D, 2)
        if kind == "low_rank":
            shape.append(factor)
        if kind == "full":
            shape = [torch.diag_embed(shape[0]) + factor @ factor.mT]
        options = {"background": 0.01, **options}
        made = getattr(SplatField, kind)(
            self.normal(H, K, D), *shape, self.normal(H, K).abs() + 0.1, **options
        )
        return made.requires_grad_(False)

    def logs(self, *shape):
        return logsigmoid(self.normal(*shape) + 1)


def both(attend, *args, **options):
    actual = attend(*args, **options, implementation="native")
    assert_close(actual, attend(*args, **options, implementation="chunked"))


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 2)])
@pytest.mark.parametrize("decay", [None, "head", "splat"])
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_causal_values(memory, decay, window, sinks, dtype):
    draw = Draw(dtype=dtype)
    field = draw.field(**MEMORIES[memory])
    columns = {"splat": [field.features]}.get(decay, [])
    both(
        splat_attention,
        *draw.inputs(53),
        field,
        is_causal=True,
        enable_gqa=True,
        gate=draw.logs(2, 2, 53),
        decay=None if decay is None else draw.logs(2, 2, 53, *columns),
        window=window,
        sinks=sinks,
        key_padding_mask=draw.normal(2, 53) > -1,
    )


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 2)])
@pytest.mark.parametrize("memory", MEMORIES)
def test_values_without_order(memory, window, sinks):
    draw = Draw()
    both(
        splat_attention,
        *draw.inputs(41),
        draw.field(**MEMORIES[memory]),
        enable_gqa=True,
        gate=draw.logs(2, 2, 41),
        window=window,
        sinks=sinks,
        key_padding_mask=draw.normal(2, 41) > -1,
    )


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_splat(kind, causal):
    draw = Draw()
    both(splat_attention, *draw.inputs(30, G=4), draw.field(kind=kind, H=4), is_causal=causal)


@pytest.mark.parametrize("background", [0.0, 1e-3])
@pytest.mark.parametrize("m", [1, 2, 7])
@pytest.mark.parametrize("complex_states", [False, True])
def test_fidelities(complex_states, m, background):
    draw = Draw()
    query, key, value = draw.inputs(40, D=m)
    if complex_states:
        query, key = (torch.complex(t, draw.normal(*t.shape)) for t in (query, key))
    query, key = query.clone(), key.clone()
    key[0, 0, 3] = 0
    options = {"enable_gqa": True, "background": background, "decay": draw.logs(2, 2, 40)}
    both(fidelity_attention, query, key, value, is_causal=True, **options)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", ["elu", "relu", "exp"])
def test_features_that_torch_evaluates(name, causal):
    both(linear_attention, *Draw().inputs(600, G=4), is_causal=causal, feature_map=name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    draw = Draw(dtype=torch.float32)
    tensors, field = draw.inputs(30), draw.field()
    options = {"is_causal": True, "enable_gqa": True, "implementation": "native"}
    low = [t.to(dtype) for t in tensors]
    expected = splat_attention(*(t.float() for t in low), field, **options).to(dtype)
    assert_bit_equal(splat_attention(*low, field, **options), expected)


@pytest.mark.parametrize("T", [1, 2, 23, 24, 25])
@pytest.mark.parametrize("width", [1, 8, 17])
def test_odd_sizes(T, width):
    draw = Draw()
    tensors = draw.inputs(T, D=width, E=width + 1)
    field = draw.field(D=width, K=width + 2)
    both(splat_attention, *tensors, field, is_causal=True, enable_gqa=True)


def test_features_without_bound_leave_the_range_of_numbers():
    draw = Draw()
    field = draw.field(norm_factor=3.0, background=None)
    query, key, value = draw.inputs(40)
    options = {"is_causal": True, "enable_gqa": True, "decay": 30 * draw.logs(2, 2, 40, 6)}
    assert field.log_features(20 * key).max() > 710
    both(splat_attention, 20 * query, 20 * key, value, field, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [None, "head", "splat"])
def test_pieces_are_the_whole(decay, dtype):
    draw = Draw(dtype=dtype)
    field = draw.field()
    query, key, value = draw.inputs(61)
    columns = {"splat": [field.features]}.get(decay, [])
    logs = None if decay is None else draw.logs(2, 2, 61, *columns)

    def read(start, end, state):
        rows = slice(start, end)
        tensors = (t[:, :, rows] for t in (query, key, value))
        forget = None if logs is None else logs[:, :, rows]
        options = {"is_causal": True, "enable_gqa": True, "return_state": True}
        return splat_attention(
            *tensors, field, decay=forget, initial_state=state, implementation="native", **options
        )

    whole, last = read(0, 61, None)
    for cuts in ((0, 1, 25, 26, 61), (0, 24, 48, 61), (0, 60, 61)):
        state, pieces = None, []
        for start, end in pairwise(cuts):
            out, state = read(start, end, state)
            pieces.append(out)
        assert_close(torch.cat(pieces, 2), whole)
        # A state holds masses without what rounding took from them: a last digit of these, and of
        # what is divided by them, depends on where a text is cut. Logarithms are kept without it.
        exact = ("values", "mass", "level") if decay == "splat" else ("values", "level")
        for name in exact:
            assert_bit_equal(getattr(state, name), getattr(last, name), what=name)
        assert_close(state.mass, last.mass)


def test_the_mass_of_a_long_text_does_not_drift():
    field = Draw(dtype=torch.float32).field()
    key = torch.randn(1, field.heads, 40_000, field.width)
    with torch.no_grad():
        _, state = splat_attention(
            key, key, key, field, is_causal=True, return_state=True, implementation="native"
        )
        expected = field.log_features(key).double().exp().sum(2)
    # One by one in float32, the background alone would lose 2.6e-4 of 40,000 equal terms.
    torch.testing.assert_close(state.mass.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("position", [1, 23, 24, 40])
def test_no_output_looks_ahead(memory, position):
    draw = Draw(dtype=torch.float32)
    field = draw.field(**MEMORIES[memory])

    def attend(query, key, value):
        return splat_attention(
            query, key, value, field, is_causal=True, enable_gqa=True, implementation="native"
        )

    assert_causal(attend, draw.inputs(41), position)


def scan_arguments(draw, *, B=2, H=3, R=2, T=37, D=4, E=5, K=6, logarithms=False, every=10):
    """What memory_scan takes: diagonal splats and a background."""
    F = K + 1
    level = draw.normal(B, H, F) if logarithms else torch.zeros(B, H, F, dtype=draw.dtype)
    weights = 0.1 * draw.normal(H, F, 2 * D)
    weights[:, K:] = 0
    parameters = [draw.normal(H, 1, D), draw.normal(0), draw.normal(H, F), weights]
    return (
        draw.normal(B, H * R, T, D),
        draw.normal(B, H, T, D),
        draw.normal(B, H, T, E),
        draw.logs(B, H, T, 1),
        draw.logs(B, H, T, F if logarithms else 1),
        draw.normal(B, H, F, E),
        draw.normal(B, H, F).abs(),
        level,
        parameters,
        "diagonal",
        1,
        0.0,
        logarithms,
        every,
    )


def absorbing(arguments):
    return arguments[1:-1]


def reading(arguments):
    return (arguments[0], *arguments[5:-1])


def every_result(arguments):
    return (
        *memory_scan(*arguments),
        *memory_absorb(*absorbing(arguments)),
        *memory_read(*reading(arguments)),
    )


@pytest.mark.parametrize("logarithms", [False, True])
def test_keys_alone_give_the_sums_of_keys_and_queries(logarithms):
    arguments = scan_arguments(Draw(), logarithms=logarithms)
    _, _, *sums, _, _ = memory_scan(*arguments)
    for actual, expected in zip(memory_absorb(*absorbing(arguments)), sums, strict=True):
        assert_bit_equal(actual, expected)


def test_sums_are_kept_at_every_tenth_token():
    arguments = scan_arguments(Draw())
    *_, values, mass = memory_scan(*arguments)
    assert values.shape[2] == mass.shape[2] == 4
    for n in range(4):
        tokens = [None if t is None else t[:, :, : 10 * n] for t in arguments[1:5]]
        expected = memory_absorb(*tokens, *arguments[5:-1])
        assert_bit_equal(values[:, :, n], expected[0])
        assert_bit_equal(mass[:, :, n], expected[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logarithms", [False, True])
def test_threads_and_repetitions_change_no_bit(logarithms, dtype):
    arguments = scan_arguments(Draw(dtype=dtype), logarithms=logarithms)
    first = every_result(arguments)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = every_result(arguments)
    finally:
        torch.set_num_threads(before)
    for got, expected in zip((*again, *every_result(arguments)), (*first, *first), strict=True):
        assert_bit_equal(got, expected)


def awkward(tensor):
    """The same numbers, one place off, with a gap between rows, on expanded axes where it can."""
    wide = torch.full((tensor.numel() * 2 + 1,), torch.nan, dtype=tensor.dtype)
    strides = [2 * s for s in tensor.stride()]
    if tensor.dim() and tensor.shape[-1] > 0:
        strides = [*strides[:-1], 1] if tensor.dim() > 1 else strides
    view = wide.as_strided(tensor.shape, strides, 1)
    return view.copy_(tensor)


@pytest.mark.parametrize("logarithms", [False, True])
def test_any_strides_and_addresses(logarithms):
    arguments = scan_arguments(Draw(), logarithms=logarithms)
    expected = every_result(arguments)
    moved = [awkward(a) if isinstance(a, torch.Tensor) else a for a in arguments]
    moved[8] = [awkward(t) for t in arguments[8]]
    assert not moved[0].is_contiguous()
    assert moved[0].storage_offset() == 1
    turned = [a.mT.contiguous().mT if isinstance(a, torch.Tensor) else a for a in arguments]
    for other in (moved, turned):
        for got, wanted in zip(every_result(tuple(other)), expected, strict=True):
            assert_bit_equal(got, wanted)


def test_expanded_inputs():
    arguments = list(scan_arguments(Draw()))
    arguments[1] = arguments[1][:, :1].expand(-1, 3, -1, -1)
    arguments[4] = arguments[4][:, :, :1].expand(-1, -1, 37, -1)
    copied = [a.contiguous() if isinstance(a, torch.Tensor) else a for a in arguments]
    for got, wanted in zip(every_result(tuple(arguments)), every_result(copied), strict=True):
        assert_bit_equal(got, wanted)


@pytest.mark.parametrize("sizes", [{"B": 0}, {"T": 0}, {}])
@pytest.mark.parametrize("logarithms", [False, True])
def test_outputs_are_fully_written(sizes, logarithms, monkeypatch):
    def poisoned(tensor, *shape):
        return tensor.new_full(torch.Size(shape[0] if len(shape) == 1 else shape), torch.nan)

    arguments = scan_arguments(Draw(), logarithms=logarithms, **sizes)
    expected = every_result(arguments)
    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    for got, wanted in zip(every_result(arguments), expected, strict=True):
        assert not got.isnan().any()
        assert_bit_equal(got, wanted)


@settings(max_examples=12, deadline=None)
@given(
    st.tuples(*(st.integers(1, n) for n in (2, 3, 3, 60, 20, 20, 40))),
    st.booleans(),
    st.sampled_from(DTYPES),
)
def test_random_shapes_against_the_definition(sizes, logarithms, dtype):
    B, H, R, T, D, E, K = sizes
    draw = Draw(seed=sum(sizes), dtype=dtype)
    arguments = scan_arguments(draw, B=B, H=H, R=R, T=T, D=D, E=E, K=K, logarithms=logarithms)
    query, key, value, gate, decay, values, mass, level, parameters = arguments[:9]
    origin, _, offset, weights = parameters

    def logs(x):
        y = x - origin
        return torch.cat([y * y, y], -1) @ weights.mT + offset[:, None]

    read = logs(query.unflatten(1, (H, R)).flatten(2, 3)).exp().unflatten(2, (R, T))
    written = (logs(key) + gate).exp()
    scale = level.exp() if logarithms else torch.ones_like(level)
    values, mass = values * scale[..., None], mass * scale
    out, lse = torch.empty(B, H, R, T, E, dtype=dtype), torch.empty(B, H, R, T, dtype=dtype)
    for t in range(T):
        forget = decay[:, :, t].exp()
        mass = forget * mass + written[:, :, t]
        values = forget[..., None] * values
        values = values + written[:, :, t, :, None] * value[:, :, t, None]
        total = torch.einsum("bhrf,bhf->bhr", read[:, :, :, t], mass)
        out[:, :, :, t] = (
            torch.einsum("bhrf,bhfe->bhre", read[:, :, :, t], values) / total[..., None]
        )
        lse[:, :, :, t] = total.log()
    got = memory_scan(*arguments)
    assert_close(got[0], out.flatten(1, 2))
    assert_close(got[1], lse.flatten(1, 2))


@pytest.mark.parametrize("logarithms", [False, True])
def test_operators_keep_to_the_rules_of_torch(logarithms):
    arguments = scan_arguments(Draw(), logarithms=logarithms)
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(memory_scan, arguments, test_utils=tests)
    torch.library.opcheck(memory_absorb, absorbing(arguments), test_utils=tests)
    torch.library.opcheck(memory_read, reading(arguments), test_utils=tests)


def test_operators_compile_as_one_graph():
    arguments = scan_arguments(Draw())
    compiled = torch.compile(memory_scan, fullgraph=True, backend="aot_eager")
    for got, expected in zip(compiled(*arguments), memory_scan(*arguments), strict=True):
        assert_bit_equal(got, expected)


def test_tensors_of_two_precisions_are_refused():
    arguments = list(scan_arguments(Draw()))
    arguments[2] = arguments[2].float()
    with pytest.raises(ArgumentError, match=r"^dtype"):
        memory_scan(*arguments)


def test_a_pinned_torch_form_stays_in_torch_near_and_far(monkeypatch):
    draw = Draw()
    tensors, field = draw.inputs(20), draw.field()
    options = {"is_causal": True, "enable_gqa": True, "window": 3, "implementation": "parallel"}
    out = splat_attention(*tensors, field, **options)
    monkeypatch.setenv(native.VARIABLE, "off")
    assert_bit_equal(out, splat_attention(*tensors, field, **options))


def test_native_is_chosen_and_explained(instruction_set):
    draw = Draw()
    query, key, value = draw.inputs(20, G=4)
    field = draw.field(H=4)
    for chosen in (explain_splat_attention(query, field), explain_linear_attention(query, key)):
        assert chosen.implementation == "native"
        assert instruction_set in chosen.reason
    options = {"is_causal": True}
    assert_bit_equal(
        splat_attention(query, key, value, field, **options),
        splat_attention(query, key, value, field, **options, implementation="native"),
    )


def test_pairs_of_states_are_weighed_only_where_that_is_cheaper():
    short, long = torch.zeros(1, 1, 60, 12), torch.zeros(1, 1, 200, 12)
    assert explain_fidelity_attention(short, short, is_causal=True).implementation == "parallel"
    assert explain_fidelity_attention(long, long, is_causal=True).implementation == "native"


def test_what_cannot_be_read_natively_is_refused_with_the_reason(monkeypatch):
    draw = Draw()
    tensors, field = draw.inputs(20, G=4), draw.field(H=4)
    with pytest.raises(UnsupportedError, match="sums by index"):
        splat_attention(*tensors, field, top_m=2, implementation="native")
    assert "sums by index" in explain_splat_attention(tensors[0], field, top_m=2).reason
    monkeypatch.setenv(native.VARIABLE, "off")
    with pytest.raises(UnsupportedError, match="AAT_NATIVE=off"):
        splat_attention(*tensors, field, implementation="native")
    explanation = explain_splat_attention(tensors[0], field)
    assert explanation.implementation == "parallel"
    assert "AAT_NATIVE=off" in explanation.reason
