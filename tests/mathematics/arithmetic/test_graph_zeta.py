import importlib
import math
from fractions import Fraction

import networkx
import numpy as np
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError
from adaptive_attention_tiling.mathematics.arithmetic.artin_mazur import (
    artin_mazur_zeta,
    mobius,
    orbits,
    shift_fixed_points,
    shift_polynomial,
    topological_entropy,
    toral_fixed_points,
    zeta_series,
)
from adaptive_attention_tiling.mathematics.arithmetic.cycle_growth import (
    cycle_growth,
    zeta_summary,
)
from adaptive_attention_tiling.mathematics.arithmetic.graph_zeta import (
    bartholdi_determinant,
    directed_edges,
    hashimoto_eigenvalues,
    hashimoto_matrix,
    hashimoto_product,
    ihara_determinant,
    ihara_polynomial,
    prime_cycles,
    reduced_closed_walks,
)
from adaptive_attention_tiling.mathematics.graph import Graph

GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


def of_networkx(graph):
    edges = torch.tensor([sorted(pair) for pair in graph.edges], dtype=torch.int64).view(-1, 2)
    return Graph(graph.number_of_nodes(), edges)


def random_graph(nodes, chance, seed, weighted=True):
    graph = of_networkx(networkx.gnp_random_graph(nodes, chance, seed=seed))
    if not weighted:
        return graph
    generator = torch.Generator().manual_seed(seed)
    weights = 0.2 + torch.rand(len(graph.edges), generator=generator, dtype=torch.float64)
    return Graph(nodes, graph.edges, weights)


PETERSEN = of_networkx(networkx.petersen_graph())
# Two triangles and a square that share nodes, with a path and a lone node hung on.
UNEVEN = Graph(
    9,
    torch.tensor([[0, 1], [0, 2], [1, 2], [2, 3], [2, 4], [3, 4], [4, 5], [3, 6], [5, 6], [6, 7]]),
)
TREE = Graph(5, torch.tensor([[0, 1], [1, 2], [1, 3], [3, 4]]))


def multiplied(*factors):
    product = np.array([1], dtype=object)
    for factor in factors:
        product = np.convolve(product, np.array(factor, dtype=object))
    return product.tolist()


