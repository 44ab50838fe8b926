"""reference = parallel = chunked = recurrent = step, in values and in every gradient."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.ops.fidelity_attention import (
    FidelityKernel,
    fidelity_attention,
    interface,
    pairs,
    reference_fidelity_attention,
)
from adaptive_attention_tiling.ops.linear_attention import MemoryState
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

B, H, G, M, E = 2, 4, 2, 3, 5
FAST = ("parallel", "chunked", "recurrent", *(["native"] if native.runnable_sets() else []))
BACKGROUND = 0.02


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(interface, "chunk_tokens", lambda features: 5)
    monkeypatch.setattr(pairs, "ROWS", 4)


class Case:
    def __init__(self, T, *, S=None, m=M, kind="real", decayed=False, padded=False, groups=G):
        source = torch.Generator().manual_seed(1)
        self.kind = kind

        def normal(*shape, dtype=torch.float64):
            return torch.randn(*shape, generator=source, dtype=dtype)

        states = torch.float64 if kind == "real" else torch.complex128
        S = S or T
        self.query = normal(B, H, T, m, dtype=states).requires_grad_()
        self.key = normal(B, groups, S, m, dtype=states).requires_grad_()
        self.value = normal(B, groups, S, E).requires_grad_()
        self.gate = logsigmoid(normal(B, groups, S)).requires_grad_()
        self.decay = logsigmoid(normal(B, groups, S) + 1).requires_grad_() if decayed else None
        self.mask = None
        if padded:
            self.mask = torch.ones(B, S, dtype=torch.bool)
            self.mask[0, :3] = False
            self.mask[1, -4:] = False
            self.mask[1, 2] = False
        self.outer = normal(B, H, T, E)

    @property
    def tensors(self):
        return self.query, self.key, self.value

    @property
    def settings(self) -> dict[str, object]:
        return {
            "decay": self.decay,
            "gate": self.gate,
            "key_padding_mask": self.mask,
            "background": BACKGROUND,
            "enable_gqa": True,
        }

    def gradients(self, out) -> list[Tensor]:
        leaves = [t for t in (*self.tensors, self.gate, self.decay) if t is not None]
        return list(
            torch.autograd.grad(
                (out * self.outer).sum(), leaves, allow_unused=True, materialize_grads=True
            )
        )

    def run(self, implementation, **settings) -> tuple[Tensor, list[Tensor]]:
        given = {**self.settings, **settings, "implementation": implementation}
        out = fidelity_attention(*self.tensors, **given)
        return out, self.gradients(out)


def assert_same(actual: tuple[Tensor, list[Tensor]], expected: tuple[Tensor, list[Tensor]]):
    assert_close(actual[0], expected[0])
    for number, (got, wanted) in enumerate(zip(actual[1], expected[1], strict=True)):
        if got.is_complex():
            got, wanted = torch.view_as_real(got), torch.view_as_real(wanted)
        assert_close(got, wanted, gradient=True, what=f"gradient {number}")


def assert_forms_agree(case: Case, **settings):
    expected = case.run("reference", **settings)
    assert float(expected[0].detach().abs().max()) > 0.1
    for implementation in FAST:
        assert_same(case.run(implementation, **settings), expected)


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 0), (0, 2), (3, 2)])
@pytest.mark.parametrize("decayed", [False, True])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_causal_forms_agree(kind, decayed, window, sinks):
    case = Case(13, kind=kind, decayed=decayed)
    assert_forms_agree(case, is_causal=True, window=window, sinks=sinks)


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 0), (1, 2), (0, 2)])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_bidirectional_forms_agree(kind, window, sinks):
    assert_forms_agree(Case(11, kind=kind), window=window, sinks=sinks)


@pytest.mark.parametrize("m", [1, 2, 6])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_states_of_every_dimension(kind, m):
    assert_forms_agree(Case(7, kind=kind, m=m), is_causal=True)


def test_without_background():
    assert_forms_agree(Case(9, decayed=True), is_causal=True, window=2, background=0.0)


def test_a_scale_is_that_of_the_window():
    case = Case(9)
    settings = {"is_causal": True, "window": 3}
    assert_forms_agree(case, **settings, scale=0.1)
    default = case.run("chunked", **settings)[0]
    assert_bit_equal(default, case.run("chunked", **settings, scale=M**-0.5)[0])
    assert not torch.equal(default, case.run("chunked", **settings, scale=0.1)[0])


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 2)])
@pytest.mark.parametrize("causal", [True, False])
def test_padding_anywhere(causal, window, sinks):
    case = Case(14, decayed=causal, padded=True)
    assert_forms_agree(case, is_causal=causal, window=window, sinks=sinks)


@pytest.mark.parametrize("implementation", FAST)
def test_padding_is_the_same_as_leaving_tokens_out(implementation):
    case = Case(14, decayed=True, padded=True)
    settings = {"is_causal": True, "window": 3, "sinks": 2, "implementation": implementation}
    padded = fidelity_attention(*case.tensors, **case.settings, **settings)
    for row in range(B):
        kept = case.mask[row].nonzero()[:, 0]
        own = case.settings | {"key_padding_mask": None}
        own |= {n: own[n][row : row + 1, :, kept] for n in ("decay", "gate")}
        cut = [t[row : row + 1, :, kept] for t in case.tensors]
        assert_close(padded[row : row + 1, :, kept], fidelity_attention(*cut, **own, **settings))
        assert bool((padded[row, :, ~case.mask[row]] == 0).all())


@pytest.mark.parametrize("sinks", [0, 2])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_cross_attention(kind, sinks):
    assert_forms_agree(Case(5, S=12, kind=kind, padded=True), sinks=sinks)


@pytest.mark.parametrize("groups", [1, 4])
def test_shared_and_own_key_heads(groups):
    assert_forms_agree(Case(9, groups=groups, decayed=True), is_causal=True, window=2)


@pytest.mark.parametrize("T", [1, 2, 5, 6])
def test_short_and_odd_lengths(T):
    assert_forms_agree(Case(T, decayed=True), is_causal=True, window=2, sinks=1)


def in_two_calls(case: Case, cut: int, implementation, **settings) -> tuple[Tensor, list[Tensor]]:
    def part(start, end, state, **extra):
        own = {**case.settings, **settings, **extra, "initial_state": state}
        own |= {n: own[n][:, :, start:end] for n in ("decay", "gate")}
        return fidelity_attention(*(t[:, :, start:end] for t in case.tensors), **own)

    first = "chunked" if implementation == "reference" else implementation
    before, state = part(0, cut, None, return_state=True, implementation=first)
    after = part(cut, case.key.shape[2], state, implementation=implementation)
    out = torch.cat([before, after], 2)
    return out, case.gradients(out)


@pytest.mark.parametrize("cut", [1, 8])
@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 2)])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_a_state_goes_on_where_it_was_returned(kind, window, sinks, cut):
    case = Case(11, kind=kind, decayed=True)
    settings = {"is_causal": True, "window": window, "sinks": sinks}
    whole = case.run("reference", **settings)
    for implementation in ("reference", *FAST):
        assert_same(in_two_calls(case, cut, implementation, **settings), whole)


@pytest.mark.parametrize("implementation", ["reference", *FAST])
def test_more_queries_of_a_bidirectional_state(implementation):
    case = Case(11, kind="complex")
    own = case.settings | {"sinks": 2}
    whole = fidelity_attention(*case.tensors, **own, implementation="reference")
    early, late = [{**own, "gate": case.gate[:, :, cut]} for cut in (slice(0, 7), slice(7, 11))]
    first = (case.query[:, :, :7], case.key[:, :, :7], case.value[:, :, :7])
    _, state = fidelity_attention(*first, **early, return_state=True)
    out = fidelity_attention(
        case.query,
        case.key[:, :, 7:],
        case.value[:, :, 7:],
        **late,
        initial_state=state,
        implementation=implementation,
    )
    assert_close(out, whole)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_one_token_steps_give_the_whole(kind):
    case = Case(12, kind=kind, decayed=True)
    settings = {**case.settings, "is_causal": True, "window": 3, "sinks": 2, "return_state": True}
    whole, final = fidelity_attention(*case.tensors, **settings, implementation="chunked")
    state, rows = None, []
    for t in range(12):
        settings |= {"decay": case.decay[:, :, t : t + 1], "gate": case.gate[:, :, t : t + 1]}
        now = (x[:, :, t : t + 1] for x in case.tensors)
        out, state = fidelity_attention(*now, **settings, initial_state=state)
        rows.append(out)
    assert_close(torch.cat(rows, 2), whole)
    assert_same_state(state, final)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_final_sums_are_density_matrices(kind, padded):
    case = Case(14, kind=kind, decayed=True, padded=padded)
    options = {"is_causal": True, "window": 3, "sinks": 2}
    settings = case.settings
    _, state = fidelity_attention(*case.tensors, **settings, **options, return_state=True)
    settings.pop("enable_gqa")
    _, (values, mass) = reference_fidelity_attention(
        *case.tensors, **settings, **options, scale=1.0, initial_state=None
    )
    kernel = FidelityKernel(M, kind == "complex", BACKGROUND)
    for features, matrix in ((state.mass, mass), (state.values.mT, values)):
        assert_close(*(torch.view_as_real(x + 0j) for x in (kernel.density(features), matrix)))
    trace = torch.diagonal(mass, dim1=-2, dim2=-1).sum(-1).real
    assert_close(state.mass[..., -1], BACKGROUND**0.5 * trace)


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("taken", [1, 4])
def test_tokens_taken_back_are_as_if_never_read(window, taken):
    case = Case(12, decayed=True)

    def read(start, end, state, tensors=case.tensors):
        own = {**case.settings, "is_causal": True, "window": window, "sinks": 1}
        own |= {n: own[n][:, :, start:end] for n in ("decay", "gate")}
        own |= {"return_state": True, "rollback_limit": 4, "initial_state": state}
        return fidelity_attention(*(t[:, :, start:end] for t in tensors), **own)

    _, state = read(0, 8, None)
    wrong = [torch.flip(t, (1,)) for t in case.tensors]
    _, ahead = read(8, 8 + taken, state, wrong)
    expected, _ = read(8, 12, state)
    out, _ = read(8, 12, ahead.rollback(taken))
    assert_close(out, expected)
    assert not torch.allclose(read(8, 12, ahead)[0], expected)


def test_a_snapshot_restores_the_state():
    case = Case(12, kind="complex", decayed=True)
    own = {**case.settings, "is_causal": True, "window": 2, "sinks": 1, "decay": None, "gate": None}
    first, second = ([t[:, :, cut] for t in case.tensors] for cut in (slice(0, 7), slice(7, 12)))
    _, state = fidelity_attention(*first, **own, return_state=True)
    saved = state.snapshot()
    expected = fidelity_attention(*second, **own, initial_state=state)
    restored = MemoryState.restore(saved)
    assert_bit_equal(fidelity_attention(*second, **own, initial_state=restored), expected)


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 2)])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("implementation", FAST)
def test_packed_sequences_are_read_one_by_one(implementation, causal, window, sinks):
    case = Case(16, decayed=causal)
    cuts = [0, 5, 5, 6, 16]
    settings = {**case.settings, "is_causal": causal, "window": window, "sinks": sinks}
    row = [t[:1] for t in case.tensors]
    settings |= {n: settings[n][:1] for n in ("decay", "gate") if settings[n] is not None}
    packed = fidelity_attention(
        *row, cu_seqlens=torch.tensor(cuts), implementation=implementation, **settings
    )
    for start, end in pairwise(cuts):
        if start == end:
            continue
        names = [n for n in ("decay", "gate") if settings[n] is not None]
        own = {**settings, **{n: settings[n][:, :, start:end] for n in names}}
        alone = fidelity_attention(
            *(t[:, :, start:end] for t in row), implementation="reference", **own
        )
        assert_close(packed[:, :, start:end], alone)


@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_nothing_later_is_seen(implementation, kind):
    case = Case(12, kind=kind)

    def attend(*tensors):
        return fidelity_attention(
            *tensors, is_causal=True, window=2, enable_gqa=True, implementation=implementation
        )

    assert_causal(attend, [t.detach() for t in case.tensors], 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    case = Case(13, decayed=True)
    options = {"is_causal": True, "window": 3, "sinks": 2, "background": 0.01, "enable_gqa": True}
    low = [t.detach().to(dtype) for t in (*case.tensors, case.decay, case.gate)]
    # The same numbers as the low precision holds.
    exact = [t.double() for t in low]

    def attend(tensors, implementation):
        decay, gate = tensors[3:]
        return fidelity_attention(
            *tensors[:3], **options, decay=decay, gate=gate, implementation=implementation
        )

    expected = attend(exact, "reference")
    for implementation in ("reference", *FAST):
        out = attend(low, implementation)
        assert out.dtype == dtype
        assert_close(out, expected.to(dtype))


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_single_precision_gradients(kind):
    case = Case(13, kind=kind)
    low = Case(13, kind=kind)
    for name in ("query", "key", "value", "gate"):
        t = getattr(case, name).detach()
        setattr(low, name, t.to(torch.complex64 if t.is_complex() else t.float().dtype))
        getattr(low, name).requires_grad_()
    low.outer = case.outer.float()
    settings = {"is_causal": True, "window": 3, "background": 0.01}
    out, gradients = case.run("reference", **settings)
    expected = [g.cfloat() if g.is_complex() else g.float() for g in gradients]
    for implementation in FAST:
        assert_same(low.run(implementation, **settings), (out.float(), expected))


def assert_same_state(actual: MemoryState, expected: MemoryState):
    assert bool(torch.isfinite(actual.values).all())
    assert_close(actual.mass * actual.level.exp(), expected.mass * expected.level.exp())
    scaled = [s.values * s.level.exp()[..., None] for s in (actual, expected)]
    assert_close(*scaled)
    for name in ("key", "value", "gate", "sink_key", "sink_value", "length"):
        assert_close(getattr(actual, name), getattr(expected, name), what=name)
