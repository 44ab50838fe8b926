"""reference = parallel = chunked = recurrent = native = step, in values and in every gradient."""

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.ops.gaussian_splat import (
    explain_splat_attention,
    reference_splat_attention,
    splat_attention,
)
from adaptive_attention_tiling.ops.linear_attention import MemoryState, interface
from adaptive_attention_tiling.splats import SplatField
from adaptive_attention_tiling.testing import assert_close

B, H, D, E, K = 2, 4, 3, 5, 6
FAST = ("parallel", "chunked", "recurrent")
NATIVE = ("native",) if native.runnable_sets() else ()
MEMORIES = {
    "plain": {},
    "no_background": {"background": None},
    "norm_factor": {"norm_factor": 0.3},
    "top": {"top_m": 2},
    "top_in_log_space": {"top_m": 2, "background": None},
}
DECAYS = (None, "head", "splat")


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(interface, "CHUNK", 5)


class Case:
    def __init__(
        self, T, *, memory="plain", decay=None, G=2, heads=None, padded=False, S=None, gated=True
    ):
        options = dict(MEMORIES[memory])
        self.top_m = options.pop("top_m", None)
        source = torch.Generator().manual_seed(1)

        def normal(*shape):
            return torch.randn(*shape, generator=source, dtype=torch.float64)

        heads = heads or G
        self.field = SplatField.diagonal(
            normal(heads, K, D),
            normal(heads, K, D).abs() + 0.8,
            normal(heads, K).abs() + 0.1,
            **{"background": 0.01, **options},
        )
        S = S or T
        self.query = normal(B, H, T, D).requires_grad_()
        self.key = normal(B, G, S, D).requires_grad_()
        self.value = normal(B, G, S, E).requires_grad_()
        self.gate = logsigmoid(normal(B, heads, S)).requires_grad_() if gated else None
        self.decay = None
        if decay is not None:
            columns = [self.field.features] if decay == "splat" else []
            self.decay = logsigmoid(normal(B, heads, S, *columns) + 1).requires_grad_()
        self.mask = None
        if padded:
            self.mask = torch.ones(B, S, dtype=torch.bool)
            self.mask[0, :3] = False
            self.mask[1, -4:] = False
            self.mask[1, 2] = False
        self.outer = normal(B, H, T, E)

    @property
    def settings(self) -> dict[str, object]:
        return {
            "top_m": self.top_m,
            "decay": self.decay,
            "gate": self.gate,
            "key_padding_mask": self.mask,
            "enable_gqa": True,
        }

    @property
    def forms(self) -> tuple[str, ...]:
        """The fast forms that can be differentiated here."""
        chosen = explain_splat_attention(self.query, self.field, decay=self.decay, top_m=self.top_m)
        return (*FAST, "native") if chosen.implementation == "native" else FAST

    @property
    def leaves(self) -> list[Tensor]:
        own = [self.query, self.key, self.value, self.gate, self.decay]
        return [*(t for t in own if t is not None), *self.field.parameters()]

    def run(self, implementation, **settings) -> tuple[Tensor, list[Tensor]]:
        out = splat_attention(
            self.query,
            self.key,
            self.value,
            self.field,
            **{**self.settings, **settings},
            implementation=implementation,
        )
        grads = torch.autograd.grad(
            (out * self.outer).sum(), self.leaves, allow_unused=True, materialize_grads=True
        )
        return out, list(grads)


def assert_same(actual: tuple[Tensor, list[Tensor]], expected: tuple[Tensor, list[Tensor]]):
    assert_close(actual[0], expected[0])
    for number, (got, wanted) in enumerate(zip(actual[1], expected[1], strict=True)):
        assert_close(got, wanted, gradient=True, what=f"gradient {number}")


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 0), (0, 2), (3, 2)])
@pytest.mark.parametrize(("memory", "decay"), [*product(MEMORIES, DECAYS)])
def test_causal_forms_agree(memory, decay, window, sinks):
    case = Case(13, memory=memory, decay=decay)
    settings = {"is_causal": True, "window": window, "sinks": sinks}
    expected = case.run("reference", **settings)
    for implementation in case.forms:
        assert_same(case.run(implementation, **settings), expected)


@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 0), (1, 2), (0, 2)])
@pytest.mark.parametrize("memory", MEMORIES)
def test_bidirectional_forms_agree(memory, window, sinks):
    case = Case(11, memory=memory)
    settings = {"window": window, "sinks": sinks}
    expected = case.run("reference", **settings)
    for implementation in case.forms:
        assert_same(case.run(implementation, **settings), expected)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("memory", ["plain", "no_background", "top"])
