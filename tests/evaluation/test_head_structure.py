"""Planted shapes of attention come out in the figures of a head."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import curvature_summary, head_structure
from adaptive_attention_tiling.mathematics.graph import Graph

T, D = 96, 16


def queries_and_keys(similarity):
    """[T, T] queries and keys whose logits are this symmetric matrix."""
    return similarity * T**0.5, torch.eye(T, dtype=torch.float64)


def groups(sizes, noise=0.5):
    """Similarity of tokens that know their own group only."""
    names = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    same = (names[:, None] == names).double()
    random = torch.randn(T, T, dtype=torch.float64)
    return 8 * same + noise * (random + random.T)


def structure(similarity, **settings):
    query, key = queries_and_keys(similarity)
    return head_structure(query, key, is_causal=False, skip=0, **settings)


def test_groups_of_tokens_are_components():
    for sizes in ([48, 48], [32, 32, 32]):
        found = structure(groups(sizes), top_k=6)
        assert found.persistence.components == len(sizes)
    assert structure(groups([96]), top_k=6).persistence.components == 1


def test_a_bridge_between_groups_is_the_bottleneck():
    similarity = groups([48, 48])
    similarity[5, 70] = similarity[70, 5] = 30
    found = structure(similarity, top_k=6)
    assert found.persistence.components == 1
    assert found.curvature.bottlenecks[0] == (5, 70)
    assert found.curvature.least < structure(groups([48, 48]), top_k=6).curvature.least


def test_tokens_in_a_ring_make_one_endless_loop_and_cycles_that_do_not_multiply():
    place = torch.arange(T)
    around = (place[:, None] - place).abs()
    hops = torch.minimum(around, T - around).double()
    found = structure(-hops, top_k=2)
    assert (found.persistence.components, found.persistence.endless_loops) == (1, 1)
    assert found.curvature.mean == 0
    assert abs(found.zeta.cycle_entropy) < 1e-6
    assert found.curvature.bottlenecks == ()


def test_random_links_expand_and_links_within_groups_do_not():
    random = structure(groups([96], noise=4), top_k=4)
    grouped = structure(groups([48, 48]) + 0.1, top_k=4)
    assert random.zeta.spectral_gap > grouped.zeta.spectral_gap
    assert grouped.zeta.ramanujan_margin < 0
    assert math.exp(random.zeta.cycle_entropy) == pytest.approx(random.zeta.growth)


def test_attention_that_is_spread_ends_its_classes_early():
    sharp, flat = groups([48, 48]), groups([48, 48]) / 20
    lengths = [structure(s, top_k=6).persistence.total_persistence[0] for s in (sharp, flat)]
    # Nodes come at 1 and join where attention between them begins: late if it is spread.
    assert lengths[1] > lengths[0]


def test_fewer_bottlenecks_than_none_are_told():
    with pytest.raises(ArgumentError, match="bottlenecks: got -1"):
        curvature_summary(Graph.cycle(5), -1)


def test_causal_heads_and_short_texts():
    query, key = torch.randn(2, 40, D)
    found = head_structure(query, key)
    assert int(found.graph.edges.min()) == 1
    assert found.persistence.components == 2  # the first token is left out
    alone = head_structure(query[:1], key[:1])
    assert alone.curvature == curvature_summary(Graph(1, torch.zeros(0, 2, dtype=torch.int64)))
    assert alone.zeta.growth == 0
