"""Persistence pairs against a plain reduction of the whole boundary matrix, gudhi and ripser."""

import itertools
import math

import numpy as np
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.graph import Graph
from adaptive_attention_tiling.mathematics.topology.persistence import persistence
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


@pytest.mark.parametrize("prime", [0, 1, 4, 9, 2.0, True])
def test_composite_primes_are_refused(prime):
    with pytest.raises(ArgumentError, match=r"prime: got .*, expected a prime number"):
        persistence(Graph.cycle(4), prime=prime)