def test_padding_anywhere(memory, causal):
    case = Case(14, memory=memory, decay="head" if causal else None, padded=True)
    settings = {"is_causal": causal, "window": 3, "sinks": 2}
    expected = case.run("reference", **settings)
    for implementation in case.forms:
        assert_same(case.run(implementation, **settings), expected)


def test_padding_is_the_same_as_leaving_tokens_out():
    case = Case(14, decay="head", padded=True)
    settings = {"is_causal": True, "window": 3, "sinks": 2}
    padded, _ = case.run("chunked", **settings)
    for row in range(B):
        kept = case.mask[row].nonzero()[:, 0]
        alone = splat_attention(
            case.query[row : row + 1, :, kept],
            case.key[row : row + 1, :, kept],
            case.value[row : row + 1, :, kept],
            case.field,
            decay=case.decay[row : row + 1, :, kept],
            gate=case.gate[row : row + 1, :, kept],
            enable_gqa=True,
            **settings,
        )
        assert_close(padded[row : row + 1, :, kept], alone)
        assert bool((padded[row, :, ~case.mask[row]] == 0).all())


@pytest.mark.parametrize("memory", ["plain", "norm_factor", "top"])
def test_cross_attention(memory):
    case = Case(5, S=12, memory=memory, padded=True)
    expected = case.run("reference", sinks=2)
    for implementation in case.forms:
        assert_same(case.run(implementation, sinks=2), expected)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_fields_shared_by_groups_and_fields_of_query_heads(heads):
    case = Case(9, G=min(heads, 2), heads=heads)
    settings = {"is_causal": True, "window": 2}
    expected = case.run("reference", **settings)
    for implementation in case.forms:
        assert_same(case.run(implementation, **settings), expected)


@pytest.mark.parametrize("T", [1, 2, 5, 6])
def test_short_and_odd_lengths(T):
    case = Case(T, decay="splat")
    settings = {"is_causal": True, "window": 2, "sinks": 1}
    expected = case.run("reference", **settings)
    for implementation in case.forms:
        assert_same(case.run(implementation, **settings), expected)


@pytest.mark.parametrize("cut", [1, 4, 9])
@pytest.mark.parametrize(("memory", "decay"), [("plain", "head"), ("no_background", "splat")])
@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 2)])
def test_a_state_goes_on_where_it_was_returned(memory, decay, window, sinks, cut):
    case = Case(13, memory=memory, decay=decay)
    settings = {"is_causal": True, "window": window, "sinks": sinks}
    whole = case.run("reference", **settings)
    for implementation in case.forms:
        assert_same(in_two_calls(case, cut, implementation, **settings), whole)


def test_the_reference_starts_from_a_state():
    case = Case(13, decay="head")
    settings = {"is_causal": True, "window": 3, "sinks": 2}
    assert_same(in_two_calls(case, 6, "reference", **settings), case.run("chunked", **settings))


def in_two_calls(case: Case, cut: int, implementation, **settings) -> tuple[Tensor, list[Tensor]]:
    def part(start: int, end: int, state: MemoryState | None, **extra):
        own = {**case.settings, **settings, **extra}
        own["decay"] = case.decay[:, :, start:end]
        own["gate"] = case.gate[:, :, start:end]
        tensors = (t[:, :, start:end] for t in (case.query, case.key, case.value))
        return splat_attention(*tensors, case.field, initial_state=state, **own)

    first = "chunked" if implementation == "reference" else implementation
    before, state = part(0, cut, None, return_state=True, implementation=first)
    after = part(cut, case.key.shape[2], state, implementation=implementation)
    out = torch.cat([before, after], 2)
    grads = torch.autograd.grad(
        (out * case.outer).sum(), case.leaves, allow_unused=True, materialize_grads=True
    )
    return out, list(grads)


@pytest.mark.parametrize("memory", MEMORIES)
def test_one_token_steps_give_the_whole(memory):
    case = Case(12, memory=memory, decay="head")
    settings = {**case.settings, "is_causal": True, "window": 3, "sinks": 2, "return_state": True}
    whole, final = splat_attention(
        case.query, case.key, case.value, case.field, **settings, implementation="chunked"
    )
    state, rows = None, []
    for t in range(12):
        now = slice(t, t + 1)
        settings |= {"decay": case.decay[:, :, now], "gate": case.gate[:, :, now]}
        tensors = (x[:, :, now] for x in (case.query, case.key, case.value))
        out, state = splat_attention(*tensors, case.field, initial_state=state, **settings)
        rows.append(out)
    assert_close(torch.cat(rows, 2), whole)
    assert_same_state(state, final)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("padded", [False, True])
