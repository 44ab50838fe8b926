"""Curvature of graphs: closed forms, an inequality between kinds, bridges found."""

import networkx
import numpy as np
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry import (
    balanced_forman_curvature,
    lin_lu_yau_curvature,
    ollivier_curvature,
)
from adaptive_attention_tiling.mathematics.geometry.graph_curvature import (
    minimum_cost,
    path_lengths,
)
from adaptive_attention_tiling.mathematics.graph import Graph


def graph_of(network: networkx.Graph) -> Graph:
    edges = sorted(sorted(edge) for edge in network.edges)
    return Graph(network.number_of_nodes(), torch.tensor(edges).reshape(-1, 2))


def edge(graph: Graph, i: int, j: int) -> int:
    return graph.edges.tolist().index([i, j])


TREE = networkx.from_edgelist([(0, 1), *((0, k) for k in (2, 3, 4)), *((1, k) for k in (5, 6, 7))])
CUBE = networkx.convert_node_labels_to_integers(networkx.hypercube_graph(3))
K23 = networkx.complete_bipartite_graph(2, 3)
BARBELL = graph_of(networkx.barbell_graph(5, 0))


@pytest.mark.parametrize(
    ("curvature", "graph", "ends", "expected"),
    [
        (ollivier_curvature, Graph.complete(5), (0, 1), 3 / 4),
        (lin_lu_yau_curvature, Graph.complete(5), (0, 1), 5 / 4),
        (ollivier_curvature, Graph.cycle(6), (0, 1), 0),
        (lin_lu_yau_curvature, Graph.cycle(5), (0, 1), 1 / 2),
        (ollivier_curvature, graph_of(TREE), (0, 1), -1),
        (ollivier_curvature, BARBELL, (4, 5), -1.2),
        (lin_lu_yau_curvature, graph_of(CUBE), (0, 1), 2 / 3),
        (balanced_forman_curvature, Graph.complete(5), (0, 1), 5 / 4),
        (balanced_forman_curvature, Graph.cycle(4), (0, 1), 1),
        (balanced_forman_curvature, Graph.cycle(6), (0, 1), 0),
        (balanced_forman_curvature, graph_of(TREE), (0, 1), -1),
        (balanced_forman_curvature, graph_of(networkx.path_graph(3)), (0, 1), 0),
        # Two squares over an edge of K(2, 3): d = 3 and 2, q = 2 and 1, g = 2.
        (balanced_forman_curvature, graph_of(K23), (0, 2), 1 / 6),
    ],
)
def test_closed_forms(curvature, graph, ends, expected):
    assert abs(curvature(graph)[edge(graph, *ends)].item() - expected) < 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_balanced_forman_never_exceeds_lin_lu_yau(seed):
    graph = graph_of(networkx.gnp_random_graph(14, 0.35, seed=seed))
    low, high = balanced_forman_curvature(graph), lin_lu_yau_curvature(graph)
    assert bool((low <= high + 1e-12).all())
    assert bool((low < high - 1e-3).any())  # or the test above would be one of equality


@pytest.mark.parametrize("idleness", [0.0, 0.3])
def test_transport_is_that_of_a_linear_programme(idleness):
    optimize = pytest.importorskip("scipy.optimize", reason="scipy, of the oracles extra")
    random = np.random.default_rng(1)
    network = networkx.gnp_random_graph(12, 0.4, seed=5)
    edges = graph_of(network).edges
    graph = Graph(12, edges, torch.tensor(random.uniform(0.1, 1, len(edges))))
    hops = dict(networkx.all_pairs_shortest_path_length(network))
    lengths = np.array([[hops[a][b] for b in range(12)] for a in range(12)], float)
    walk = graph.adjacency().numpy()
    walk = (1 - idleness) * walk / walk.sum(1, keepdims=True) + idleness * np.eye(12)
    sums = np.vstack([np.kron(np.eye(12), np.ones(12)), np.kron(np.ones(12), np.eye(12))])
    for (x, y), found in zip(edges.tolist(), ollivier_curvature(graph, idleness), strict=True):
        ends = np.concatenate([walk[x], walk[y]])
        cost = optimize.linprog(lengths.ravel(), A_eq=sums, b_eq=ends, bounds=(0, None)).fun
        assert abs(found.item() - (1 - cost)) < 1e-9


