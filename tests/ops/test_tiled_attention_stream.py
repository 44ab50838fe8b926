"""A sequence in pieces, or token by token, is the sequence at once."""

import pytest
import torch

from adaptive_attention_tiling.ops.tiled_attention import (
    TiledAttentionConfig,
    TiledState,
    tiled_attention,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

T = 75
CONTROLS = [{"tolerance": 0.1}, {"tolerance": 0.7, "certified": True}, {"budget": 0.3}]
controls = pytest.mark.parametrize("control", CONTROLS, ids=str)


def streamed(inputs, edges, layout, mask=None, **control):
    """Outputs of pieces that end at `edges`, and the state after the last."""
    query, key, value = inputs
    query = query * query.shape[-1] ** -0.5
    state = TiledState(layout, TiledAttentionConfig(layout=layout, **control).control())
    outs, start = [], 0
    for end in [*edges, query.shape[2]]:
        valid = None if mask is None else mask[:, start:end]
        state.append(key[:, :, start:end], value[:, :, start:end], valid)
        outs.append(state.answer(query[:, :, start:end]))
        assert state.answered == state.length == end
        start = end
    return torch.cat(outs, 2), state


def at_once(inputs, layout, mask=None, **control):
    rules = {"is_causal": True, "enable_gqa": True, "layout": layout}
    return tiled_attention(*inputs, **rules, key_padding_mask=mask, return_report=True, **control)


def assert_same_reading(inputs, edges, layout, mask=None, **control):
    out, state = streamed(inputs, edges, layout, mask, **control)
    expected, report = at_once(inputs, layout, mask, **control)
    assert_close(out, expected)
    assert state.store is not None
    assert_bit_equal(state.store.positions.view(report.tiles.shape), report.tiles, what="tiles")


@controls
@pytest.mark.parametrize(
    "edges", [[], [1], [16], [47], [48], [49], [15, 16, 17], [40, 41, 74], [33, 64]], ids=str
)
def test_pieces_equal_the_whole(edges, control, clustered, tiny):
    assert_same_reading(clustered(T), edges, tiny, **control)


@controls
def test_token_by_token_equals_the_whole(control, clustered, tiny):
    assert_same_reading(clustered(T, B=1), range(1, T), tiny, **control)


@pytest.mark.parametrize("sides", [{"left": 9}, {"left": 25}, {"right": 4}], ids=str)
@controls
def test_padded_pieces_equal_the_whole(control, sides, clustered, padding, tiny):
    mask = padding(T, **sides)
    assert_same_reading(clustered(T), [20, 50, 51], tiny, mask, **control)


def test_prefill_and_decode_in_float32(clustered, tiny):
    inputs = clustered(T, dtype=torch.float32)
    out, _ = streamed(inputs, range(60, T), tiny, budget=0.3)
    assert_close(out, at_once(inputs, tiny, budget=0.3)[0])


def test_a_state_keeps_what_it_was_given(draw, tiny):
    inputs = draw(T)
    _, state = streamed(inputs, [3, 40, 41], tiny, tolerance=0.1)
    assert_bit_equal(state.key, inputs.key)
    assert_bit_equal(state.value, inputs.value)


def test_a_mask_may_come_before_the_tokens_it_speaks_of(draw, padding, tiny):
    inputs, mask = draw(T), padding(T, left=6)
    query = inputs.query * 8**-0.5
    state = TiledState(tiny, TiledAttentionConfig(tolerance=0.1, layout=tiny).control())
    outs = []
    for piece in (slice(0, 50), slice(50, T)):
        state.append(inputs.key[:, :, piece], inputs.value[:, :, piece])
        state.see(mask[:, : piece.stop])
        outs.append(state.answer(query[:, :, piece]))
    expected, _ = at_once(inputs, tiny, mask, tolerance=0.1)
    assert_close(torch.cat(outs, 2), expected)


def test_keys_in_half_precision_are_read_in_float32(clustered, tiny):
    query, key, value = clustered(T, dtype=torch.bfloat16)
    half = streamed((query.float(), key, value), [50], tiny, tolerance=0.1)[0]
    full = streamed((query.float(), key.float(), value.float()), [50], tiny, tolerance=0.1)[0]
    assert half.dtype == torch.float32
    assert_close(half, full)


def test_one_step_reads_less_than_everything(clustered, tiny):
    """A tile's tokens may be poisoned once nobody is to open it."""
    inputs = clustered(T)
    _, state = streamed(inputs, [], tiny, budget=0.0)
    assert state.store is not None
    state.store.keys.fill_(float("nan"))
    state.store.values.fill_(float("nan"))
    state.append(inputs.key[:, :, :1], inputs.value[:, :, :1])
    assert bool(torch.isfinite(state.answer(inputs.query[:, :, :1])).all())
