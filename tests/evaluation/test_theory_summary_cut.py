import math

import pytest
import torch

from adaptive_attention_tiling.evaluation.theory.summary_cut import (
    LEAF,
    coarsest_cut,
    cut_growth,
    set_costs,
)


@pytest.fixture
def logits():
    return 3 * torch.randn(
        16 * LEAF, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def test_golden_costs_of_two_leaves():
    # Eight logits of 0, and eight of +-1: mean 0, mean_j e^x = cosh(1), s = 1.
    row = torch.cat([torch.zeros(8), torch.tensor([1.0, -1.0] * 4)]).double()
    leaves, (whole,) = set_costs(row)
    total = 8 + 8 * math.cosh(1)
    assert leaves.tolist() == pytest.approx([0, 2 * 8 / total * (math.cosh(1) - 1 + 1)])
    spread = math.sqrt(0.5)
    assert float(whole) == pytest.approx(2 * 16 / total * ((1 + math.cosh(1)) / 2 - 1 + spread))


def test_costs_bound_what_the_sets_lack(logits):
    """2 p mean|e^x - 1|, from the definition, is no more than the cost."""
    for level, costs in enumerate(set_costs(logits)):
        sets = logits.view(-1, LEAF << level)
        mean = sets.mean(1, keepdim=True)
        share = (mean[:, 0] - logits.logsumexp(0)).exp() * sets.shape[1]
        assert bool((2 * share * (sets - mean).expm1().abs().mean(1) <= costs + 1e-12).all())


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.3, 100.0])
def test_a_cut_covers_every_token_once(logits, tolerance):
    cut = coarsest_cut(logits, tolerance)
    runs = [*cut.closed, *((start, LEAF) for start in cut.opened)]
    tokens = sorted(token for start, size in runs for token in range(start, start + size))
    assert tokens == list(range(len(logits)))
    costs = set_costs(logits)
    spent = sum(
        float(costs[(size // LEAF).bit_length() - 1][start // size]) for start, size in cut.closed
    )
    assert spent <= tolerance + 1e-9


def test_a_cut_is_no_finer_than_it_need_be(logits):
    assert coarsest_cut(logits, 100.0) == ([(0, len(logits))], [], 1)
    everything = coarsest_cut(logits, 0.0)
    assert everything.rows == len(logits)
    rows = [coarsest_cut(logits, tolerance).rows for tolerance in (0.01, 0.1, 1.0)]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > rows[-1]


def test_a_compressible_text_takes_one_row_more_when_it_doubles():
    found = cut_growth("topics", lengths=(1024, 2048, 4096), queries=16)
    assert found.read == (2, 3, 4)
    assert found.looked == (3, 5, 7)
    assert max(found.worst_error) <= 1


def test_a_structureless_text_takes_about_twice_the_rows_when_it_doubles():
    found = cut_growth("structureless", lengths=(1024, 2048, 4096), queries=16)
    assert found.exponent > 0.7
    assert found.read[-1] > 500
    assert max(found.worst_error) <= 1
