from functools import partial

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.ops.resolvent_attention import (
    ResolventState,
    explain_resolvent_attention,
    hops_for,
    reference_resolvent_attention,
    resolvent_attention,
    walk,
)
from adaptive_attention_tiling.ops.tiled_attention import tiled_attention
from adaptive_attention_tiling.testing import assert_causal, assert_close

B, H, T, D, E = 2, 3, 150, 8, 5
SCALE = 0.6


def tensors(dtype=torch.float64, heads=H, length=T, seed=0):
    g = torch.Generator().manual_seed(seed)
    shapes = (B, H, length, D), (B, heads, length, D), (B, heads, length, E)
    return [2 * torch.randn(shape, generator=g, dtype=dtype) for shape in shapes]


def matrix(query, key, *, is_causal):
    logits = SCALE * query @ key.mT
    if is_causal:
        length = query.shape[2]
        logits = logits + torch.full((length, length), -torch.inf, dtype=query.dtype).triu(1)
    return logits.softmax(-1)


PADDING = torch.rand(B, T, generator=torch.Generator().manual_seed(9)) < 0.7
PADDING[0, :3], PADDING[1, -2:] = False, False


@pytest.mark.parametrize("is_causal", [True, False])
def test_the_reference_is_the_sum_over_all_paths(is_causal):
    query, key, value = tensors()
    attention, term, total = matrix(query, key, is_causal=is_causal), 0.3 * value, 0
    for _ in range(130):  # 0.7^130 = 7e-21
        total, term = total + term, 0.7 * attention @ term
    out = reference_resolvent_attention(
        query, key, value, damping=0.7, scale=SCALE, is_causal=is_causal
    )
    assert_close(out, total, row="special_case")


