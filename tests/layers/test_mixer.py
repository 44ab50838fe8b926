"""What holds for every mixer."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers import make_mixer
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

B, T, C = 2, 13, 12


@pytest.fixture
def mixer(config):
    return make_mixer(config).double()


@pytest.fixture
def mixer_without_order(config_without_order):
    return make_mixer(config_without_order).double()


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def in_pieces(mixer, x, cuts, masks=None):
    """The output of x given to a mixer in pieces that end at `cuts`, each with the state before."""
    state, pieces, start = None, [], 0
    for end in (*cuts, x.shape[1]):
        mask = None if masks is None else masks[:, start:end]
        piece, state = mixer(x[:, start:end], attn_mask=mask, state=state, return_state=True)
        pieces.append(piece)
        start = end
    return torch.cat(pieces, 1)


def test_the_output_has_the_shape_of_the_input(mixer, x):
    out = mixer(x)
    assert out.shape == x.shape
    assert out.isfinite().all()


@pytest.mark.parametrize("position", [1, 6, T - 1])
def test_a_token_does_not_see_those_after_it(mixer, x, position):
    assert_causal(mixer, [x], position)


def test_without_causality_the_first_token_sees_the_last(mixer_without_order, x):
    before = mixer_without_order(x, is_causal=False)
    x[:, -1] += 1
    assert not torch.equal(mixer_without_order(x, is_causal=False)[:, 0], before[:, 0])


@pytest.mark.parametrize("cuts", [range(1, T), (1,), (5, 6), (12,)], ids=str)
def test_pieces_give_what_the_whole_gives(mixer, x, cuts):
    assert_close(in_pieces(mixer, x, cuts), mixer(x))


def test_a_state_is_not_changed_by_going_on_from_it(mixer, x):
    _, state = mixer(x[:, :5], return_state=True)
    once = mixer(x[:, 5:], state=state)
    mixer(x[:, :1], state=state, return_state=True)
    assert_bit_equal(mixer(x[:, 5:], state=state), once)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(mixer, x, side):
    assert_padding_changes_nothing(mixer, x, side, is_causal=True)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing_without_causality(mixer_without_order, x, side):
    assert_padding_changes_nothing(mixer_without_order, x, side, is_causal=False)


def assert_padding_changes_nothing(mixer, x, side, *, is_causal):
    padding = torch.ones(B, T, dtype=torch.bool)
    text = slice(4, T) if side == "left" else slice(0, T - 4)
    padding[0] = False
    padding[0, text] = True
    out = mixer(x, attn_mask=padding, is_causal=is_causal)
    assert_close(out[:1, text], mixer(x[:1, text], is_causal=is_causal), what="padded text")
    assert_close(out[1:], mixer(x[1:], is_causal=is_causal), what="text beside it")


@pytest.mark.parametrize("side", ["left", "right"])
def test_generation_goes_on_after_padding(mixer, x, side):
    padding = torch.ones(B, T, dtype=torch.bool)
    text = list(range(4, 9) if side == "left" else range(5))
    padding[0, :9] = False
    padding[0, text] = True
    alone = mixer(x[:1, [*text, *range(9, T)]])[:, len(text) :]
    out = in_pieces(mixer, x, (9, 10), padding)
    assert_close(out[:1, 9:], alone)


def padded():
    padding = torch.ones(B, T, dtype=torch.bool)
    padding[0, :3] = False
    padding[1, -2:] = False
    return padding


def forms(dtype=torch.float64):
    padding = padded()
    square = padding[:, None, None] & torch.ones(T, T, dtype=torch.bool).tril()
    closed = torch.zeros(B, 1, T, T, dtype=dtype)
    return {
        "[B, 1, 1, T]": padding[:, None, None],
        "[B, 1, T, T]": square,
        "padding sees others": square | ~(padding[:, None, :, None] | torch.eye(T).bool()),
        "one for each head": square.expand(-1, 4, -1, -1),
        "not causal itself": padding[:, None, None].expand(-1, 1, T, -1),
        "0 and -inf": closed.masked_fill(~square, -torch.inf),
        "0 and lowest": closed.masked_fill(~square, torch.finfo(dtype).min),
        "0 and -inf [B, T]": closed[:, 0, 0].masked_fill(~padding, -torch.inf),
    }


@pytest.mark.parametrize("form", forms())
def test_all_forms_of_a_mask_say_the_same(mixer, x, form):
    seen = padded()
    out, expected = mixer(x, attn_mask=forms()[form]), mixer(x, attn_mask=seen)
    assert_close(out[seen], expected[seen])


def test_a_causal_mask_makes_attention_causal(mixer, x):
    mask = torch.ones(1, 1, T, T, dtype=torch.bool).tril()
    assert_close(mixer(x, attn_mask=mask, is_causal=False), mixer(x))


def test_gradients_reach_every_parameter(mixer, x):
    (mixer(x) * torch.randn_like(x)).sum().backward()
    unreached = [
        name for name, p in mixer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert unreached == []


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ({"attn_mask": torch.ones(B, T, dtype=torch.long)}, "attn_mask"),
        ({"attn_mask": torch.ones(B, T + 1, dtype=torch.bool)}, "attn_mask"),
        ({"is_causal": False, "return_state": True}, "is_causal"),
    ],
)
def test_what_cannot_be_is_refused_by_name(mixer, x, call, name):
    with pytest.raises(ArgumentError) as refusal:
        mixer(x, **call)
    assert refusal.value.name == name


@pytest.mark.parametrize("shape", [(T, C), (B, T, C + 1), (B, 0, C)])
def test_a_wrong_shape_is_refused(mixer, shape):
    with pytest.raises(ArgumentError) as refusal:
        mixer(torch.zeros(shape, dtype=torch.float64))
    assert refusal.value.name == "x"


def test_only_configs_make_mixers():
    with pytest.raises(ArgumentError, match="SoftmaxAttentionConfig"):
        make_mixer("softmax")
