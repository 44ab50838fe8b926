"""Figures and distances of diagrams: by hand, by brute force, by gudhi, and by their laws."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.graph import Graph
from adaptive_attention_tiling.mathematics.topology.persistence import (
    Diagram,
    betti_curve,
    bottleneck_distance,
    landscape,
    persistence,
    persistence_entropy,
    persistence_summary,
    strongest_edges,
    total_persistence,
    wasserstein_distance,
)
from adaptive_attention_tiling.mathematics.topology.persistence.distances import assignment


def diagram_of(pairs, *, superlevel=False):
    values = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2)
    return Diagram(1, values, torch.full(values.shape, -1), superlevel)


def random_diagram(count, source, endless=0):
    births = torch.rand(count, generator=source, dtype=torch.float64)
    lengths = torch.rand(count, generator=source, dtype=torch.float64)
    deaths = births + lengths
    deaths[:endless] = torch.inf
    return Diagram(1, torch.stack([births, deaths], 1), torch.full((count, 2), -1))


def test_figures_by_hand():
    diagram = diagram_of([[0.0, 1.0], [0.5, 3.5], [1.0, math.inf]])
    levels = torch.tensor([-0.1, 0.0, 0.5, 1.0, 3.5, 9.0], dtype=torch.float64)
    assert betti_curve(diagram, levels).tolist() == [0, 1, 2, 2, 1, 1]
    assert float(total_persistence(diagram)) == 4.0
    assert float(total_persistence(diagram, 2)) == 10.0
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert float(persistence_entropy(diagram)) == pytest.approx(expected, abs=1e-15)
    shape = landscape(diagram.finite(), torch.tensor([0.5, 0.75, 2.0]).double(), 3)
    assert shape.tolist() == [[0.5, 0.25, 1.5], [0.0, 0.25, 0.0], [0.0, 0.0, 0.0]]


def test_falling_levels_mirror_rising_ones():
    rising = diagram_of([[0.125, 0.625], [0.25, 0.375], [0.5, math.inf]])
    falling = diagram_of([[0.875, 0.375], [0.75, 0.625], [0.5, -math.inf]], superlevel=True)
    levels = torch.arange(17, dtype=torch.float64) / 16
    assert torch.equal(betti_curve(rising, levels), betti_curve(falling, 1 - levels))
    torch.testing.assert_close(landscape(rising, levels, 2), landscape(falling, 1 - levels, 2))
    torch.testing.assert_close(total_persistence(rising), total_persistence(falling))
    torch.testing.assert_close(rising.ended(1.5).lengths, falling.ended(-0.5).lengths)


def test_classes_of_length_zero_have_no_part_in_entropy():
    diagram = diagram_of([[1.0, 1.0], [0.0, 2.0], [0.0, 2.0]])
    assert float(persistence_entropy(diagram)) == pytest.approx(math.log(2), abs=1e-15)
    assert float(persistence_entropy(diagram_of([[1.0, 1.0]]))) == 0


def test_no_class_has_no_entropy():
    empty = diagram_of([])
    assert float(persistence_entropy(empty)) == 0 == float(total_persistence(empty))
    assert landscape(empty, torch.zeros(2).double(), 2).tolist() == [[0, 0], [0, 0]]
    assert len(empty.ended(1.0)) == 0


def test_a_class_that_is_ended_where_it_begins_is_none():
    assert diagram_of([[0.25, 0.5], [1.0, math.inf]]).ended(1.0).pairs.tolist() == [[0.25, 0.5]]


def plain_distances(first, second, order):
    """Over all matchings: the least of the largest cost, and of the sum of powers."""
    one, other = first.pairs.tolist(), second.pairs.tolist()
    rows = [*one, *[None] * len(other)]
    columns = [*other, *[None] * len(one)]

    def cost(a, b):
        if a is None or b is None:
            only = a or b
            return 0.0 if only is None else (only[1] - only[0]) / 2
        return max(abs(a[0] - b[0]), abs(a[1] - b[1]))

    table = [[cost(a, b) for b in columns] for a in rows]
    matchings = [
        [table[i][j] for i, j in enumerate(p)] for p in itertools.permutations(range(len(rows)))
    ]
    total = min(sum(c**order for c in costs) for costs in matchings)
    return min(max(costs) for costs in matchings), total ** (1 / order)


@pytest.mark.parametrize("sizes", [(3, 3), (4, 2), (1, 5), (0, 3)])
def test_distances_are_the_least_over_all_matchings(sizes):
    source = torch.Generator().manual_seed(sum(sizes))
    for order in (1, 2.5):
        first, second = (random_diagram(size, source) for size in sizes)
        bottleneck, wasserstein = plain_distances(first, second, order)
        assert float(bottleneck_distance(first, second)) == pytest.approx(bottleneck, abs=1e-14)
        found = float(wasserstein_distance(first, second, order))
        assert found == pytest.approx(wasserstein, abs=1e-13)


def test_bottleneck_distance_is_gudhis():
    gudhi = pytest.importorskip("gudhi", reason="gudhi, of the topology extra, is not installed")
    source = torch.Generator().manual_seed(0)
    for size, endless in [(5, 0), (30, 2), (80, 1)]:
        first, second = random_diagram(size, source, endless), random_diagram(size, source, endless)
        expected = gudhi.bottleneck_distance(first.pairs.numpy(), second.pairs.numpy())
        assert float(bottleneck_distance(first, second)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [1, 4, 40])
def test_assignment_is_scipys(size):
    optimize = pytest.importorskip(
        "scipy.optimize", reason="scipy, of the oracles extra, is not installed"
    )
    source = np.random.default_rng(size)
    for costs in (source.random((size, size)), source.integers(0, 4, (size, size)).astype(float)):
        chosen = assignment(costs)
        assert sorted(chosen) == list(range(size))
        best = costs[optimize.linear_sum_assignment(costs)].sum()
        assert costs[np.arange(size), chosen].sum() == pytest.approx(best, abs=1e-12)


def test_classes_that_never_end_are_matched_to_each_other():
    first = diagram_of([[0.1, math.inf], [0.7, math.inf], [0.2, 0.3]])
    second = diagram_of([[0.6, math.inf], [0.4, math.inf]])
    assert float(bottleneck_distance(first, second)) == pytest.approx(0.3)
    assert float(wasserstein_distance(first, second)) == pytest.approx(0.3 + 0.1 + 0.05)
    alone = diagram_of([[0.6, math.inf]])
    assert float(bottleneck_distance(first, alone)) == math.inf
    assert float(wasserstein_distance(alone, first)) == math.inf


@pytest.mark.parametrize("superlevel", [False, True], ids=["sublevel", "superlevel"])
def test_diagrams_move_no_farther_than_weights(superlevel):
    source = torch.Generator().manual_seed(1)
    graph = Graph.complete(14)
    for size in (1e-3, 0.1, 0.4):
        weights = torch.rand(len(graph.edges), generator=source, dtype=torch.float64)
        change = size * (2 * torch.rand(weights.shape, generator=source, dtype=torch.float64) - 1)
        moved = (weights + change).clamp(0, 1)
        before, after = (
            persistence(Graph(14, graph.edges, w), 2, superlevel=superlevel)
            for w in (weights, moved)
        )
        most = float((moved - weights).abs().max())
        distances = [float(bottleneck_distance(a, b)) for a, b in zip(before, after, strict=True)]
        assert 0 < max(distances) <= most + 1e-15


def test_distances_and_figures_have_gradients():
    source = torch.Generator().manual_seed(2)
    pairs = [random_diagram(size, source).pairs.requires_grad_() for size in (4, 3)]
    levels = torch.linspace(0.1, 1.5, 5, dtype=torch.float64)

    def figures(first, second):
        one, other = (Diagram(1, p, torch.full(p.shape, -1)) for p in (first, second))
        return (
            bottleneck_distance(one, other),
            wasserstein_distance(one, other),
            wasserstein_distance(one, other, 2),
            total_persistence(one, 2),
            persistence_entropy(other),
            landscape(one, levels, 2),
        )

    assert torch.autograd.gradcheck(figures, pairs)
    same = random_diagram(3, source)
    same.pairs.requires_grad_()
    (gradient,) = torch.autograd.grad(wasserstein_distance(same, same, 2), same.pairs)
    assert gradient.abs().max() == 0


def test_summary_of_a_heads_strongest_edges():
    """Two squares of attention 0.5 and 0.25; a weak edge between them; a token alone."""
    matrix = torch.zeros(9, 9, dtype=torch.float64)
    for corners, weight in (((0, 1, 2, 3), 0.5), ((4, 5, 6, 7), 0.25)):
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            matrix[max(a, b), min(a, b)] = weight
    matrix[7, 0] = 0.125
    matrix.fill_diagonal_(0.5).requires_grad_()
    graph = strongest_edges(matrix, 3)
    assert len(graph.edges) == 9
    summary = persistence_summary(graph, superlevel=True)
    assert (summary.components, summary.loops, summary.endless_loops) == (2, 2, 2)
    lengths = [[0.5] * 3 + [0.75] * 3 + [0.875] + [1.0] * 2, [0.5, 0.25]]
    assert summary.total_persistence.tolist() == [sum(row) for row in lengths]
    shares = [torch.tensor(row).double() / sum(row) for row in lengths]
    expected = torch.stack([-(p * p.log()).sum() for p in shares])
    torch.testing.assert_close(summary.entropy, expected)
    (gradient,) = torch.autograd.grad(summary.total_persistence[0], matrix)
    assert gradient.tril(-1).unique().tolist() == [-1.0, 0.0]


def test_strongest_edges_of_distances():
    points = torch.tensor([0.0, 1.0, 3.0, 7.0])
    graph = strongest_edges((points[:, None] - points).abs(), 1, superlevel=False)
    assert graph.edges.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert graph.weights.tolist() == [1.0, 2.0, 4.0]
    summary = persistence_summary(graph)
    assert (summary.components, summary.total_persistence.tolist()) == (1, [7.0, 0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: wasserstein_distance(d, d, 0.5), "order: got 0.5"),
        (lambda d: wasserstein_distance(d, d, math.inf), "order: got inf.*bottleneck_distance"),
        (lambda d: landscape(d, torch.zeros(1), 0), "count: got 0"),
        (lambda d: d.ended(0.5), r"level: got 0.5, expected .*after all births and deaths, 1"),
        (
            lambda d: bottleneck_distance(d, diagram_of([], superlevel=True)),
            r"superlevel=True, expected dimension 1, superlevel=False",
        ),
        (lambda d: strongest_edges(torch.zeros(2, 3), 1), r"matrix: .*expected floating \[n, n\]"),
        (lambda d: strongest_edges(torch.eye(2), 0), "count: got 0"),
        (lambda d: strongest_edges(torch.eye(2), 1.5), "count: got 1.5"),
        (lambda d: strongest_edges(torch.full((2, 2), math.nan), 1), "matrix: got NaN"),
    ],
)
def test_wrong_arguments_are_told(call, message):
    diagram = diagram_of([[0.0, 1.0]])
    with pytest.raises(ArgumentError, match=message):
        call(replace(diagram, pairs=diagram.pairs.requires_grad_()))
