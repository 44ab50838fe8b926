"""The attention path: its special cases, causality, and texts in pieces."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.layers import (
    AdaptiveTiledAttentionConfig,
    ProjectionConfig,
    SoftmaxAttentionConfig,
    make_mixer,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.ops.tiled_attention import TileLayout, tiled_attention
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

B, T, C = 2, 75, 16
TINY = TileLayout(super_block=16, tile=4, group=2, window=16, scouts=6, sinks=2)
BARE = replace(TINY, sinks=0)
PLAIN = ProjectionConfig(width=C, heads=4)
FURNISHED = replace(PLAIN, key_value_heads=2, rotary_base=100.0, qk_norm=True, convolution_width=3)

SETTINGS = {
    "tolerance": {"tolerance": 0.1},
    "certified": {"tolerance": 0.7, "certified": True},
    "budget": {"budget": 0.3},
    "means": {"resolution": 0.25},
    "dropped": {"resolution": 0.0},
    "near only": {"resolution": 0.0, "layout": BARE},
    "near only, without neighbours": {"resolution": 0.0, "layout": replace(BARE, window=0)},
}


def mixer_of(projection=PLAIN, **settings):
    config = AdaptiveTiledAttentionConfig(**{"projection": projection, "layout": TINY} | settings)
    torch.manual_seed(1)
    return make_mixer(config).double()


@pytest.fixture(params=SETTINGS)
def settings(request):
    return SETTINGS[request.param]


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def softmax_like(mixer):
    """A SoftmaxAttention with the same weights."""
    twin = make_mixer(SoftmaxAttentionConfig(projection=mixer.config.projection)).double()
    twin.load_state_dict(mixer.state_dict())
    return twin


def heads_of(mixer, x):
    return mixer.projections(x, None)[0]


EVERYTHING = [{"tolerance": 0.0}, {"budget": 1.0}, {"resolution": 1.0}]


@pytest.mark.parametrize("settings", EVERYTHING, ids=str)
@pytest.mark.parametrize("projection", [PLAIN, FURNISHED], ids=["plain", "furnished"])
def test_resolution_one_is_softmax_attention(x, settings, projection):
    mixer = mixer_of(projection, **settings)
    expected = softmax_like(mixer)(x)
    assert_close(mixer(x), expected, row="special_case")
    assert_close(mixer(x, return_state=True)[0], expected, row="special_case")


def test_zeros_and_ones_are_masked_attention_over_the_chosen_keys(x):
    mixer = mixer_of(budget=0.3, layout=replace(TINY, rest="drop"))
    out, resolution = mixer(x), mixer.report.resolution
    assert set(resolution[~resolution.isnan()].unique().tolist()) == {0.25, 1.0}
    chosen = (resolution == 1).repeat_interleave(4, 3)  # [B, H, blocks, keys in tile order]
    seen = torch.zeros(B, 4, T, T, dtype=torch.bool)
    at = mixer.report.tiles.flatten(2)
    for block in range(chosen.shape[2]):
        rows = slice(16 * block, min(16 * block + 16, T))
        by_key = torch.zeros(B, 4, T, dtype=torch.bool).scatter(2, at, chosen[:, :, block])
        seen[:, :, rows] = by_key[:, :, None]
    token = torch.arange(T)
    near = (token[:, None] // 16 - token // 16 <= 1) | (token < 2)
    seen = (seen | near) & torch.ones(T, T, dtype=torch.bool).tril()
    assert_close(out, softmax_like(mixer)(x, attn_mask=seen), row="special_case")


def test_a_constant_resolution_reads_far_tiles_through_means(x):
    mixer = mixer_of(resolution=0.25, layout=replace(BARE, order="contiguous"))
    query, key, value = heads_of(mixer, x)
    means = [t[:, :, :48].unflatten(2, (12, 4)).mean(3) for t in (key, value)]
    rows = slice(64, T)  # their near field starts at token 48
    keys, values = (
        torch.cat([m, t[:, :, 48:]], 2) for m, t in zip(means, (key, value), strict=True)
    )
    weight = torch.full((12 + T - 48,), 0.0, dtype=torch.float64)
    weight[:12] = math.log(4)
    causal = torch.ones(T - 64, T - 48, dtype=torch.bool).tril(16)
    bias = torch.zeros(T - 64, 12 + T - 48, dtype=torch.float64) + weight
    bias[:, 12:].masked_fill_(~causal, -torch.inf)
    heads = scaled_dot_product_attention(query[:, :, rows], keys, values, attn_mask=bias)
    assert_close(mixer(x)[:, rows], mixer.projections.output(heads, x[:, rows]))


def test_the_near_field_alone_is_what_tiled_attention_reads_without_tiles(x):
    for layout in (BARE, replace(BARE, window=0), replace(BARE, window=32)):
        mixer = mixer_of(FURNISHED, resolution=0.0, layout=layout)
        heads = heads_of(mixer, x)
        rules = {"is_causal": True, "enable_gqa": True, "resolution": 0.0, "layout": layout}
        expected = mixer.projections.output(tiled_attention(*heads, **rules), x)
        assert_close(mixer(x), expected)
        assert (mixer(x) - softmax_like(mixer)(x)).abs().max() > 1e-3


@pytest.mark.parametrize("position", [1, 30, 47, 48, 66])
def test_no_token_sees_a_later_one(settings, x, position):
    assert_causal(mixer_of(FURNISHED, **settings), [x], position)


@pytest.mark.parametrize("cuts", [[1], [16], [20, 50, 51], [47, 48, 49, 70], range(1, T)], ids=str)
def test_pieces_give_what_the_whole_gives(settings, x, cuts):
    mixer = mixer_of(FURNISHED, **settings)
    state, pieces, start = None, [], 0
    for end in (*cuts, T):
        piece, state = mixer(x[:, start:end], state=state, return_state=True)
        pieces.append(piece)
        start = end
    assert_close(torch.cat(pieces, 1), mixer(x))


def test_a_state_is_not_changed_by_going_on_from_it(settings, x):
    mixer = mixer_of(**settings)
    _, state = mixer(x[:, :46], return_state=True)
    _, state = mixer(x[:, 46:47], state=state, return_state=True)
    once = mixer(x[:, 47:], state=state)
    mixer(x[:, :9], state=state, return_state=True)
    assert_bit_equal(mixer(x[:, 47:], state=state), once)


def test_padding_on_the_right_changes_nothing(settings, x):
    mixer = mixer_of(**settings)
    padding = torch.ones(B, T, dtype=torch.bool)
    padding[0, 50:] = False
    out = mixer(x, attn_mask=padding)
    assert_close(out[:1, :50], mixer(x[:1, :50]))
    assert_close(out[1:], mixer(x[1:]))


def test_padding_on_the_left_of_the_near_field_is_not_seen(x):
    mixer = mixer_of(**SETTINGS["near only"])
    padding = torch.ones(B, T, dtype=torch.bool)
    padding[:, :20] = False
    other = torch.where(padding[..., None], x, 7.0)
    assert_bit_equal(mixer(other, attn_mask=padding)[:, 20:], mixer(x, attn_mask=padding)[:, 20:])


def test_gradients_in_pieces_are_those_of_the_whole(settings, x):
    mixer = mixer_of(**settings)
    x.requires_grad_()
    (whole,) = torch.autograd.grad(mixer(x).square().sum(), x)
    state, total = None, 0.0
    for part in x.split([20, 1, 1, 53], 1):
        out, state = mixer(part, state=state, return_state=True)
        total = total + out.square().sum()
    (pieces,) = torch.autograd.grad(total, x)
    assert_close(pieces, whole, gradient=True)


def test_without_causality_the_first_token_sees_the_last(settings, x):
    mixer = mixer_of(**settings)
    before = mixer(x[:, :16], is_causal=False)
    x[:, 15] += 1
    assert not torch.equal(mixer(x[:, :16], is_causal=False)[:, 0], before[:, 0])


def test_it_is_a_mixer_of_a_language_model():
    config = AdaptiveTiledAttentionConfig(projection=PLAIN, tolerance=0.1, layout=TINY)
    model = GPT(GPTConfig(vocabulary=11, width=C, depth=2, mixers=config)).double()
    tokens = torch.randint(11, (B, T))
    start, state = model(tokens[:, :60], return_state=True)
    rest = model(tokens[:, 60:], state=state)
    assert_close(torch.cat([start, rest], 1), model(tokens))


def test_a_mask_that_is_no_padding_is_refused(x):
    blind = torch.ones(1, 1, T, T, dtype=torch.bool)
    blind[..., -1, 2] = False
    with pytest.raises(UnsupportedError, match="AdaptiveTiledAttention"):
        mixer_of()(x, attn_mask=blind)


def test_two_settings_are_refused():
    with pytest.raises(ArgumentError, match="at most one"):
        AdaptiveTiledAttentionConfig(projection=PLAIN, tolerance=0.1, budget=0.1)
