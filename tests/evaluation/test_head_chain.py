"""Walks along attention between blocks: hand-worked ones, and their laws on random heads."""

import math
from itertools import pairwise

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import (
    AttentionRows,
    HeadChain,
    attention_rows,
    head_chain,
)
from adaptive_attention_tiling.mathematics.dynamics import MarkovChain


def random_rows(tokens=90, count=30, is_causal=True, sharp=2.0):
    query, key = torch.randn(2, tokens, 8)
    return attention_rows(query * sharp, key, rows=count, is_causal=is_causal)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize(("tokens", "count", "blocks"), [(90, 90, 7), (101, 30, 64), (101, 30, 14)])
def test_hops_are_means_over_rows_of_sums_over_keys(tokens, count, blocks, is_causal):
    rows = random_rows(tokens, count, is_causal)
    found = head_chain(rows, blocks=blocks)
    starts = [0, *found.ends.tolist()]
    assert starts[-1] == tokens
    assert len(found.ends) == {(90, 7): 7, (30, 64): 30, (30, 14): 14}[count, blocks]
    for b, (first, end) in enumerate(pairwise(starts)):
        inside = (rows.queries >= first) & (rows.queries < end)
        for c, (left, right) in enumerate(pairwise(starts)):
            expected = rows.weights[inside, left:right].sum(1).mean()
            torch.testing.assert_close(found.hops.transitions[b, c], expected)


def test_blocks_number_half_the_rows_where_stretches_would_not_fill_them():
    assert len(head_chain(random_rows(90, 30), blocks=20).ends) == 15


def test_a_causal_walk_is_absorbed_and_its_law_is_that_of_restarts():
    found = head_chain(random_rows(), damping=0.6)
    size = len(found.ends)
    assert found.is_absorbed
    first = torch.eye(size, dtype=torch.float64)[0]
    torch.testing.assert_close(found.hops.stationary(), first)
    # By the series: a restart k hops ago, with chance 0.4 0.6^k.
    term, total = torch.full((size,), 1 / size, dtype=torch.float64), torch.zeros(size).double()
    for k in range(200):
        total += 0.4 * 0.6**k * term
        term = term @ found.hops.transitions
    torch.testing.assert_close(found.stationary, total)
    assert found.walk is not found.hops


def test_a_walk_both_ways_has_its_own_law():
    found = head_chain(random_rows(is_causal=False))
    assert not found.is_absorbed
    assert found.walk is found.hops
    far = torch.linalg.matrix_power(found.hops.transitions, 4096)
    torch.testing.assert_close(found.stationary, far[3])


def test_what_two_blocks_that_are_read_unequally_come_to():
    weights = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64)
    found = head_chain(AttentionRows(torch.arange(2), weights, False))
    law = torch.tensor([5 / 6, 1 / 6], dtype=torch.float64)
    torch.testing.assert_close(found.stationary, law)
    assert found.law_entropy == pytest.approx(float(-(law * law.log()).sum()))
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert found.entropy_rate == pytest.approx((5 * entropy + math.log(2)) / 6)
    # The distance is 5/6 0.4^t at most: 0.33 after one hop, 0.13 after two.
    assert found.mixing_time() == 2
    assert found.mixing_time(0.5) == 1
    assert found.residual == pytest.approx(0, abs=1e-15)


def test_mixing_of_a_causal_walk_is_the_time_to_the_first_block():
    stay = 0.9
    weights = torch.tensor([[1, 0], [1 - stay, stay]], dtype=torch.float64)
    found = head_chain(AttentionRows(torch.arange(2), weights, True))
    assert found.mixing_time() == math.ceil(math.log(0.25) / math.log(stay))


def test_a_head_that_reads_only_itself_never_mixes_and_has_no_law_of_its_own():
    own = torch.eye(4, dtype=torch.float64)
    both = head_chain(AttentionRows(torch.arange(4), own, False))
    assert both.stationary is None
    for figure in (both.residual, both.law_entropy, both.entropy_rate, both.mixing_time()):
        assert math.isnan(figure)
    causal = head_chain(AttentionRows(torch.arange(4), own, True))
    torch.testing.assert_close(causal.stationary, torch.full((4,), 1 / 4).double())
    assert math.isnan(causal.mixing_time())


class Inaccurate(MarkovChain):
    """Solved as badly as parts of a text that hardly meet can make it."""

    def stationary(self):
        return super().stationary() * 1.0005


def test_a_law_that_is_lost_in_rounding_is_none():
    found = head_chain(random_rows(is_causal=False))
    bad = Inaccurate(found.hops.transitions)
    lost = HeadChain(found.ends, bad, bad, False)
    assert found.stationary is not None
    assert lost.stationary is None
    for figure in (lost.residual, lost.law_entropy, lost.entropy_rate, lost.mixing_time()):
        assert math.isnan(figure)


@pytest.mark.parametrize("tokens", [1, 2, 3, 200])
@pytest.mark.parametrize("is_causal", [True, False])
def test_entropy_rates_stay_below_the_entropy_of_the_law(tokens, is_causal):
    found = head_chain(random_rows(tokens, 64, is_causal), blocks=16)
    size = min(tokens, 16)
    assert len(found.ends) == size
    assert -1e-12 <= found.entropy_rate <= found.law_entropy + 1e-12
    assert found.law_entropy <= math.log(size) + 1e-12
    assert found.residual < 1e-12
    assert float(found.stationary.sum()) == pytest.approx(1)


def test_bad_arguments_are_named():
    rows = random_rows()
    for given, name in (({"blocks": 0}, "blocks"), ({"damping": 1.0}, "damping")):
        with pytest.raises(ArgumentError, match=rf"^{name}"):
            head_chain(rows, **given)
    with pytest.raises(ArgumentError, match=r"^damping"):
        head_chain(rows, damping=0.0)
    late = attention_rows(*torch.randn(2, 90, 8), rows=30, first=45)
    with pytest.raises(ArgumentError, match=r"^rows: got none in 15 of 30 blocks"):
        head_chain(late)