def test_final_sums_are_those_of_the_reference(memory, padded):
    case = Case(14, memory=memory, decay="head", padded=padded)
    options = {"is_causal": True, "window": 3, "sinks": 2}
    _, state = splat_attention(
        case.query, case.key, case.value, case.field, **case.settings, **options, return_state=True
    )
    settings = {k: v for k, v in case.settings.items() if k != "enable_gqa"}
    _, (values, mass) = reference_splat_attention(
        case.query,
        case.key,
        case.value,
        case.field,
        **settings,
        **options,
        scale=1.0,
        initial_state=None,
    )
    assert_close(state.mass * state.level.exp(), mass)
    assert_close(state.values * state.level.exp()[..., None], values)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("implementation", [*FAST, *NATIVE])
def test_packed_sequences_are_read_one_by_one(implementation, causal):
    case = Case(16, decay="head" if causal else None)
    cuts = [0, 5, 5, 6, 16]
    settings = {**case.settings, "is_causal": causal, "window": 3, "sinks": 2}
    row = [t[:1] for t in (case.query, case.key, case.value)]
    settings |= {n: settings[n][:1] for n in ("decay", "gate") if settings[n] is not None}
    packed = splat_attention(
        *row, case.field, cu_seqlens=torch.tensor(cuts), implementation=implementation, **settings
    )
    for start, end in pairwise(cuts):
        if start == end:
            continue
        own = {
            **settings,
            **{
                n: settings[n][:, :, start:end]
                for n in ("decay", "gate")
                if settings[n] is not None
            },
        }
        alone = splat_attention(
            *(t[:, :, start:end] for t in row), case.field, implementation="reference", **own
        )
        assert_close(packed[:, :, start:end], alone)


def test_packed_sequences_each_have_a_state():
    case = Case(16, decay="head")
    cuts = torch.tensor([0, 5, 16])
    settings = {**case.settings, "is_causal": True, "window": 3, "sinks": 2, "return_state": True}
    row = [t[:1] for t in (case.query, case.key, case.value)]
    settings |= {"decay": case.decay[:1], "gate": case.gate[:1]}
    _, state = splat_attention(*row, case.field, cu_seqlens=cuts, **settings)
    assert state.length.tolist() == [5, 11]
    out, _ = splat_attention(*row, case.field, cu_seqlens=cuts, initial_state=state, **settings)
    tail = {**settings, "decay": case.decay[:1, :, 5:], "gate": case.gate[:1, :, 5:]}
    second = [t[:, :, 5:] for t in row]
    _, alone = splat_attention(*second, case.field, **tail)
    again, _ = splat_attention(*second, case.field, initial_state=alone, **tail)
    assert_close(out[:, :, 5:], again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory", MEMORIES)
def test_other_dtypes(dtype, memory):
    case = Case(13, memory=memory, decay="head")
    settings = {**case.settings, "is_causal": True, "window": 3, "sinks": 2}
    settings |= {"decay": case.decay.to(dtype), "gate": case.gate.to(dtype)}
    tensors = [t.detach().to(dtype) for t in (case.query, case.key, case.value)]
    # The same numbers as the low precision holds.
    exact = [t.double() for t in tensors]
    doubles = {**settings, "decay": settings["decay"].double(), "gate": settings["gate"].double()}
    expected = splat_attention(*exact, case.field, **doubles, implementation="reference")
    field = case.field.float()
    for implementation in case.forms:
        out = splat_attention(*tensors, field, **settings, implementation=implementation)
        assert out.dtype == dtype
        assert_close(out, expected.to(dtype))


def assert_same_state(actual: MemoryState, expected: MemoryState):
    for state in (actual, expected):
        assert bool(torch.isfinite(state.values).all())
    assert_close(actual.mass * actual.level.exp(), expected.mass * expected.level.exp())
    scaled = [s.values * s.level.exp()[..., None] for s in (actual, expected)]
    assert_close(*scaled)
    for name in ("key", "value", "gate", "sink_key", "sink_value", "length"):
        assert_close(getattr(actual, name), getattr(expected, name), what=name)