def test_golden_ihara_zeta_of_k4():
    golden = multiplied([1, 0, -1], [1, 0, -1], [1, -1], [1, -2], *[[1, 1, 2]] * 3)
    assert ihara_polynomial(Graph.complete(4)) == golden
    points = torch.linspace(-1.4, 1.3, 12, dtype=torch.float64)
    expected = torch.from_numpy(np.polyval([float(c) for c in golden[::-1]], points.numpy()))
    for way in ("nodes", "edges"):
        found = ihara_determinant(Graph.complete(4), points, by=way)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_golden_entropy_of_the_golden_mean_shift():
    matrix = torch.tensor([[1.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    entropy = float(topological_entropy(matrix))
    assert entropy == pytest.approx(math.log(GOLDEN_RATIO), abs=1e-14)
    assert entropy == pytest.approx(0.48121182506, abs=1e-11)
    assert shift_polynomial(matrix) == [1, -1, -1]
    assert shift_fixed_points(matrix, 8) == [1, 3, 4, 7, 11, 18, 29, 47]
    assert zeta_series(shift_fixed_points(matrix, 8)) == [1, 1, 2, 3, 5, 8, 13, 21, 34]
    u = torch.tensor([0.1, 0.3 + 0.2j])
    torch.testing.assert_close(artin_mazur_zeta(matrix, u), 1 / (1 - u - u * u).to(torch.cdouble))


@pytest.mark.parametrize("graph", [Graph.complete(5), PETERSEN, UNEVEN, TREE, Graph.cycle(5)])
def test_the_polynomial_is_the_determinant_over_directed_edges(graph):
    from_edges = np.poly(hashimoto_matrix(graph).numpy())
    assert len(ihara_polynomial(graph)) == len(from_edges) == 2 * len(graph.edges) + 1
    np.testing.assert_allclose(ihara_polynomial(graph), from_edges, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_both_determinants_agree_in_values_and_gradients(seed):
    graph = random_graph(7, 0.5, seed)
    weights = graph.weights.requires_grad_()
    u = torch.tensor([[0.3, -0.7j], [0.2 + 0.4j, -1.3]], dtype=torch.cdouble)
    results = []
    for way in ("nodes", "edges"):
        found = ihara_determinant(Graph(7, graph.edges, weights), u, by=way)
        gradient = torch.autograd.grad(found.abs().square().sum(), weights)[0]
        results.append((found.detach(), gradient))
    for nodes, edges in zip(*results, strict=True):
        torch.testing.assert_close(nodes, edges, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("way", ["nodes", "edges"])
def test_the_determinant_is_differentiable_twice(way):
    graph = random_graph(4, 0.8, 3)

    def determinant(weights, points):
        return ihara_determinant(Graph(4, graph.edges, weights), points, by=way)

    weights = graph.weights.requires_grad_()
    points = torch.tensor([0.3, -0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(determinant, (weights, points))
    assert torch.autograd.gradgradcheck(determinant, (weights, points))


def test_a_batch_of_points_is_its_points_one_by_one():
    graph = random_graph(6, 0.6, 1)
    points = torch.linspace(-0.5, 0.8, 6, dtype=torch.float64).view(2, 3)
    for way in ("nodes", "edges"):
        singly = [ihara_determinant(graph, point, by=way) for point in points.flatten()]
        together = ihara_determinant(graph, points, by=way)
        torch.testing.assert_close(together.flatten(), torch.stack(singly))


def reference_walks(graph, length):
    """Reduced closed walks by following every one of them."""
    edges = directed_edges(graph).tolist()
    turned = len(graph.edges)
    walks = [[e] for e in range(len(edges))]
    for _ in range(length - 1):
        walks = [
            [*walk, e]
            for walk in walks
            for e in range(len(edges))
            if edges[walk[-1]][1] == edges[e][0] and (walk[-1] - e) % len(edges) != turned
        ]
    return sum(
        edges[walk[-1]][1] == edges[walk[0]][0] and (walk[-1] - walk[0]) % len(edges) != turned
        for walk in walks
    )


@pytest.mark.parametrize("graph", [Graph.complete(4), UNEVEN, TREE, Graph.cycle(3)])
def test_reduced_walks_are_those_that_can_be_followed(graph):
    assert reduced_closed_walks(graph, 6) == [reference_walks(graph, n) for n in range(1, 7)]


def test_prime_cycles_of_k4_and_the_product_over_them():
    walks = reduced_closed_walks(Graph.complete(4), 12)
    assert walks[:4] == [0, 0, 24, 24]
    primes = prime_cycles(Graph.complete(4), 12)
    assert primes[:4] == [0, 0, 8, 6]
    # The logarithm of the product, read off again.
    for length in range(1, 13):
        assert walks[length - 1] == sum(
            d * primes[d - 1] for d in range(1, length + 1) if length % d == 0
        )
    series = zeta_series(walks)
    product = multiplied(ihara_polynomial(Graph.complete(4)), series)
    assert product[:13] == [1] + [0] * 12


def test_bartholdi_at_both_ends():
    u = torch.tensor([0.2, -0.3], dtype=torch.float64)
    graph = Graph(9, UNEVEN.edges)
    torch.testing.assert_close(
        bartholdi_determinant(graph, u, 0.0), ihara_determinant(graph, u), rtol=1e-12, atol=1e-12
    )
    eye = torch.eye(9, dtype=torch.float64)
    walks = torch.linalg.det(eye - u[:, None, None] * graph.adjacency())
    torch.testing.assert_close(bartholdi_determinant(graph, u, 1.0), walks)


def test_bartholdi_between_is_the_determinant_with_turns():
    edges = directed_edges(UNEVEN)
    turns = torch.eye(len(edges), dtype=torch.float64).roll(len(UNEVEN.edges), 0)
    eye = torch.eye(len(edges), dtype=torch.float64)
    matrix = hashimoto_matrix(UNEVEN) + 0.3 * turns
    expected = torch.linalg.det(eye - 0.4 * matrix)
    found = bartholdi_determinant(UNEVEN, torch.tensor(0.4, dtype=torch.float64), 0.3)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_sparse_product_is_the_matrix():
    graph = random_graph(8, 0.5, 4)
    vectors = torch.randn(3, 2 * len(graph.edges), dtype=torch.float64)
    torch.testing.assert_close(
        hashimoto_product(graph, vectors), vectors @ hashimoto_matrix(graph).T
    )


@pytest.mark.parametrize(
    ("graph", "growth", "second", "ramanujan"),
    [
        # mu^2 - lambda mu + q = 0 over the spectrum of A: K4 3, -1; Petersen 3, 1, -2.
        pytest.param(Graph.complete(4), 2.0, math.sqrt(2), True, id="K4"),
        pytest.param(PETERSEN, 2.0, math.sqrt(2), True, id="Petersen"),
        pytest.param(Graph.cycle(7), 1.0, 1.0, True, id="C7"),
        # Neighbours and their neighbours on a ring: no expander.
        pytest.param(
            of_networkx(networkx.circulant_graph(24, [1, 2])), 3.0, None, False, id="ring"
        ),
        pytest.param(
            of_networkx(networkx.complete_bipartite_graph(3, 3)), 2.0, math.sqrt(2), True, id="K33"
        ),
        pytest.param(TREE, 0.0, 0.0, True, id="tree"),
    ],
)
def test_summary_of_known_graphs(graph, growth, second, ramanujan):
    summary = zeta_summary(graph)
    assert summary.growth == pytest.approx(growth, abs=1e-11)
    assert summary.is_ramanujan is ramanujan
    if second is not None:
        assert summary.second == pytest.approx(second, abs=1e-7)
    entropy = math.log(growth) if growth else -math.inf
    assert summary.cycle_entropy == pytest.approx(entropy, abs=1e-11)


def test_regular_graphs_by_adjacency_and_by_hashimoto_agree():
    for seed in range(4):
        graph = of_networkx(networkx.random_regular_graph(4, 30, seed=seed))
        eigenvalues = np.sort(np.abs(np.linalg.eigvalsh(graph.adjacency().numpy())))[::-1]
        summary = zeta_summary(graph)
        assert summary.is_ramanujan == (eigenvalues[1] <= 2 * math.sqrt(3))
        by_hashimoto = hashimoto_eigenvalues(graph).abs()
        assert summary.second == pytest.approx(float(by_hashimoto[1]), rel=1e-6)


def test_growth_of_a_large_graph_by_its_sparse_operator():
    graph = of_networkx(networkx.barabasi_albert_graph(2000, 3, seed=0))
    summary = zeta_summary(graph)
    small = of_networkx(networkx.barabasi_albert_graph(210, 3, seed=0))
    dense = hashimoto_eigenvalues(small).abs()
    assert cycle_growth(small) == pytest.approx(float(dense[0]), rel=1e-10)
    # A left null test of the eigenvalue: one more step of the operator multiplies by it.
    vector = torch.ones(2 * len(graph.edges), dtype=torch.float64)
    for _ in range(60):
        vector = hashimoto_product(graph, vector)
        vector /= vector.norm()
    grown = float(hashimoto_product(graph, vector).norm())
    assert summary.growth == pytest.approx(grown, rel=1e-9)
    assert 0 < summary.spectral_gap < 1


@pytest.mark.parametrize("bridges", [1, 30])
def test_growth_of_groups_that_hardly_know_each_other(bridges):
    """Their leading eigenvalues nearly agree, so that power iteration does not settle."""
    groups = [networkx.random_regular_graph(6, 110, seed=seed) for seed in (0, 1)]
    network = networkx.disjoint_union_all(groups)
    network.add_edges_from((k, 110 + k) for k in range(bridges))
    graph = of_networkx(network)
    dense = float(hashimoto_eigenvalues(graph).real.max())
    assert cycle_growth(graph) == pytest.approx(dense, rel=1e-10)


@pytest.mark.parametrize(("ring", "chord"), [(220, 110), (240, 100), (260, 130)])
def test_growth_of_long_chains(monkeypatch, ring, chord):
    """Hundreds of eigenvalues have nearly one modulus: Arnoldi's method has to begin again."""
    around = of_networkx(networkx.cycle_graph(ring))
    graph = Graph(ring, torch.cat([around.edges, torch.tensor([[0, chord]])]))
    dense = float(hashimoto_eigenvalues(graph).real.max())
    assert cycle_growth(graph) == pytest.approx(dense, rel=1e-10)
    module = importlib.import_module(cycle_growth.__module__)
    monkeypatch.setattr(module, "_RESTARTS", 1)
    monkeypatch.setattr(module, "_MOST_DENSE_NODES", 0)
    with pytest.raises(CorrectnessError, match="long chains"):
        cycle_growth(graph)


def test_toral_maps_and_the_doubling_map():
    cat = [[2, 1], [1, 1]]
    # N_l = phi^2l + phi^-2l - 2.
    assert toral_fixed_points(cat, 5) == [1, 5, 16, 45, 121]
    # (1 - u)^2 / (1 - 3 u + u^2)
    series = zeta_series(toral_fixed_points(cat, 8))
    assert multiplied(series, [1, -3, 1])[:9] == [1, -2, 1, 0, 0, 0, 0, 0, 0]
    doubling = [2**n - 1 for n in range(1, 9)]
    assert zeta_series(doubling) == [Fraction(2**n - 2 ** (n - 1)) if n else 1 for n in range(9)]
    assert orbits([2**n for n in range(1, 7)]) == [2, 1, 2, 3, 6, 9]


def test_exact_figures_of_entries_beyond_64_bits():
    """numpy reads 2^63 + 1 beside -1 as floats."""
    long = 2**63 + 1
    assert toral_fixed_points([[long, -1], [1, 0]], 1) == [long - 2]
    assert shift_polynomial([[long, -1], [1, 0]]) == [1, -long, 1]


def test_a_directed_graph_and_gradients_of_its_zeta():
    matrix = torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix.requires_grad_()
    point = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(artin_mazur_zeta, (matrix, point))
    with torch.no_grad():
        traces = [float(torch.linalg.matrix_power(matrix, n).trace()) for n in range(1, 60)]
        series = math.exp(sum(t * 0.2**n / n for n, t in enumerate(traces, 1)))
        assert float(artin_mazur_zeta(matrix, point)) == pytest.approx(series, rel=1e-12)
    batch = torch.stack([matrix.detach(), 0.5 * matrix.detach()])
    singly = torch.stack([topological_entropy(one) for one in batch])
    torch.testing.assert_close(topological_entropy(batch), singly)
    assert float(topological_entropy(torch.zeros(2, 2))) == -math.inf


def test_mobius_against_sympy():
    sympy = pytest.importorskip("sympy", reason="sympy, of the oracles extra, is not installed")
    expected = [int(sympy.mobius(n)) for n in range(1, 60)]
    assert [mobius(n) for n in range(1, 60)] == expected


U = torch.tensor([0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: ihara_determinant(Graph.cycle(3), U, by="walks"), 'by: got .*"nodes" or "edges"'),
        (lambda: ihara_determinant(Graph.cycle(3), 2 * U), r'u w = 1 .*by="edges"'),
        (lambda: ihara_determinant(Graph.cycle(3), torch.tensor([1])), "points: .*real or complex"),
        (lambda: hashimoto_product(Graph.cycle(3), U), r"expected \[..., 6\]"),
        (lambda: reduced_closed_walks(Graph.cycle(3), 0), "length: got 0"),
        (lambda: topological_entropy(-torch.eye(2)), "entries >= 0"),
        (lambda: topological_entropy(torch.ones(2, 3)), r"floating \[..., n, n\]"),
        (lambda: artin_mazur_zeta(torch.eye(2), torch.ones(())), "points: got a pole"),
        (lambda: shift_polynomial([[1, 2]]), r"matrix: got shape \[1, 2\]"),
        (lambda: shift_polynomial([[0.5]]), r"an entry 0.5, expected integers"),
        (lambda: shift_polynomial([[math.nan]]), r"an entry nan, expected integers"),
        (lambda: shift_polynomial(torch.tensor([[math.inf]])), r"an entry inf, expected integers"),
        (lambda: shift_polynomial([[1, 2], [1]]), r"matrix: got shape \[2\]"),
        (lambda: toral_fixed_points([[1, 1], [0, 1]], 3), "eigenvalue of power 1"),
        (lambda: orbits([1, 2]), "1 points of prime period 2"),
    ],
)
def test_what_has_no_zeta_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
