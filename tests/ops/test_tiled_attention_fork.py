"""A fork of a state goes on by itself."""

from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.ops.tiled_attention import TiledAttentionConfig, TiledState
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

T = 75


def started(inputs, layout, length):
    """A state whose buffers have room behind the last token."""
    state = TiledState(layout, TiledAttentionConfig(tolerance=0.1, layout=layout).control())
    go_on(state, inputs, 0, length - 1)
    go_on(state, inputs, length - 1, length)
    return state


def go_on(state, inputs, start, end):
    query, key, value = (x[:, :, start:end] for x in inputs)
    state.append(key, value)
    return state.answer(query * query.shape[-1] ** -0.5)


@pytest.mark.parametrize("length", [15, 16, 40])
def test_neither_changes_the_other(length, clustered, tiny):
    inputs, other = clustered(T), clustered(T, seed=1)
    expected = go_on(started(inputs, tiny, length), inputs, length, T)
    state = started(inputs, tiny, length)
    forks = state.fork(), state.fork(), state.fork()
    for at in range(length, T):  # step by step, so that all want the same room at once
        go_on(forks[1], other, at, at + 1)
        go_on(forks[2], inputs, at, at + 1)
    assert state.length == length
    assert_bit_equal(forks[2].key, inputs.key)
    assert_bit_equal(forks[1].key[:, :, length:], other.key[:, :, length:])
    assert_bit_equal(go_on(forks[0], inputs, length, T), expected)


def test_a_chain_of_forks_copies_tokens_seldom(clustered, tiny):
    inputs = clustered(T)
    state, places = started(inputs, tiny, 8), set()
    for at in range(8, T):
        state = state.fork()
        go_on(state, inputs, at, at + 1)
        places.add(state.key.data_ptr())
    assert len(places) <= 4  # room for 16, 32, 64 and 128 tokens


def test_gradients_flow_through_pieces(clustered, tiny):
    inputs = [x.requires_grad_() for x in clustered(T, H=2)]
    bare = replace(tiny, sinks=0)  # so that the near field is a view of the buffer
    whole = torch.autograd.grad(in_pieces(inputs, bare, [T]).square().sum(), inputs)
    pieces = torch.autograd.grad(in_pieces(inputs, bare, [20, 21, 22, T]).square().sum(), inputs)
    for name, mine, expected in zip(("query", "key", "value"), pieces, whole, strict=True):
        assert_close(mine, expected, gradient=True, what=name)


def in_pieces(inputs, layout, edges):
    state = TiledState(layout, TiledAttentionConfig(tolerance=0.1, layout=layout).control())
    outs, start = [], 0
    for end in edges:
        outs.append(go_on(state, inputs, start, end))
        start = end
    return torch.cat(outs, 2)
