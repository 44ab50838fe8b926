"""Changing tokens from one position on leaves every output before it alone, bit for bit."""

from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.ops.tiled_attention import (
    TiledAttentionConfig,
    TiledState,
    tiled_attention,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal

T = 75
# Block start, just after it, inside, block end, first and last token.
POSITIONS = (1, 47, 48, 49, 56, 63, 64, 74)
CONTROLS = [
    {"tolerance": 0.02},
    {"tolerance": 0.3},
    {"tolerance": 0.5, "certified": True},
    {"budget": 0.3},
    {"resolution": 0.25},
]


@pytest.mark.parametrize(
    ("control", "dtype"),
    [*((control, torch.float32) for control in CONTROLS), (CONTROLS[0], torch.float64)],
    ids=str,
)
def test_the_future_is_not_read(control, dtype, draw, tiny):
    def attend(query, key, value):
        settings = {"is_causal": True, "enable_gqa": True, "layout": tiny}
        return tiled_attention(query, key, value, **settings, **control)

    for position in POSITIONS:
        assert_causal(attend, draw(T, B=1, dtype=dtype), position)


@pytest.mark.parametrize("control", [{"tolerance": 0.1}, {"budget": 0.3}], ids=str)
@pytest.mark.parametrize("sides", [{"left": 9}, {"right": 3}, {"left": 5, "right": 2}], ids=str)
def test_the_future_is_not_read_with_padding(sides, control, draw, padding, tiny):
    mask = padding(T, **sides)

    def attend(query, key, value):
        settings = {"is_causal": True, "enable_gqa": True, "layout": tiny}
        return tiled_attention(query, key, value, key_padding_mask=mask, **settings, **control)

    for position in (48, 49, 60):
        assert_causal(attend, draw(T), position)


@pytest.mark.parametrize(
    "change", [{"order": "contiguous"}, {"rest": "drop"}, {"window": 0}], ids=str
)
def test_the_future_is_not_read_in_other_layouts(change, draw, tiny):
    layout = replace(tiny, **change)

    def attend(*inputs):
        return tiled_attention(*inputs, is_causal=True, enable_gqa=True, layout=layout)

    for position in (47, 48, 49, 60):
        assert_causal(attend, draw(T, B=1), position)


@pytest.mark.parametrize("control", [{"tolerance": 0.2}, {"budget": 0.3}], ids=str)
def test_the_future_is_not_read_by_the_reference(control, draw, tiny):
    def attend(*inputs):
        settings = {"is_causal": True, "implementation": "reference", "layout": tiny}
        return tiled_attention(*inputs, **settings, **control)

    for position in (40, 48):
        assert_causal(attend, draw(52, B=1, H=1, G=1, D=4), position)


def test_the_future_is_not_read_by_a_state(draw, tiny):
    def attend(query, key, value):
        state = TiledState(tiny, TiledAttentionConfig(tolerance=0.1, layout=tiny).control())
        outs = []
        for piece in (slice(0, 20), slice(20, 50), slice(50, 51), slice(51, T)):
            state.append(key[:, :, piece], value[:, :, piece])
            outs.append(state.answer(query[:, :, piece]))
        return torch.cat(outs, 2)

    for position in (48, 50, 56):
        assert_causal(attend, draw(T, B=1), position)


@pytest.mark.parametrize("control", CONTROLS, ids=str)
def test_what_is_read_does_not_depend_on_the_future(control, draw, tiny):
    """A longer text has the tiles, resolutions and errors of its beginning."""
    settings = {"is_causal": True, "enable_gqa": True, "layout": tiny, "return_report": True}
    inputs = draw(96, B=1)
    _, whole = tiled_attention(*inputs, **settings, **control)
    _, start = tiled_attention(*(x[:, :, :64] for x in inputs), **settings, **control)
    tiles = start.tiles.shape[2]
    assert_bit_equal(whole.tiles[:, :, :tiles], start.tiles)
    expected = start.resolution.nan_to_num(-1)
    assert_bit_equal(whole.resolution[:, :, :4, :tiles].nan_to_num(-1), expected)
    assert bool(whole.resolution[:, :, :4, tiles:].isnan().all())
    difference = (whole.error_bound[:, :, :64] - start.error_bound).abs().max()
    assert difference <= 1e-12 * start.error_bound.max().clamp_min(1.0)
