"""Steps in place against ordinary calls: outputs, states, and the way between them."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.ops.gaussian_splat import SplatStepper, splat_attention
from adaptive_attention_tiling.splats import SplatField
from adaptive_attention_tiling.testing import (
    SteppedText,
    assert_bit_equal,
    assert_close,
    assert_same_memory,
)

SETS = (*native.runnable_sets(), "off")
B, H, D, E, K, T = 2, 4, 5, 6, 35, 17


class Text(SteppedText):
    """Random tokens and a random field."""

    def __init__(
        self,
        *,
        G=2,
        heads=4,
        kind="diagonal",
        gated=True,
        dtype=torch.float64,
        near=(0, 0),
        **field,
    ):
        source = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(*shape, generator=source, dtype=torch.float64)

        scale = normal(heads, K, D) if kind == "diagonal" else normal(heads, K)
        make = getattr(SplatField, kind)
        options = {"background": 0.01, **field}
        height = normal(heads, K).abs() + 0.1
        self.field = make(normal(heads, K, D), scale.abs() + 0.8, height, **options).to(dtype)
        tokens = [normal(B, *s).to(dtype) for s in ((H, T, D), (G, T, D), (G, T, E))]
        gate = logsigmoid(normal(B, heads, T)).to(dtype) if gated else None
        decay = logsigmoid(normal(B, heads, T) + 1).to(dtype) if gated else None
        super().__init__(self.splat_attention, tokens, gate, decay, window=near[0], sinks=near[1])

    def splat_attention(self, *tokens, **settings):
        return splat_attention(*tokens, self.field, **settings)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("near", [(0, 0), (0, 2), (5, 0), (7, 3), (1, 1)])
@pytest.mark.parametrize("start", [1, 6])
def test_steps_are_ordinary_calls(instruction_set, near, start, dtype):
    text = Text(near=near, dtype=dtype)
    _, before = text.read(0, start)
    wanted, last = text.read(0, T, implementation="chunked")  # by torch
    stepper = SplatStepper(text.field, before)
    assert stepper.explain().implementation == (
        "parallel" if instruction_set == "off" else "native"
    )
    assert_close(text.step(stepper, start, T), wanted[:, :, start:])
    assert_same_memory(stepper.state(), last)


@pytest.mark.parametrize(("G", "heads"), [(1, 1), (1, 4), (2, 2), (2, 4), (4, 4)])
@pytest.mark.parametrize("kind", ["diagonal", "scalar"])
@pytest.mark.usefixtures("instruction_set")
def test_heads_may_share_keys_and_memories(G, heads, kind):
    text = Text(G=G, heads=heads, kind=kind, gated=False, near=(3, 1))
    wanted, _ = text.read(0, T)
    stepper = SplatStepper(text.field, text.read(0, 4)[1])
    assert_close(text.step(stepper, 4, T), wanted[:, :, 4:])


@pytest.mark.parametrize("near", [(0, 0), (7, 3)])
@pytest.mark.usefixtures("instruction_set")
def test_a_state_goes_there_and_back(near):
    text = Text(near=near)
    wanted, _ = text.read(0, T)
    stepper = SplatStepper(text.field, text.read(0, 3)[1])
    text.step(stepper, 3, 9)
    middle = stepper.state()
    kept = {name: tensor.clone() for name, tensor in middle.snapshot().items()}
    for _ in range(2):  # the second time from the same state: nothing has touched it
        assert_close(text.read(9, T, middle)[0], wanted[:, :, 9:])
        again = SplatStepper(text.field, middle)
        assert_close(text.step(again, 9, T), wanted[:, :, 9:])
        text.step(stepper, 9, 12)
        stepper = again
    for name, tensor in middle.snapshot().items():
        assert_bit_equal(tensor, kept[name], what=name)


@pytest.mark.usefixtures("instruction_set")
def test_rows_of_different_length():
    text = Text(near=(4, 3))
    mask = torch.ones(B, 6, dtype=torch.bool)
    mask[0, :4] = False  # fewer tokens than sinks
    _, before = text.read(0, 6, key_padding_mask=mask)
    wanted, last = text.read(6, T, before)
    stepper = SplatStepper(text.field, before)
    assert_close(text.step(stepper, 6, T), wanted)
    assert_same_memory(stepper.state(), last)


@pytest.mark.usefixtures("instruction_set")
def test_weights_of_softmax_and_of_the_memory_have_one_normaliser():
    # Logits of a hundred and of minus a hundred: neither part may overflow or vanish wrongly.
    for size in (1.0, 40.0, -40.0):
        text = Text(near=(3, 1))
        text.tokens[0] = text.tokens[0].abs() * size
        text.tokens[1] = text.tokens[1].abs()
        wanted, _ = text.read(0, T)
        stepper = SplatStepper(text.field, text.read(0, 2)[1])
        assert_close(text.step(stepper, 2, T), wanted[:, :, 2:])


@pytest.mark.usefixtures("instruction_set")
def test_any_layout_and_precision_of_tokens():
    text = Text(near=(3, 1), dtype=torch.float32)
    _, before = text.read(0, 4)
    steppers = [SplatStepper(text.field, before) for _ in range(4)]
    wanted = text.step(steppers[0], 4, T)
    tokens = text.tokens
    text.tokens = [t.mT.contiguous().mT for t in tokens]
    assert_bit_equal(text.step(steppers[1], 4, T), wanted)
    text.tokens = []
    for t in tokens:
        room = t.new_empty(t.numel() + 1)
        text.tokens.append(room[1:].view_as(t).copy_(t))
    assert_bit_equal(text.step(steppers[2], 4, T), wanted)
    text.tokens = [t.bfloat16() for t in tokens]
    half = text.step(steppers[3], 4, T)
    assert half.dtype == torch.bfloat16
    assert (half.float() - wanted).abs().max() < 0.1


@pytest.mark.usefixtures("instruction_set")
def test_outputs_are_tensors_of_their_own():
    text = Text()
    stepper = SplatStepper(text.field, text.read(0, 2)[1])
    tokens, rates = text.cut(2, 3)
    with torch.no_grad():
        outs = [stepper.step(*tokens, *rates) for _ in range(70)]
    before = [out.clone() for out in outs]
    assert len({out.data_ptr() for out in outs}) == 70
    outs[3].fill_(0.0)
    for place in (2, 4, 69):
        assert_bit_equal(outs[place], before[place])


def test_threads_do_not_matter(monkeypatch):
    if len(SETS) == 1:
        pytest.skip("no kernels were built: python csrc/build.py")
    monkeypatch.setattr(
        "adaptive_attention_tiling.ops.linear_attention.native_step._HEADS_A_THREAD", 1
    )
    text, results, before = Text(near=(3, 1)), [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(text.step(SplatStepper(text.field, text.read(0, 2)[1]), 2, T))
    finally:
        torch.set_num_threads(before)
    assert_bit_equal(results[1], results[0])
    assert_bit_equal(results[2], results[0])


def test_what_kernels_do_not_evaluate_is_read_by_ordinary_calls():
    source = torch.Generator().manual_seed(0)
    text = Text(gated=False)
    mean, height = torch.randn(H, K, D, generator=source), torch.ones(H, K)
    text.field = SplatField.full(mean, torch.eye(D).expand(H, K, D, D), height).double()
    stepper = SplatStepper(text.field, text.read(0, 4)[1])
    assert stepper.explain().implementation == "parallel"
    assert "full" in stepper.explain().reason
    assert_close(text.step(stepper, 4, T), text.read(0, T)[0][:, :, 4:])


@pytest.mark.usefixtures("instruction_set")
def test_what_it_cannot_do_is_refused():
    text = Text()
    _, state = text.read(0, 3)
    tokens, _ = text.cut(3, 4)
    stepper = SplatStepper(text.field, state)
    with pytest.raises(UnsupportedError, match=r"^state: .*rollback_limit=0"):
        SplatStepper(text.field, text.read(0, 3, rollback_limit=2)[1])
    with pytest.raises(UnsupportedError, match=r"^field: it has no background"):
        SplatStepper(Text(background=None).field, state)
    with pytest.raises(ArgumentError, match=r"^state: got 4 heads"):
        SplatStepper(Text(heads=2).field, state)
    with pytest.raises(UnsupportedError, match=r"^decay: one for each splat"):
        stepper.step(*tokens, decay=torch.zeros(B, 4, 1, K + 1))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"query": torch.zeros(B, H, 2, D)}, "query"),
        ({"query": torch.zeros(B, 3, 1, D)}, "query"),
        ({"query": torch.zeros(B + 1, H, 1, D)}, "query"),
        ({"key": torch.zeros(B, 2, 1, D + 1)}, "key"),
        ({"key": torch.zeros(B, 3, 1, D), "value": torch.zeros(B, 3, 1, E)}, "key"),
        ({"value": torch.zeros(B, 2, E)}, "value"),
        ({"gate": torch.zeros(B, 3, 1)}, "gate"),
        ({"decay": torch.zeros(B, 4, 2)}, "decay"),
    ],
)
def test_tokens_that_do_not_fit_are_refused_by_name(change, name):
    if len(SETS) == 1:
        pytest.skip("no kernels were built: python csrc/build.py")
    text = Text(dtype=torch.float32)
    stepper = SplatStepper(text.field, text.read(0, 3)[1])
    tokens, _ = text.cut(3, 4)
    given = dict(zip(("query", "key", "value"), tokens, strict=True))
    with torch.no_grad():
        stepper.step(**given)  # so that the layout of good tokens is known
        with pytest.raises(ArgumentError) as refusal:
            stepper.step(**{**given, **change})
    assert refusal.value.name == name


def test_a_step_has_no_gradient():
    if len(SETS) == 1:
        pytest.skip("no kernels were built: python csrc/build.py")
    text = Text()
    stepper = SplatStepper(text.field, text.read(0, 3)[1])
    tokens, rates = text.cut(3, 4)
    with pytest.raises(UnsupportedError, match=r"^query, key, value: .*no gradient"):
        stepper.step(tokens[0].requires_grad_(), *tokens[1:], *rates)
