"""Steps in place against ordinary calls: outputs, states, and the way between them."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.ops.fidelity_attention import FidelityStepper, fidelity_attention
from adaptive_attention_tiling.testing import (
    SteppedText,
    assert_bit_equal,
    assert_close,
    assert_same_memory,
)

B, H, E, T = 2, 4, 6, 17
REAL = {torch.float32: torch.float32, torch.float64: torch.float64}
REAL |= {torch.complex64: torch.float32, torch.complex128: torch.float64}


class Text(SteppedText):
    """Random amplitudes, some of which are no states."""

    def __init__(
        self, dtype=torch.float64, *, G=2, m=5, gated=True, window=0, sinks=0, background=1e-2
    ):
        source = torch.Generator().manual_seed(0)

        def normal(*shape, dtype):
            return torch.randn(*shape, generator=source, dtype=dtype)

        real = REAL[dtype]
        tokens = [normal(B, heads, T, m, dtype=dtype) for heads in (H, G)]
        tokens[0][0, 1, 8] = tokens[1][1, 0, 7] = 0
        gate = logsigmoid(normal(B, G, T, dtype=real)) if gated else None
        decay = logsigmoid(normal(B, G, T, dtype=real) + 1) if gated else None
        self.settings = {"background": background, "scale": 0.4}
        super().__init__(
            self.fidelity_attention,
            [*tokens, normal(B, G, T, E, dtype=real)],
            gate,
            decay,
            window=window,
            sinks=sinks,
        )

    def fidelity_attention(self, *tokens, **settings):
        return fidelity_attention(*tokens, **self.settings, **settings)

    def stepper(self, state):
        return FidelityStepper(state, **self.settings)


@pytest.mark.parametrize("dtype", list(REAL))
@pytest.mark.parametrize(
    "near", [{}, {"sinks": 2}, {"window": 5}, {"window": 7, "sinks": 3}, {"window": 1, "sinks": 1}]
)
@pytest.mark.parametrize("start", [1, 6])
def test_steps_are_ordinary_calls(instruction_set, near, start, dtype):
    text = Text(dtype, **near)
    _, before = text.read(0, start)
    wanted, last = text.read(0, T, implementation="chunked")  # by torch
    stepper = text.stepper(before)
    expected = "parallel" if instruction_set == "off" else "native"
    assert stepper.explain().implementation == expected
    out = text.step(stepper, start, T)
    assert out.dtype == REAL[dtype]
    assert_close(out, wanted[:, :, start:])
    assert_same_memory(stepper.state(), last)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("m", [1, 2, 9])
@pytest.mark.parametrize("background", [0.0, 1e-4])
@pytest.mark.parametrize("G", [1, 4])
@pytest.mark.usefixtures("instruction_set")
def test_any_dimension_with_and_without_background(G, background, m, dtype):
    text = Text(dtype, G=G, m=m, gated=False, window=2, sinks=1, background=background)
    wanted, _ = text.read(0, T)
    assert_close(text.step(text.stepper(text.read(0, 4)[1]), 4, T), wanted[:, :, 4:])


@pytest.mark.usefixtures("instruction_set")
def test_defaults_are_those_of_ordinary_calls():
    text = Text(window=3, gated=False)
    text.settings = {}
    wanted, _ = text.read(0, T)
    assert_close(text.step(text.stepper(text.read(0, 4)[1]), 4, T), wanted[:, :, 4:])


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("near", [{}, {"window": 7, "sinks": 3}])
@pytest.mark.usefixtures("instruction_set")
def test_a_state_goes_there_and_back(near, dtype):
    text = Text(dtype, **near)
    wanted, _ = text.read(0, T)
    stepper = text.stepper(text.read(0, 3)[1])
    text.step(stepper, 3, 9)
    middle = stepper.state()
    kept = {name: tensor.clone() for name, tensor in middle.snapshot().items()}
    for _ in range(2):  # the second time from the same state: nothing has touched it
        assert_close(text.read(9, T, middle)[0], wanted[:, :, 9:])
        again = text.stepper(middle)
        assert_close(text.step(again, 9, T), wanted[:, :, 9:])
        text.step(stepper, 9, 12)
        stepper = again
    for name, tensor in middle.snapshot().items():
        assert_bit_equal(tensor, kept[name], what=name)


@pytest.mark.usefixtures("instruction_set")
def test_rows_of_different_length():
    text = Text(window=4, sinks=3)
    mask = torch.ones(B, 6, dtype=torch.bool)
    mask[0, :4] = False  # fewer tokens than sinks
    _, before = text.read(0, 6, key_padding_mask=mask)
    wanted, last = text.read(6, T, before)
    stepper = text.stepper(before)
    assert_close(text.step(stepper, 6, T), wanted)
    assert_same_memory(stepper.state(), last)


@pytest.mark.usefixtures("instruction_set")
def test_what_does_not_fit_is_refused():
    text, complex_text = Text(), Text(torch.complex128)
    _, state = text.read(0, 3)
    tokens, _ = text.cut(3, 4)
    stepper = text.stepper(state)
    with pytest.raises(UnsupportedError, match=r"^state: .*rollback_limit=0"):
        text.stepper(text.read(0, 3, rollback_limit=2)[1])
    with pytest.raises(ArgumentError, match=r"^state: got 16 features of 5 numbers"):
        FidelityStepper(state, background=0.0)
    with pytest.raises(ArgumentError, match=r"^background: got -1"):
        FidelityStepper(state, background=-1.0)
    with pytest.raises(ArgumentError, match=r"^query, key: .*expected real amplitudes"):
        stepper.step(*complex_text.cut(3, 4)[0])
    with pytest.raises(ArgumentError, match=r"^query, key: .*expected complex amplitudes"):
        complex_text.stepper(complex_text.read(0, 3)[1]).step(*tokens)
    with pytest.raises(ArgumentError, match=r"^key: got 1 heads"):
        stepper.step(tokens[0], tokens[1][:, :1], tokens[2][:, :1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_step_has_no_gradient(dtype):
    if not native.runnable_sets():
        pytest.skip("no kernels were built: python csrc/build.py")
    text = Text(dtype)
    stepper = text.stepper(text.read(0, 3)[1])
    tokens, rates = text.cut(3, 4)
    with pytest.raises(UnsupportedError, match=r"^query, key, value: .*no gradient"):
        stepper.step(tokens[0].requires_grad_(), *tokens[1:], *rates)
