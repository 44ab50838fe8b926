"""Persistent homology of sparse graphs against n: native, gudhi and ripser on the same edges.

Graphs join each node to the 8 nearest of n random points in three dimensions, or to the 8 tokens of
most attention (softmax of Gaussian queries and keys of width 16, edges at 1 - attention), over F_2.
Nothing is timed whose diagrams are not, number by number, those of gudhi alone, which counts the
making of its complex; the first two also look for density, sort and name critical edges. Weights
are exact in float32, in which ripser computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adaptive_attention_tiling.evaluation.theory.power_law import fitted_exponent
from adaptive_attention_tiling.mathematics.graph import Graph
from adaptive_attention_tiling.mathematics.topology import persistence
from adaptive_attention_tiling.optional import installed

from .contender import Absent, Case, Contender
from .measure import Options, run_cases, tell

NEIGHBOURS, WIDTH, ROWS = 8, 16, 1024
NATIVE, PEER = "native", "gudhi alone"
DENSE = "all pairs of points"


def run(options: Options) -> dict[str, Any]:
    if not installed("gudhi"):
        raise SystemExit('persistence is compared with gudhi. Fix: pip install "gudhi>=3.13"')
    if options.quick:
        return measure({256: 5, 1024: 5}, {64: 3})
    return measure({256: 9, 1024: 9, 4096: 7, 16384: 5}, {64: 5, 128: 3, 256: 1})


def measure(rounds: dict[int, int], dense_rounds: dict[int, int]) -> dict[str, Any]:
    results = run_cases(cases(rounds, dense_rounds))
    results["growth"] = growth(results["rows"], list(rounds))
    results["versions"] = {name: version(name) for name in ("gudhi", "ripser") if installed(name)}
    return results


def cases(rounds: dict[int, int], dense_rounds: dict[int, int]) -> Iterator[Case]:
    for name, made in (("points", points_graph), ("attention", attention_graph)):
        for nodes, times in rounds.items():
            graph = made(nodes)
            for dimension in (1, 2):
                yield case(name, graph, dimension, times)
    for nodes, times in dense_rounds.items():
        yield case(DENSE, dense_graph(nodes), 1, times)


def case(name: str, graph: Graph, dimension: int, rounds: int) -> Case:
    def by(implementation: Any) -> Callable[[], list[Tensor]]:
        most = len(graph.edges) * graph.nodes  # dense ones are wanted here
        return lambda: [
            d.pairs
            for d in persistence(graph, dimension, implementation=implementation, most_cliques=most)
        ]

    def alone() -> list[Tensor]:
        return gudhi_alone(graph, dimension)

    runs = {NATIVE: by("native"), "gudhi, through ours": by("gudhi"), PEER: alone}
    contenders: list[Contender | Absent] = [
        Contender(name=way, run=run, answer=run, truth=alone, distance=farthest, tolerance=0.0)
        for way, run in runs.items()
    ]
    if installed("ripser"):
        matrix = ripser_matrix(graph)

        def by_ripser() -> list[Tensor]:
            return ripser_alone(matrix, dimension)

        contenders.append(
            Contender(
                name="ripser",
                run=by_ripser,
                answer=by_ripser,
                truth=alone,
                distance=farthest,
                tolerance=0.0,
            )
        )
    else:
        contenders.append(Absent("ripser", "not installed"))
    inputs = {"n": graph.nodes, "edges": len(graph.edges), "p": 2}
    name = f"{graph.nodes} nodes, {name}, H_0 to H_{dimension}"
    return Case(name=name, inputs=inputs, contenders=contenders, baseline=PEER, rounds=rounds)


def gudhi_alone(graph: Graph, dimension: int) -> list[Tensor]:
    import gudhi

    tree = gudhi.SimplexTree()
    tree.insert_batch(np.arange(graph.nodes)[None], np.zeros(graph.nodes))
    tree.insert_batch(graph.edges.T.numpy(), graph.weights.numpy())
    tree.expansion(dimension + 1)
    tree.compute_persistence(homology_coeff_field=2)
    return [
        torch.from_numpy(tree.persistence_intervals_in_dimension(k)) for k in range(dimension + 1)
    ]


def ripser_matrix(graph: Graph) -> Any:
    from scipy.sparse import coo_matrix

    first, second = graph.edges.T.numpy()
    shape = (graph.nodes, graph.nodes)
    return coo_matrix((graph.weights.numpy(), (first, second)), shape).tocsr()


def ripser_alone(matrix: Any, dimension: int) -> list[Tensor]:
    import ripser

    found = ripser.ripser(matrix, maxdim=dimension, distance_matrix=True)["dgms"]
    return [torch.from_numpy(pairs).double() for pairs in found]


def farthest(answer: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """The largest difference of sorted births and deaths; infinite if numbers of classes differ."""
    if [len(a) for a in answer] != [len(t) for t in truth]:
        return float("inf")
    differences = [
        (one - other)[one != other].abs().max().item()
        for one, other in zip(map(_sorted, answer), map(_sorted, truth), strict=True)
        if not torch.equal(one, other)
    ]
    return max(differences, default=0.0)


def points_graph(nodes: int) -> Graph:
    """The nearest neighbours among Gaussian points of three dimensions."""
    points = torch.randn(nodes, 3, generator=torch.Generator().manual_seed(0))

    def nearest(rows: Tensor) -> Tensor:
        return torch.cdist(points[rows], points)

    return nearest_graph(nodes, nearest)


def attention_graph(nodes: int) -> Graph:
    """The tokens of most attention, of which a causal head sees the earlier ones only."""
    source = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, nodes, WIDTH, generator=source)

    def missed(rows: Tensor) -> Tensor:
        logits = query[rows] @ key.T * WIDTH**-0.5
        later = torch.arange(nodes) > rows[:, None]
        weights = logits.masked_fill(later, -torch.inf).softmax(-1)
        return (1 - weights).masked_fill(later, torch.inf)

    return nearest_graph(nodes, missed)


def dense_graph(nodes: int) -> Graph:
    graph = Graph.complete(nodes)
    points = torch.randn(nodes, 8, generator=torch.Generator().manual_seed(0))
    first, second = points[graph.edges].unbind(1)
    return Graph(nodes, graph.edges, (first - second).norm(dim=1).double())


def nearest_graph(nodes: int, distances: Callable[[Tensor], Tensor]) -> Graph:
    """Each node with its nearest others, an edge at the smaller of its two distances."""
    found: dict[tuple[int, int], float] = {}
    for rows in torch.arange(nodes).split(ROWS):
        near = distances(rows)
        near[torch.arange(len(rows)), rows] = torch.inf
        values, columns = near.topk(NEIGHBOURS, largest=False)
        ends = torch.stack([rows[:, None].expand_as(columns), columns], -1).sort(-1).values
        for (a, b), value in zip(ends.view(-1, 2).tolist(), values.flatten().tolist(), strict=True):
            if value < torch.inf:
                found[a, b] = min(value, found.get((a, b), value))
    return Graph(nodes, torch.tensor(list(found)), torch.tensor(list(found.values())).double())


def growth(rows: list[dict[str, Any]], lengths: list[int]) -> dict[str, float]:
    """The power of n with which each contender's CPU time grows, by case."""
    curves: dict[str, list[float]] = {}
    for row in rows:
        name = row["case"].partition(" nodes, ")[2]
        if "cpu_ms" in row and DENSE not in name:
            curves.setdefault(f"{name}: {row['contender']}", []).append(row["cpu_ms"]["median"])
    told = {name: round(fitted_exponent(lengths, own), 3) for name, own in curves.items()}
    tell("\nCPU time grows as n to the power")
    for name, power in told.items():
        tell(f"  {name:44}{power:>9}")
    return told


def _sorted(pairs: Tensor) -> Tensor:
    by_death = pairs[pairs[:, 1].argsort(stable=True)]
    return by_death[by_death[:, 0].argsort(stable=True)]