# Chunks of 64: 150 tokens are two whole ones and a part.
@pytest.mark.parametrize("mask", [None, PADDING], ids=["whole", "padded"])
@pytest.mark.parametrize("heads", [H, 1])
@pytest.mark.parametrize(
    ("is_causal", "settings"), [(True, {}), (False, {"tolerance": 1e-14}), (True, {"hops": 60})]
)
def test_values_and_gradients_are_the_references(mask, heads, is_causal, settings):
    query, key, value = (x.requires_grad_() for x in tensors(heads=heads))
    weight = torch.randn(B, H, T, E, dtype=torch.float64)
    out = resolvent_attention(
        query, key, value, damping=0.55, is_causal=is_causal, scale=SCALE, enable_gqa=True,
        key_padding_mask=mask, **settings,
    )  # fmt: skip
    shared = [x.repeat_interleave(H // heads, 1) for x in (key, value)]
    truth = reference_resolvent_attention(
        query, *shared, damping=0.55, scale=SCALE, is_causal=is_causal, key_padding_mask=mask
    )
    assert_close(out, truth)
    if mask is not None:
        assert not out.masked_select(~mask[:, None, :, None]).any()
    found = torch.autograd.grad((out * weight).sum(), (query, key, value), retain_graph=True)
    wanted = torch.autograd.grad((truth * weight).sum(), (query, key, value))
    for name, a, b in zip(("query", "key", "value"), found, wanted, strict=True):
        assert_close(a, b, gradient=True, what=name)


def test_what_padding_holds_does_not_matter():
    query, key, value = tensors()
    hidden = ~PADDING[:, None, :, None]
    call = partial(resolvent_attention, scale=SCALE, key_padding_mask=PADDING)
    for is_causal in (True, False):
        before = call(query, key, value, is_causal=is_causal)
        after = call(
            query, key.masked_fill(hidden, 30.0), value.masked_fill(hidden, 1e6),
            is_causal=is_causal,
        )  # fmt: skip
        assert_close(after, before)


@pytest.mark.parametrize(
    ("hops", "norm"), [(4, 0.4437), (9, 0.1969), (19, 3.876e-2), (39, 1.502e-3)]
)
def test_paths_that_are_left_out_weigh_exactly_a_power_of_alpha(hops, norm):
    """Figures of the Neumann series of the resolvent: alpha = 0.85, `hops` + 1 terms."""
    query, key, _ = tensors(length=40)
    attention = matrix(query, key, is_causal=False)
    unit = torch.eye(40, dtype=torch.float64).expand(B, H, 40, 40)
    whole = torch.linalg.solve(unit - 0.85 * attention, 0.15 * unit)
    found = walk(lambda z: attention @ z, unit, damping=0.85, hops=hops, truncated=True)
    error = (whole - found).abs().sum(-1)
    assert (error - 0.85 ** (hops + 1)).abs().max() < 1e-12
    assert error.max().item() == pytest.approx(norm, rel=5e-4)


@pytest.mark.parametrize("hops", [0, 1, 5])
def test_ended_walks_average_and_their_error_is_bounded(hops):
    query, key, value = tensors()
    truth = reference_resolvent_attention(query, key, value, damping=0.8, scale=SCALE)
    out = resolvent_attention(query, key, value, damping=0.8, scale=SCALE, hops=hops)
    spread = value.amax(-2) - value.amin(-2)
    error = (out - truth).abs().amax(-2)
    assert (error <= 0.8**hops * spread * (1 + 1e-12)).all()
    # The bound is of use: some channel comes within a factor of 50 of it.
    assert (error / spread).max() > 0.8**hops / 50
    ones = resolvent_attention(
        query, key, torch.ones_like(value), damping=0.8, scale=SCALE, hops=hops
    )
    assert_close(ones, torch.ones_like(ones), row="special_case")


def test_walks_without_their_end_weigh_less():
    query, key, value = tensors(length=9)
    ones = torch.ones_like(value)
    out = resolvent_attention(query, key, ones, damping=0.8, hops=3, truncated=True)
    assert_close(out, (1 - 0.8**4) * ones, row="special_case")


def test_the_tolerance_gives_the_hops():
    assert [hops_for(0.5, x) for x in (1e-3, 2**-10, 2**-10 * 0.999, 1.0, 5.0)] == [
        10,
        10,
        11,
        0,
        0,
    ]
    assert [hops_for(0.1, 0.1**5), hops_for(0.9, 0.9**4)] == [5, 4]  # logarithms are rounded
    assert hops_for(0.0, 1e-9) == 1
    query, key, value = tensors()
    calls = partial(resolvent_attention, query, key, value, damping=0.5)
    assert torch.equal(calls(tolerance=1e-3), calls(hops=10))
    assert not torch.equal(calls(tolerance=1e-3), calls(hops=9))


def test_no_damping_gives_the_values_back_and_little_one_attention():
    query, key, value = tensors()
    assert_close(resolvent_attention(query, key, value, damping=0.0, is_causal=True), value)
    step = scaled_dot_product_attention(query, key, value, is_causal=True)
    out = resolvent_attention(query, key, value, damping=1e-7, is_causal=True)
    assert ((out - value) / 1e-7 - (step - value)).abs().max() < 1e-4


def test_pieces_are_the_whole_and_token_by_token_too():
    query, key, value = tensors(heads=1)
    call = partial(
        resolvent_attention, damping=0.6, is_causal=True, enable_gqa=True, return_state=True
    )
    whole, _ = call(query, key, value, key_padding_mask=PADDING)
    for cuts in ([70, 80], [1] * T):
        pieces, state, start = [], None, 0
        for width in cuts:
            here = slice(start, start + width)
            piece, state = call(
                query[:, :, here], key[:, :, here], value[:, :, here],
                key_padding_mask=PADDING[:, here], initial_state=state,
            )  # fmt: skip
            pieces.append(piece)
            start += width
        assert_close(torch.cat(pieces, 2), whole)
    assert state.key.shape == (B, H, T, D)
    assert_close(state.output, whole)


def test_a_state_may_begin_without_padding():
    query, key, value = tensors()
    seen = torch.ones(B, T, dtype=torch.bool)
    seen[:, :100] = True
    seen[0, 120:130] = False
    call = partial(resolvent_attention, is_causal=True, return_state=True)
    whole, _ = call(query, key, value, key_padding_mask=seen)
    first, state = call(*(x[:, :, :100] for x in (query, key, value)))
    rest, _ = call(
        *(x[:, :, 100:] for x in (query, key, value)),
        key_padding_mask=seen[:, 100:], initial_state=state,
    )  # fmt: skip
    assert_close(torch.cat([first, rest], 2), whole)


def test_it_is_causal():
    query, key, value = tensors()
    assert_causal(partial(resolvent_attention, is_causal=True), [query, key, value], 90)
    assert_causal(partial(resolvent_attention, is_causal=True, hops=3), [query, key, value], 90)


def test_tiled_attention_can_be_walked():
    g = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(1, 2, 512, 16, generator=g) for _ in range(3))
    attend = partial(tiled_attention, query, key, is_causal=True, resolution=1.0)
    out = walk(attend, value, damping=0.5, hops=12)
    truth = resolvent_attention(query, key, value, damping=0.5, is_causal=True)
    assert (out - truth).abs().max() < 0.5**12 * float(value.max() - value.min()) + 1e-5


def test_float32_is_near_float64():
    inputs = tensors(torch.float32)
    for is_causal in (True, False):
        call = partial(resolvent_attention, damping=0.9, is_causal=is_causal, tolerance=1e-3)
        truth = call(*(x.double() for x in inputs))
        assert_close(call(*inputs), truth.float())


@pytest.mark.parametrize("damping", [0.9, 0.999, 1 - 1e-6])
@pytest.mark.parametrize("size", [1.0, 4.0])
def test_long_walks_keep_their_digits_in_single_precision(size, damping):
    query, key, value = tensors(torch.float32)
    call = partial(resolvent_attention, is_causal=True, damping=damping, scale=size)
    truth = call(*(x.double() for x in (query, key, value)))
    # Logits have an error of eps |q| |k|, which no sum can take back.
    rounding = torch.finfo(torch.float32).eps * max(1, size * float((query @ key.mT).abs().max()))
    assert (call(query, key, value) - truth).abs().max() < 20 * rounding


def test_sharp_attention_is_finite_with_its_gradients():
    query, key, value = (x.requires_grad_() for x in tensors(torch.float32))
    out = resolvent_attention(query, key, value, is_causal=True, damping=0.999, scale=1e3)
    assert out.abs().max() <= value.abs().max() * (1 + 1e-5)
    for grad in torch.autograd.grad(out.sum(), (query, key, value)):
        assert grad.isfinite().all()


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 128, 129])
def test_ends_of_chunks(length):
    query, key, value = tensors(length=length)
    mask = PADDING[:, :length]
    call = partial(
        resolvent_attention, query, key, value, is_causal=True, key_padding_mask=mask, damping=0.7
    )
    out, state = call(return_state=True)
    assert_close(out, call(implementation="reference"))
    assert state.output.shape == (B, H, length, E)
    none = [x[:, :, :0] for x in (query, key, value)]
    held, same = resolvent_attention(*none, is_causal=True, initial_state=state, return_state=True)
    assert held.shape == (B, H, 0, E)
    assert torch.equal(same.output, state.output)


