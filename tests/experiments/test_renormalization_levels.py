"""What the experiment on renormalization measures is what it says."""

from pathlib import Path

import pytest
import torch

from adaptive_attention_tiling.tiling import logit_spread
from adaptive_attention_tiling.tiling.tree import guarded

ROOT = Path(__file__).parents[2]


@pytest.fixture
def levels(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import renormalization_levels

    return renormalization_levels


@pytest.fixture
def head(levels):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 560, 16), torch.randn(1, 560, 16), torch.randn(1, 560, 16)
    return levels.reading(query[:, :520], key[0, :520], value[0, :520])


def test_reading_every_token_is_exact_attention(levels, head):
    head.keys, head.values = head.keys[:256], head.values[:256]
    tokens = levels.moments_of_tokens(
        head.keys[:, None], head.values[:, None], torch.ones(len(head.keys), 1, dtype=torch.bool)
    )
    logits = torch.cat([head.near_lse[:, None], head.asking @ head.keys.mT], 1)
    weight = logits.softmax(1)
    head.exact = weight[:, :1] * head.near_out + weight[:, 1:] @ head.values
    assert head.error(tokens) < 1e-5


def test_errors_of_low_ranks_are_those_of_the_tree_s_own_summaries(levels, head, monkeypatch):
    monkeypatch.setattr(levels, "RANKS", (0, 1, 4, 16))
    head.keys, head.values = head.keys[:256], head.values[:256]
    tiles = head.levels("time")[1]
    errors = dict(zip(levels.RANKS, head.second_order_errors(tiles), strict=True))
    assert errors[0] == pytest.approx(head.error(tiles), rel=1e-5)
    for rank in (1, 4, 16):
        moments = tiles.low_rank(rank)
        query = head.asking[:, None]
        estimate = guarded(logit_spread(moments, query))
        logit = moments.count.log() + head.asking @ moments.key.mT + estimate.growth
        value = moments.value + estimate.tilt[..., None] * moments.tilt(query)
        weight = torch.cat([head.near_lse[:, None], logit], 1).softmax(1)
        out = weight[:, :1] * head.near_out + (weight[:, 1:, None] * value).sum(1)
        expected = float((out - head.exact).norm() / head.exact.norm())
        assert errors[rank] == pytest.approx(expected, rel=1e-4)


def test_relevant_directions_are_those_that_walk(levels):
    head = levels.walking_keys(2, 0.1, 0)
    cut = head.levels("time")
    v = levels.couplings(head, cut)
    # Merging adds what lies between the parts, and never takes away.
    assert bool((v.sum(1).diff() > 0).all())
    y = levels.slopes(levels.SIZES, v)
    assert int((y > levels.RELEVANT).sum()) == 2
    assert float(y[2:].abs().max()) < 0.2
    # Of one covariance relative to another, the eigenvalues are the same in every metric.
    growth = levels.growth_in_any_metric(cut[1], cut[4], 8)
    turned = [level.map(lambda x: x) for level in (cut[1], cut[4])]
    root = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    for level in turned:
        object.__setattr__(level, "covariance", root @ level.covariance @ root.mT)
    again = levels.growth_in_any_metric(*turned, 8)
    torch.testing.assert_close(again[-2:], growth[-2:], rtol=1e-3, atol=1e-3)


def test_sizes_cost_no_more_reads_than_allowed_and_go_where_errors_are(levels):
    growth = torch.tensor([0.0, 1.0])
    errors = torch.arange(6.0)[:, None] * growth
    sizes = levels.allotted(errors, 40)
    assert sizes.tolist() == [256, 8]
    assert int((256 // levels.allotted(errors, 12)).sum()) <= 12


def test_rank_needed_closes_most_of_the_gap(levels):
    assert levels.rank_needed([1.0, 0.5, 0.15, *[0.0] * 9]) == 2
    assert levels.rank_needed([1.0, *[0.95] * 11]) is None
    assert levels.spearman([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1)
    assert levels.spearman([1, 2, 2], [5, 5, 5]) == 0
