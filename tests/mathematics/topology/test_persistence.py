"""Persistence pairs against a plain reduction of the whole boundary matrix, gudhi and ripser."""

import itertools
import math

import numpy as np
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, MissingDependencyError
from adaptive_attention_tiling.mathematics.graph import Graph
from adaptive_attention_tiling.mathematics.topology import (
    ChainComplex,
    Homology,
    SimplicialComplex,
    persistence,
)
from adaptive_attention_tiling.optional import installed

IMPLEMENTATIONS = [
    "native",
    pytest.param(
        "gudhi",
        marks=pytest.mark.skipif(not installed("gudhi"), reason="gudhi is not installed"),
    ),
]


def random_graph(nodes, share, seed, levels=None):
    """Each pair with a probability; weights in (0, 1), on a few levels only if said."""
    source = np.random.default_rng(seed)
    pairs = np.array(list(itertools.combinations(range(nodes), 2)))
    edges = pairs[source.random(len(pairs)) < share]
    weights = (
        source.random(len(edges))
        if levels is None
        else source.integers(1, levels, len(edges)) / levels
    )
    return Graph(nodes, torch.from_numpy(edges), torch.from_numpy(weights).double())


def regular_polygon(corners):
    angles = torch.arange(corners, dtype=torch.float64) * (2 * math.pi / corners)
    points = torch.stack([angles.cos(), angles.sin()], 1)
    graph = Graph.complete(corners)
    return Graph(
        corners, graph.edges, (points[graph.edges[:, 0]] - points[graph.edges[:, 1]]).norm(dim=1)
    )


def reference_persistence(graph, dimension, prime, *, superlevel=False):
    """The standard algorithm, column by column, on every clique."""
    sign = -1 if superlevel else 1
    level = {
        tuple(e): sign * w
        for e, w in zip(graph.edges.tolist(), graph.weights.tolist(), strict=True)
    }
    start = sign * float(superlevel)
    simplices = [((node,), start) for node in range(graph.nodes)]
    for size in range(2, dimension + 3):
        for nodes in itertools.combinations(range(graph.nodes), size):
            sides = list(itertools.combinations(nodes, 2))
            if all(side in level for side in sides):
                simplices.append((nodes, max(level[side] for side in sides)))
    simplices.sort(key=lambda s: (s[1], len(s[0])))
    number = {nodes: i for i, (nodes, _) in enumerate(simplices)}
    columns, lows, found = [], {}, [[] for _ in range(dimension + 2)]
    for nodes, death in simplices:
        faces = [nodes[:i] + nodes[i + 1 :] for i in range(len(nodes))] if len(nodes) > 1 else []
        column = {number[face]: (-1) ** i % prime for i, face in enumerate(faces)}
        while column and max(column) in lows:
            low = max(column)
            other = columns[lows[low]]
            factor = column[low] * pow(other[low], -1, prime)
            for row, entry in other.items():
                column[row] = (column.get(row, 0) - factor * entry) % prime
            column = {row: entry for row, entry in column.items() if entry}
        columns.append(column)
        if column:
            lows[max(column)] = len(columns) - 1
            birth = simplices[max(column)]
            if birth[1] < death:
                found[len(birth[0]) - 1].append((sign * birth[1], sign * death))
    for i, (nodes, birth) in enumerate(simplices):
        if not columns[i] and i not in lows:
            found[len(nodes) - 1].append((sign * birth, sign * math.inf))
    return [sorted(pairs) for pairs in found[: dimension + 1]]


def listed(diagrams):
    return [sorted(tuple(pair) for pair in d.pairs.tolist()) for d in diagrams]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("superlevel", [False, True], ids=["sublevel", "superlevel"])