def test_gradients_go_through_the_state():
    def pieces(*inputs):
        call = partial(resolvent_attention, is_causal=True, damping=0.8, return_state=True)
        _, state = call(*inputs[:3])
        return call(*inputs[3:], initial_state=state)[0]

    inputs = [x[:1, :1, :, :3].detach() for n in (2, 2) for x in tensors(length=n)]
    assert torch.autograd.gradcheck(pieces, [x.requires_grad_() for x in inputs])


@pytest.mark.parametrize(
    "change",
    [
        lambda s: ResolventState(s.key[:, :1], s.output[:, :1]),
        lambda s: ResolventState(s.key[:1], s.output[:1]),
        lambda s: ResolventState(s.key[..., 1:], s.output),
        lambda s: ResolventState(s.key, s.output[..., 1:]),
        lambda s: ResolventState(s.key, s.output[:, :, 1:]),
        lambda s: ResolventState(s.key.float(), s.output.float()),
        lambda s: ResolventState(s.key, s.output, torch.ones(B, 3, dtype=torch.bool)),
        lambda s: ResolventState(s.key, s.output, torch.ones(B, T)),
        lambda s: (s.key, s.output),
    ],
)
def test_states_that_do_not_fit_are_refused(change):
    inputs = tensors()
    _, state = resolvent_attention(*inputs, is_causal=True, return_state=True)
    with pytest.raises(ArgumentError, match=r"^initial_state: "):
        resolvent_attention(*inputs, is_causal=True, initial_state=change(state))


def test_double_derivatives():
    inputs = [x.requires_grad_() for x in tensors(length=3)]
    inputs = [x[:1, :1, :, :3].detach().requires_grad_() for x in inputs]
    call = partial(resolvent_attention, is_causal=True, damping=0.7)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_the_choice_is_explained():
    assert explain_resolvent_attention(is_causal=True).implementation == "solve"
    assert explain_resolvent_attention(is_causal=False).implementation == "hops"
    assert explain_resolvent_attention(is_causal=True, hops=3).implementation == "hops"
    pinned = explain_resolvent_attention(is_causal=True, implementation="reference")
    assert str(pinned) == "reference: pinned by the caller"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("damping", {"damping": 1.0}),
        ("damping", {"damping": -0.1}),
        ("damping", {"damping": float("nan")}),
        ("hops", {"hops": -1}),
        ("hops", {"hops": 1.5}),
        ("tolerance", {"tolerance": 0.0}),
        ("is_causal", {"implementation": "solve"}),
        ("hops", {"implementation": "solve", "is_causal": True, "hops": 2}),
        ("truncated", {"is_causal": True, "truncated": True}),
        ("hops", {"implementation": "reference", "hops": 2}),
        ("return_state", {"return_state": True}),
        ("return_state", {"return_state": True, "is_causal": True, "hops": 2}),
        ("initial_state", {"initial_state": ResolventState(*tensors()[1:])}),
        ("implementation", {"implementation": "fast"}),
        ("key_padding_mask", {"key_padding_mask": torch.ones(B, 3, dtype=torch.bool)}),
    ],
)
def test_what_does_not_fit_is_named(name, settings):
    with pytest.raises(ArgumentError, match=rf"^{name}: "):
        resolvent_attention(*tensors(), **settings)


def test_other_tokens_half_precision_and_changed_shapes_are_refused():
    query, key, value = tensors()
    with pytest.raises(ArgumentError, match=r"^key: .*a walk goes on"):
        resolvent_attention(query[:, :, :5], key, value)
    with pytest.raises(ArgumentError, match=r"^query: .*float32"):
        resolvent_attention(query.half(), key.half(), value.half())
    with pytest.raises(ArgumentError, match=r"^attend: "):
        walk(lambda z: z[..., :1], value, damping=0.5, hops=1)
