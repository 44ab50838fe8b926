"""Entropies and ranks of rows that are known by hand, and their bounds on random heads."""

import math

import pytest
import torch

from adaptive_attention_tiling.evaluation.diagnostics import (
    AttentionRows,
    attention_rows,
    head_entropy,
)


def rows_of(weights, is_causal=False, queries=None):
    weights = torch.as_tensor(weights, dtype=torch.float64)
    queries = torch.arange(len(weights)) if queries is None else torch.tensor(queries)
    return AttentionRows(queries, weights, is_causal)


def test_rows_without_a_common_key_are_all_told_apart():
    found = head_entropy(rows_of(torch.eye(6)))
    assert found.shannon == 0
    assert found.shannon_share == 0
    assert found.von_neumann == pytest.approx(math.log(6))
    assert found.von_neumann_share == pytest.approx(1)
    assert found.effective_rank == pytest.approx(6)


def test_equal_rows_are_one():
    found = head_entropy(rows_of(torch.full((5, 8), 1 / 8)))
    assert found.shannon == pytest.approx(math.log(8))
    assert found.shannon_share == pytest.approx(1)
    assert found.von_neumann == pytest.approx(0, abs=1e-12)
    assert found.von_neumann_share == pytest.approx(0, abs=1e-12)
    assert found.effective_rank == pytest.approx(1)


def test_two_kinds_of_rows_in_shares_of_a_quarter_and_three():
    weights = [[0.5, 0.5, 0, 0]] + 3 * [[0, 0, 1, 0]]
    found = head_entropy(rows_of(weights))
    shares = torch.tensor([0.25, 0.75], dtype=torch.float64)
    assert found.von_neumann == pytest.approx(float(-(shares * shares.log()).sum()))
    assert found.shannon == pytest.approx(math.log(2) / 4)
    sizes = torch.tensor([0.5**0.5, 3**0.5], dtype=torch.float64)
    sizes = sizes / sizes.sum()
    assert found.effective_rank == pytest.approx(float((-(sizes * sizes.log()).sum()).exp()))


def test_shares_count_the_keys_that_a_causal_row_sees():
    weights = [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4]
    causal = head_entropy(rows_of(weights, True, [0, 1, 3]))
    assert causal.shannon_share == pytest.approx(1)
    both = head_entropy(rows_of(weights, False, [0, 1, 3]))
    assert both.shannon_share == pytest.approx((0 + 0.5 + 1) / 3)


def test_the_gram_matrix_stands_for_the_state_on_all_keys():
    weights = torch.rand(7, 30, dtype=torch.float64).softmax(1)
    state = (weights.sqrt()[:, :, None] * weights.sqrt()[:, None]).mean(0)
    values = torch.linalg.eigvalsh(state).clamp(min=1e-300)
    expected = float(-(values * values.log()).sum())
    assert head_entropy(rows_of(weights)).von_neumann == pytest.approx(expected)


@pytest.mark.parametrize("tokens", [1, 2, 40])
@pytest.mark.parametrize("is_causal", [True, False])
def test_bounds_hold_on_random_heads_of_any_length(tokens, is_causal):
    query, key = torch.randn(2, tokens, 8)
    rows = attention_rows(query * 3, key, rows=16, is_causal=is_causal)
    found, count = head_entropy(rows), min(tokens, 16)
    assert 0 <= found.shannon <= math.log(tokens) + 1e-12
    assert 1 - 1e-9 <= found.effective_rank <= count + 1e-9
    assert -1e-12 <= found.von_neumann <= math.log(count) + 1e-12
    assert math.isnan(found.von_neumann_share) == (count == 1)
    assert math.isnan(found.shannon_share) == (tokens == 1)
