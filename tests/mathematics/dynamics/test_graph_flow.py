"""Ricci flow of graphs: closed forms, planted communities, bridges."""

import networkx
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import graph_ricci_flow, modularity
from adaptive_attention_tiling.mathematics.geometry import (
    lin_lu_yau_curvature,
    ollivier_curvature,
    path_lengths,
)
from adaptive_attention_tiling.mathematics.graph import Graph

DOUBLE = torch.float64


def graph_of(network):
    edges = sorted(sorted(edge) for edge in network.edges)
    return Graph(network.number_of_nodes(), torch.tensor(edges))


BARBELL = graph_of(networkx.barbell_graph(5, 0))


def test_a_step_is_that_of_the_equation():
    network = networkx.gnp_random_graph(8, 0.5, seed=1)
    graph = graph_of(network)
    weights = torch.rand(len(graph.edges), dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    graph = Graph(8, graph.edges, weights + 0.5)
    start = weights.flip(0) * 9 + 0.1
    flow = graph_ricci_flow(graph, start, steps=2, step=0.7)
    assert torch.equal(flow.lengths[0], start)
    for number in range(2):
        now = flow.lengths[number]
        kappa = ollivier_curvature(graph, 0.5, now)
        torch.testing.assert_close(flow.curvatures[number], kappa)
        short = path_lengths(graph, now)[graph.edges[:, 0], graph.edges[:, 1]]
        after = (1 - 0.7 * kappa) * short
        torch.testing.assert_close(flow.lengths[number + 1], after * start.sum() / after.sum())
        if number == 0:
            assert bool((short < now).any())  # or detours would not be seen


def test_complete_graphs_and_cycles_stand_still():
    for graph, kappa in ((Graph.complete(5), 5 / 8), (Graph.cycle(6), 0.0)):
        flow = graph_ricci_flow(graph, steps=3)
        torch.testing.assert_close(flow.lengths, torch.ones_like(flow.lengths))
        torch.testing.assert_close(flow.curvatures, torch.full_like(flow.curvatures, kappa))
        torch.testing.assert_close(2 * flow.curvatures[0], lin_lu_yau_curvature(graph))
        assert flow.communities().tolist() == [0] * graph.nodes


def test_a_path_grows_even():
    # Of lengths a and b in a row kappa = 1 - (a + b) / 4a, so that w <- (1 - s) a + s (a + b) / 4
    # and differences shrink as (1 - s) / (1 - s / 2) once the sum is kept.
    path = Graph(3, torch.tensor([[0, 1], [1, 2]]))
    flow = graph_ricci_flow(path, torch.tensor([1.0, 3.0]), steps=4, step=0.5)
    gaps = flow.lengths.diff(dim=-1)[:, 0]
    torch.testing.assert_close(gaps, 2 * (2 / 3) ** torch.arange(5, dtype=DOUBLE))
    joined = graph_ricci_flow(Graph(3, torch.tensor([[0, 2], [1, 2]])), steps=1)
    assert joined.communities(9.0).tolist() == [0, 0, 0]
    # A star of equal edges is a tree that stays; its centre is not parted from a leaf alone.
    star = graph_ricci_flow(graph_of(networkx.star_graph(4)), steps=3)
    torch.testing.assert_close(star.lengths, torch.ones_like(star.lengths))


def test_a_bridge_grows_and_parts_two_cliques():
    flow = graph_ricci_flow(BARBELL, steps=6)
    bridge = BARBELL.edges.tolist().index([4, 5])
    assert bool((flow.lengths[:, bridge].diff() > 0).all())
    others = torch.arange(len(BARBELL.edges)) != bridge
    assert float(flow.lengths[-1, others].max()) < 0.25 * float(flow.lengths[-1, bridge])
    assert float(flow.curvatures[0, bridge]) < 0 < float(flow.curvatures[0, others].min())
    for threshold in (None, 3.0):
        assert flow.communities(threshold).tolist() == [0] * 5 + [1] * 5
    assert flow.communities(100.0).tolist() == [0] * 10
    assert flow.communities(1e-9).tolist() == list(range(10))
    torch.testing.assert_close(flow.lengths.sum(-1), torch.full((7,), 21.0, dtype=DOUBLE))


def test_planted_communities_are_found():
    odds = [[0.9, 0.08, 0.08], [0.08, 0.9, 0.08], [0.08, 0.08, 0.9]]
    network = networkx.stochastic_block_model([7, 7, 7], odds, seed=0)
    assert networkx.is_connected(network)
    flow = graph_ricci_flow(graph_of(network), steps=4)
    assert flow.communities().tolist() == [0] * 7 + [1] * 7 + [2] * 7


def test_modularity_is_networkxs():
    network = networkx.karate_club_graph()
    edges = sorted((*sorted(edge[:2]), edge[2]) for edge in network.edges.data("weight"))
    weights = torch.tensor([float(edge[2]) for edge in edges], dtype=DOUBLE)
    graph = Graph(34, torch.tensor([edge[:2] for edge in edges]), weights)
    parts = torch.arange(34) % 3 * 50
    groups = [{k for k in range(34) if k % 3 == part} for part in range(3)]
    expected = networkx.algorithms.community.modularity(network, groups)
    assert float(modularity(graph, parts)) == pytest.approx(expected, abs=1e-12)
    assert float(modularity(BARBELL, torch.tensor([0] * 5 + [1] * 5))) == pytest.approx(
        20 / 21 - 1 / 2
    )


TWO = Graph(4, torch.tensor([[0, 1], [2, 3]]))
PATH = Graph(3, torch.tensor([[0, 1], [1, 2]]))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: graph_ricci_flow(TWO), "graph: got several components"),
        (lambda: graph_ricci_flow(Graph(2, torch.zeros(0, 2).long())), "graph: got no edges"),
        (lambda: graph_ricci_flow(PATH, torch.tensor([1.0, 0.0])), "lengths: got 0.0"),
        (lambda: graph_ricci_flow(PATH, torch.tensor([1.0, torch.inf])), "lengths: got inf"),
        (lambda: graph_ricci_flow(PATH, torch.ones(3)), r"lengths: got \[3\]"),
        (lambda: graph_ricci_flow(PATH, steps=0), "steps: got 0"),
        (lambda: graph_ricci_flow(PATH, step=-1.0), "step: got -1.0"),
        (lambda: graph_ricci_flow(PATH, step=2.0), "step: got 2.0, .* 1 / max kappa = 2"),
        (lambda: graph_ricci_flow(BARBELL, step=1.7), "step: got 1.7, .* max kappa = 1.6"),
        (lambda: graph_ricci_flow(PATH, steps=1).communities(0.0), "threshold: got 0.0"),
        (lambda: modularity(PATH, torch.zeros(2).long()), "parts: got torch.int64"),
        (lambda: modularity(PATH, torch.zeros(3)), "parts: got torch.float32"),
    ],
)
def test_what_cannot_flow_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
