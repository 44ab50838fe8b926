"""The comparison of memories must fail on each thing that may differ."""

from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.ops.linear_attention import linear_attention
from adaptive_attention_tiling.testing import assert_same_memory


@pytest.fixture
def state():
    query, key, value = torch.randn(3, 1, 2, 5, 4)
    _, state = linear_attention(
        query, key, value, is_causal=True, window=3, sinks=1, return_state=True
    )
    return state


def test_a_memory_is_the_same_as_itself(state):
    assert_same_memory(state, replace(state, values=state.values.clone()))


@pytest.mark.parametrize(
    "name", ["values", "mass", "level", "key", "value", "gate", "sink_key", "sink_value", "length"]
)
def test_any_difference_is_told_by_name(state, name):
    changed = getattr(state, name).clone()
    changed.view(-1)[-1] = 7
    with pytest.raises(AssertionError, match=name):
        assert_same_memory(replace(state, **{name: changed}), state)


def test_a_window_is_not_another_one(state):
    with pytest.raises(AssertionError):
        assert_same_memory(replace(state, rollback_limit=1), state)
