"""Masses and distances of rows that are known by hand."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import (
    AttentionRows,
    attention_rows,
    head_reach,
)


def rows_of(queries, *weights, is_causal=True):
    return AttentionRows(
        torch.tensor(queries), torch.tensor(weights, dtype=torch.float64), is_causal
    )


def test_shares_and_distances_of_two_rows():
    rows = rows_of(
        [3, 5], [0.4, 0.3, 0.2, 0.1, 0, 0], [0.1, 0.1, 0.1, 0.1, 0.2, 0.4], is_causal=True
    )
    found = head_reach(rows, sinks=1, windows=(1, 2, 6))
    assert found.sink == pytest.approx((0.4 + 0.1) / 2)
    assert found.own == pytest.approx((0.1 + 0.4) / 2)
    assert found.previous == pytest.approx((0.2 + 0.2) / 2)
    assert found.windows == pytest.approx({1: 0.25, 2: 0.45, 6: 1})
    # Beyond the first token: 0.6 of one row and 0.9 of the other, together.
    distances = {0: 0.5, 1: 0.4, 2: 0.3 + 0.1, 3: 0.1, 4: 0.1}
    mean = sum(d * mass for d, mass in distances.items()) / 1.5
    assert found.mean_distance == pytest.approx(mean)
    assert found.median_distance == 1


def test_rows_of_the_sink_itself_are_left_out_of_causal_sinks_only():
    weights = [[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.2, 0.2, 0.3, 0.3]]
    causal = head_reach(rows_of([0, 1, 3], *weights), sinks=2)
    assert causal.sink == pytest.approx(0.4)
    both = head_reach(rows_of([0, 1, 3], *weights, is_causal=False), sinks=2)
    assert both.sink == pytest.approx((1 + 1 + 0.4) / 3)


def test_keys_on_both_sides_are_as_far():
    rows = rows_of([2], [0.1, 0.2, 0.3, 0.2, 0.2], is_causal=False)
    found = head_reach(rows, sinks=0, windows=(1, 2))
    assert found.windows == pytest.approx({1: 0.3, 2: 0.7})
    assert found.mean_distance == pytest.approx(0.4 + 2 * 0.3)
    assert found.previous == pytest.approx(0.2)
    assert found.sink == 0


def test_a_head_that_reads_the_token_before_it():
    weights = torch.eye(20, dtype=torch.float64).roll(-1, 1).tril()
    weights[0, 0] = 1
    found = head_reach(AttentionRows(torch.arange(20), weights, True))
    assert found.previous == pytest.approx(19 / 20)
    assert found.median_distance == 1
    assert found.windows[16] == pytest.approx(1)


@pytest.mark.parametrize("is_causal", [True, False])
def test_two_tokens_have_no_rows_after_the_sinks_and_nothing_beyond(is_causal):
    found = head_reach(attention_rows(*torch.randn(2, 2, 4), is_causal=is_causal))
    assert math.isnan(found.sink) == is_causal
    assert math.isnan(found.mean_distance)
    assert math.isnan(found.median_distance)
    assert found.windows[16] == pytest.approx(1)


@pytest.mark.parametrize(("given", "name"), [({"sinks": -1}, "sinks"), ({"windows": (0,)}, "wind")])
def test_bad_arguments_are_named(given, name):
    with pytest.raises(ArgumentError, match=rf"^{name}"):
        head_reach(rows_of([0], [1.0]), **given)