@pytest.mark.parametrize("idleness", [0.0, 0.5])
def test_curvature_with_lengths_is_that_of_a_linear_programme(idleness):
    optimize = pytest.importorskip("scipy.optimize", reason="scipy, of the oracles extra")
    random = np.random.default_rng(3)
    network = networkx.gnp_random_graph(9, 0.45, seed=2)
    edges = graph_of(network).edges
    graph = Graph(9, edges, torch.tensor(random.uniform(0.1, 1, len(edges))))
    lengths = torch.tensor(random.uniform(0.1, 3, len(edges)))
    for (x, y), length in zip(edges.tolist(), lengths.tolist(), strict=True):
        network.edges[x, y]["weight"] = length
    apart = networkx.floyd_warshall_numpy(network)
    np.testing.assert_allclose(path_lengths(graph, lengths).numpy(), apart, atol=1e-12)
    assert (apart[tuple(edges.T)] < lengths.numpy() - 0.1).any()  # some edges are detours
    walk = graph.adjacency().numpy()
    walk = (1 - idleness) * walk / walk.sum(1, keepdims=True) + idleness * np.eye(9)
    sums = np.vstack([np.kron(np.eye(9), np.ones(9)), np.kron(np.ones(9), np.eye(9))])
    curvatures = ollivier_curvature(graph, idleness, lengths)
    for (x, y), found in zip(edges.tolist(), curvatures, strict=True):
        ends = np.concatenate([walk[x], walk[y]])
        cost = optimize.linprog(apart.ravel(), A_eq=sums, b_eq=ends, bounds=(0, None)).fun
        assert abs(found.item() - (1 - cost / apart[x, y])) < 1e-9
    torch.testing.assert_close(ollivier_curvature(graph, idleness, 1e-7 * lengths), curvatures)


def test_lengths_of_one_are_hops_and_limits_are_limits():
    graph = graph_of(networkx.gnp_random_graph(12, 0.4, seed=5))
    ones = torch.ones(len(graph.edges), dtype=torch.float64)
    for hops, found in (
        (ollivier_curvature(graph), ollivier_curvature(graph, 0.0, ones)),
        (lin_lu_yau_curvature(graph), lin_lu_yau_curvature(graph, ones)),
    ):
        torch.testing.assert_close(found, hops, rtol=0, atol=1e-12)
    lengths = torch.tensor(np.random.default_rng(0).uniform(0.2, 2, len(ones)))
    limit = lin_lu_yau_curvature(graph, lengths)
    for idleness in (0.6, 0.999):
        quotient = ollivier_curvature(graph, idleness, lengths) / (1 - idleness)
        torch.testing.assert_close(quotient, limit, rtol=0, atol=1e-9)
    # Two edges of lengths a and b in a row: a quarter of the mass goes from end to end.
    path = Graph(3, torch.tensor([[0, 1], [1, 2]]))
    expected = [2 * (1 - 5 / 8), 2 * (1 - 5 / 12)]
    assert lin_lu_yau_curvature(path, torch.tensor([2.0, 3.0])).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("lengths", [[1.0, 0.0], [1.0, -1.0], [1.0, np.inf], [np.nan, 1.0], [1.0]])
def test_bad_lengths_are_told(lengths):
    path = Graph(3, torch.tensor([[0, 1], [1, 2]]))
    with pytest.raises(ArgumentError, match=r"lengths: got .* 2 finite numbers > 0"):
        lin_lu_yau_curvature(path, torch.tensor(lengths))


def test_mass_is_taken_back_where_that_is_cheaper():
    costs = np.array([[1.0, 2.0], [1.0, 4.0]])
    assert minimum_cost(costs, np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 3.0


def test_planted_bridges_are_the_most_negative_edges():
    groups = [networkx.gnp_random_graph(16, 0.5, seed=seed) for seed in range(3)]
    network = networkx.disjoint_union_all(groups)
    bridges = [(3, 20), (18, 40), (9, 44)]
    network.add_edges_from(bridges)
    graph = graph_of(network)
    for curvature in (balanced_forman_curvature, ollivier_curvature):
        lowest = curvature(graph).argsort()[:3]
        assert {tuple(graph.edges[k].tolist()) for k in lowest} == set(bridges)


def test_bad_weights_and_idleness_are_told():
    edges = torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(ArgumentError, match="idleness: got 1"):
        ollivier_curvature(Graph(3, edges), 1)
    with pytest.raises(ArgumentError, match=r"-1.0 of edge \[1, 2\], expected numbers >= 0"):
        ollivier_curvature(Graph(3, edges, torch.tensor([1.0, -1.0])))
    with pytest.raises(ArgumentError, match="only zeros at node 2"):
        ollivier_curvature(Graph(3, edges, torch.tensor([1.0, 0.0])))


def test_a_graph_without_edges_has_no_curvatures():
    empty = Graph(2, torch.zeros(0, 2, dtype=torch.int64))
    for curvature in (balanced_forman_curvature, ollivier_curvature, lin_lu_yau_curvature):
        assert curvature(empty).shape == (0,)