@pytest.mark.parametrize("levels", [None, 4], ids=["distinct", "ties"])
@pytest.mark.parametrize("prime", [2, 3, 5])
def test_diagrams_are_those_of_the_whole_boundary_matrix(implementation, superlevel, levels, prime):
    options = {"superlevel": superlevel}
    for seed, (nodes, share) in enumerate([(6, 0.9), (9, 0.5), (12, 0.7), (14, 0.4), (5, 0.1)]):
        graph = random_graph(nodes, share, seed, levels)
        found = persistence(graph, 2, prime=prime, implementation=implementation, **options)
        assert listed(found) == reference_persistence(graph, 2, prime, **options)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_regular_12_gon_has_one_loop(implementation):
    loops = persistence(regular_polygon(12), implementation=implementation)[1].pairs
    expected = torch.tensor([[2 * math.sin(math.pi / 12), math.sqrt(3)]], dtype=torch.float64)
    torch.testing.assert_close(loops, expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(
        expected,
        torch.tensor([[0.517638090205, 1.73205080757]], dtype=torch.float64),
        rtol=0,
        atol=1e-11,
    )


def test_primes_that_gudhi_does_not_know_are_left_to_native():
    assert [len(d) for d in persistence(Graph.cycle(4), prime=2147483647)] == [4, 1]
    with pytest.raises(ArgumentError, match=r"prime: got 46349, expected at most 46337 by gudhi"):
        persistence(Graph.cycle(4), prime=46349, implementation="gudhi")


@pytest.mark.parametrize("prime", [0, 1, 4, 9, 2.0, True, 2**61 - 1])
def test_composite_primes_are_refused(prime):
    with pytest.raises(ArgumentError, match=r"prime: got .*, expected a prime"):
        persistence(Graph.cycle(4), prime=prime)


@pytest.mark.skipif(not installed("gudhi"), reason="gudhi is not installed")
@pytest.mark.parametrize("superlevel", [False, True], ids=["sublevel", "superlevel"])
@pytest.mark.parametrize("prime", [2, 3])
def test_both_implementations_name_the_same_edges(prime, superlevel):
    for seed in range(8):
        graph = random_graph(40, 0.3, seed, levels=(None, 6)[seed % 2])
        options = {"prime": prime, "superlevel": superlevel}
        native = persistence(graph, 2, implementation="native", **options)
        other = persistence(graph, 2, implementation="gudhi", **options)
        for one, two in zip(native, other, strict=True):
            assert torch.equal(one.pairs, two.pairs)
            assert edge_pairs(one) == edge_pairs(two)


def edge_pairs(diagram):
    return sorted(tuple(row) for row in diagram.edges.tolist())


def test_torsion_is_seen_over_its_own_prime_only():
    """RP^2 of 6 nodes, subdivided, so that it is a flag complex: H_1 = Z/2."""
    faces = ["123", "134", "145", "156", "126", "235", "346", "452", "563", "624"]
    names = sorted(
        {
            "".join(sorted(f))
            for face in faces
            for n in (1, 2, 3)
            for f in itertools.combinations(sorted(face), n)
        }
    )
    number = {name: i for i, name in enumerate(names)}
    edges = [sorted((number[a], number[b])) for a in names for b in names if set(a) < set(b)]
    graph = Graph(len(names), torch.tensor(sorted(edges)))
    counts = {p: [len(d.endless()) for d in persistence(graph, 2, prime=p)] for p in (2, 3)}
    assert counts == {2: [1, 1, 1], 3: [1, 0, 0]}


@pytest.mark.parametrize("prime", [2, 3])
def test_what_never_ends_is_the_homology_of_all_cliques(prime):
    for seed in range(4):
        graph = random_graph(14, 0.35, seed)
        cliques = ChainComplex.of(SimplicialComplex.flag(graph, 3))
        betti = [Homology(cliques, prime).betti_number(k) for k in range(3)]
        diagrams = persistence(graph, 2, prime=prime, implementation="native")
        assert [len(d.endless()) for d in diagrams] == betti


def test_ripser_agrees_on_a_sparse_matrix():
    ripser = pytest.importorskip("ripser", reason="ripser, of the oracles extra, is not installed")
    sparse = pytest.importorskip("scipy.sparse", reason="scipy, of the oracles extra, is missing")
    graph = regular_polygon(12)
    first, second = graph.edges.T.numpy()
    matrix = sparse.coo_matrix((graph.weights.numpy(), (first, second)), (12, 12))
    loops = ripser.ripser(matrix, distance_matrix=True, maxdim=1)["dgms"][1]
    found = persistence(graph, implementation="native")[1].pairs.numpy()
    np.testing.assert_allclose(found, loops, rtol=0, atol=1e-7)  # ripser computes in float32


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("superlevel", [False, True], ids=["sublevel", "superlevel"])
def test_births_and_deaths_have_the_gradients_of_their_edges(implementation, superlevel):
    graph = random_graph(10, 0.6, 3)

    def values(weights):
        weighted = Graph(graph.nodes, graph.edges, weights)
        diagrams = persistence(weighted, 2, superlevel=superlevel, implementation=implementation)
        return tuple(d.finite().pairs for d in diagrams)

    weights = graph.weights.clone().requires_grad_()
    assert len(values(weights)[1]) > 1
    assert torch.autograd.gradcheck(values, weights)
    diagram = values(weights)[1]
    first = persistence(graph, 1, superlevel=superlevel)[1].finite().edges[0].tolist()
    (gradient,) = torch.autograd.grad(diagram[0] @ diagram.new_tensor([1.0, 10.0]), weights)
    assert {i: g for i, g in enumerate(gradient.tolist()) if g} == {first[0]: 1.0, first[1]: 10.0}


def test_float32_weights_stay_as_they_are():
    graph = random_graph(12, 0.6, 0)
    single = Graph(12, graph.edges, graph.weights.float())
    for implementation in ("native", None):
        births = persistence(single, 1, implementation=implementation)[1].births
        assert births.dtype == torch.float32
        assert set(births.tolist()) <= set(single.weights.tolist())


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("nodes", [0, 1, 3])
def test_graphs_without_edges_have_nodes_only(implementation, nodes):
    graph = Graph(nodes, torch.zeros(0, 2, dtype=torch.int64))
    found = persistence(graph, 2, implementation=implementation)
    assert listed(found) == [[(0.0, math.inf)] * nodes, [], []]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_hub_that_all_attend_to_is_no_clique(implementation):
    nodes = 3000
    star = torch.stack([torch.zeros(nodes - 1, dtype=torch.int64), torch.arange(1, nodes)], 1)
    found = persistence(Graph(nodes, star), 2, implementation=implementation, most_cliques=1)
    assert [len(d) for d in found] == [nodes, 0, 0]


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (
            Graph.complete(300),
            {},
            r"44850 edges on 300 nodes \(mean degree 299\).*strongest_edges.*wait for 8 s",
        ),
        (
            Graph.complete(20),
            {"most_cliques": 100},
            r"candidates for triangles, expected at most 400",
        ),
        (Graph.complete(20), {"most_cliques": 1139}, r"with 1140 triangles, expected at most 1139"),
        (Graph.complete(20), {"dimension": 2, "most_cliques": 1300}, r"with 4845 tetrahedra"),
        (Graph.cycle(4), {"dimension": -1}, "dimension: got -1"),
        (Graph.cycle(4), {"dimension": 1.0}, "dimension: got 1.0"),
        (Graph.cycle(4), {"implementation": "ripser"}, "implementation: got 'ripser'"),
        (Graph.cycle(4), {"node_level": 2.0}, r"an edge at 1, nodes coming at 2.*node_level=1"),
        (
            Graph(2, torch.tensor([[0, 1]]), torch.tensor([-0.5])),
            {},
            r"an edge at -0.5, nodes coming at 0.*superlevel=True for similarities",
        ),
        (
            Graph(2, torch.tensor([[0, 1]]), torch.tensor([1.5])),
            {"superlevel": True},
            r"an edge at 1.5, nodes coming at 1, .*pass node_level=1.5",
        ),
    ],
)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_what_has_no_persistence_is_told(graph, options, message, implementation):
    options = {"implementation": implementation} | options
    with pytest.raises(ArgumentError, match=message):
        persistence(graph, **options)


def test_a_missing_gudhi_is_named(monkeypatch):
    from adaptive_attention_tiling import optional

    monkeypatch.setattr(optional, "installed", lambda module: False)
    with pytest.raises(MissingDependencyError, match=r"needs gudhi.*\[topology\]"):
        persistence(Graph.cycle(4), implementation="gudhi")
