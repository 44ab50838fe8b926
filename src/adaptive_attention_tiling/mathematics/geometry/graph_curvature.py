"""Ricci curvature of the edges of a graph: negative where few paths join what lies at both ends.

Lengths are hops, 1 for every edge whatever its weight, unless edges are given lengths of their own.
Weights say how often a walk takes an edge, lengths how far that leads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ArgumentError
from ..graph import Graph

_Measure = dict[int, float]
Costs = NDArray[np.float64]


def balanced_forman_curvature(graph: Graph) -> Float[Tensor, " m"]:
    """Balanced Forman curvature of every edge, in float64, in O(sum of degree^2).

        Ric(i, j) = 2/d_i + 2/d_j - 2 + 2 t/max(d_i, d_j) + t/min(d_i, d_j)
                    + (q_i + q_j) / (g max(d_i, d_j)),      0 where a node has degree 1

    with t triangles on the edge, q_i the neighbours of i that lie on a 4-cycle over the edge
    without diagonals, and g the most such cycles through one node. It never exceeds
    `lin_lu_yau_curvature`.

    Source: Topping et al., Understanding over-squashing and bottlenecks on graphs via curvature
    (2022), Definition 1 and Theorem 2.
    """
    near = [set(row) for row in graph.neighbours()]
    values = [_balanced_forman(near, i, j) for i, j in graph.edges.tolist()]
    return torch.tensor(values, dtype=torch.float64, device=graph.edges.device)


def ollivier_curvature(
    graph: Graph, idleness: float = 0.0, lengths: Float[Tensor, " m"] | None = None
) -> Float[Tensor, " m"]:
    """Ollivier's curvature of every edge, in float64.

        kappa(x, y) = 1 - W_1(mu_x, mu_y) / d(x, y),
        mu_x = idleness delta_x + (1 - idleness) p(. | x)

    with p(y | x) the share of the edge's weight in all weights at x, d the length of the shortest
    path and W_1 the cost of moving mass along such paths. The transport problem of each edge is
    solved exactly, in about a millisecond at degree 8: for thousands of edges
    `balanced_forman_curvature` is the cheaper figure.

    Args:
        graph: its weights must be >= 0, with one above 0 at each node that has edges.
        idleness: mass in [0, 1) that stays.
        lengths: of the edges, > 0; None makes each of them 1.

    Source: Ollivier, Ricci curvature of Markov chains on metric spaces (2009), Definition 3.
    """
    if not 0 <= idleness < 1:
        raise ArgumentError("idleness", idleness, "a number in [0, 1)", "pass idleness=0")
    return _ollivier(graph, lambda x, y: idleness, lengths)


def lin_lu_yau_curvature(
    graph: Graph, lengths: Float[Tensor, " m"] | None = None
) -> Float[Tensor, " m"]:
    """The limit of Ollivier's curvature over 1 - idleness as idleness goes to 1, in float64.

    Walks take each edge of a node alike, whatever its weight. With hops the quotient is constant
    for an idleness of 1 / (1 + max(d_x, d_y)) and more, so that it is computed there and no limit
    is taken. With other lengths it is constant from 1/2 on: then x holds more mass than all other
    nodes lack but y, some goes from x to y, and W_1 is linear in idleness.

    Args:
        lengths: of the edges, > 0; None makes each of them 1.

    Source: Lin, Lu and Yau, Ricci curvature of graphs (2011); Bourne et al., Ollivier-Ricci
    idleness functions of graphs (2018), Theorem 4.4.
    """
    graph = Graph(graph.nodes, graph.edges)
    if lengths is not None:
        return 2 * ollivier_curvature(graph, 1 / 2, lengths)
    degrees: list[int] = graph.degrees().tolist()

    def idleness(x: int, y: int) -> float:
        return 1 / (1 + max(degrees[x], degrees[y]))

    ends = graph.edges.tolist()
    stays = torch.tensor([idleness(x, y) for x, y in ends], dtype=torch.float64)
    return _ollivier(graph, idleness) / (1 - stays.to(graph.edges.device))


def path_lengths(graph: Graph, lengths: Float[Tensor, " m"]) -> Float[Tensor, "n n"]:
    """Lengths of the shortest paths between all nodes, infinite between components, in float64.

    By Floyd and Warshall's algorithm, in O(n^3).

    Args:
        lengths: of the edges, > 0.
    """
    return torch.from_numpy(_shortest(graph, lengths)).to(graph.edges.device)


def _shortest(graph: Graph, lengths: Tensor) -> NDArray[np.float64]:
    given = lengths.detach()
    wrong, odd = given.shape != graph.weights.shape, given[~((given > 0) & given.isfinite())]
    if wrong or len(odd):
        raise ArgumentError(
            "lengths", list(given.shape) if wrong else float(odd[0]),
            f"{len(graph.edges)} finite numbers > 0", "pass one length an edge",
        )  # fmt: skip
    found = np.full((graph.nodes, graph.nodes), np.inf)
    np.fill_diagonal(found, 0.0)
    first, second = graph.edges.cpu().numpy().T
    found[first, second] = found[second, first] = given.double().cpu().numpy()
    for between in range(graph.nodes):
        np.minimum(found, found[:, between, None] + found[between], out=found)
    return found


def _balanced_forman(near: list[set[int]], i: int, j: int) -> float:
    least, most = sorted((len(near[i]), len(near[j])))
    if least == 1:
        return 0.0
    triangles = len(near[i] & near[j])
    cycles_i, widest_i = _squares(near, i, j)
    cycles_j, widest_j = _squares(near, j, i)
    flat: float = 2 / least + 2 / most - 2 + 2 * triangles / most + triangles / least
    if not cycles_i:
        return flat
    return flat + (cycles_i + cycles_j) / (max(widest_i, widest_j) * most)


def _squares(near: list[set[int]], i: int, j: int) -> tuple[int, int]:
    """Neighbours k of i with a cycle i - k - w - j without diagonals, and the most w of one k."""
    opposite = near[j] - near[i] - {i}
    counts = [len(near[k] & opposite) for k in near[i] - near[j] - {j}]
    return sum(count > 0 for count in counts), max(counts, default=0)


def _ollivier(
    graph: Graph, idleness: Callable[[int, int], float], lengths: Tensor | None = None
) -> Tensor:
    walks = _walks(graph)
    near = [set(walk) for walk in walks]
    paths = None if lengths is None else _shortest(graph, lengths)
    values = []
    for x, y in graph.edges.tolist():
        stays = idleness(x, y)
        source, target = _lazy(walks[x], x, stays), _lazy(walks[y], y, stays)

        def distances(givers: list[int], takers: list[int], x: int = x, y: int = y) -> Costs:
            if paths is None:
                return np.array([[_hops(near, a, b) for b in takers] for a in givers])
            costs: Costs = paths[np.ix_(givers, takers)] / paths[x, y]
            return costs

        values.append(1 - _transport_cost(source, target, distances))
    return torch.tensor(values, dtype=torch.float64, device=graph.edges.device)


def _walks(graph: Graph) -> list[_Measure]:
    """p(. | x) of every node x."""
    walks: list[_Measure] = [{} for _ in range(graph.nodes)]
    for (x, y), weight in zip(graph.edges.tolist(), graph.weights.tolist(), strict=True):
        if weight < 0:
            raise ArgumentError(
                "weights", f"{weight} of edge {[x, y]}", "numbers >= 0", "pass probabilities"
            )
        walks[x][y] = walks[y][x] = weight
    for node, walk in enumerate(walks):
        total = sum(walk.values())
        if walk and total == 0:
            raise ArgumentError(
                "weights", f"only zeros at node {node}", "one above 0", "leave such edges out"
            )
        walks[node] = {other: weight / total for other, weight in walk.items()}
    return walks


def _lazy(walk: _Measure, node: int, idleness: float) -> _Measure:
    return {node: idleness} | {other: (1 - idleness) * share for other, share in walk.items()}


def _transport_cost(
    source: _Measure, target: _Measure, distances: Callable[[list[int], list[int]], Costs]
) -> float:
    """W_1 between measures around the ends of an edge, at distances [givers, takers].

    Mass that both have stays where it is, which costs nothing in any metric.
    """
    surplus = {k: mass - target.get(k, 0.0) for k, mass in source.items()}
    lack = {k: mass - source.get(k, 0.0) for k, mass in target.items()}
    givers = [k for k, mass in surplus.items() if mass > 0]
    takers = [k for k, mass in lack.items() if mass > 0]
    if not givers:
        return 0.0
    give = np.array([surplus[k] for k in givers])
    take = np.array([lack[k] for k in takers])
    return minimum_cost(distances(givers, takers), give, take)


def _hops(near: list[set[int]], a: int, b: int) -> float:
    """Of nodes around the ends of an edge, which are at most 3 apart."""
    if b in near[a]:
        return 1.0
    return 2.0 if near[a] & near[b] else 3.0


def minimum_cost(
    costs: NDArray[np.float64], supply: NDArray[np.float64], demand: NDArray[np.float64]
) -> float:
    """The least cost of moving `supply` [a] to `demand` [b] of the same sum, at costs [a, b] >= 0.

    Successive shortest paths: mass goes along the cheapest path of what is left, back over earlier
    moves too, until nothing is left (Ahuja, Magnanti and Orlin, Network Flows, section 9.7).
    """
    supply, demand = supply.copy(), demand.copy()
    rounding = 1e-13 * supply.sum()
    moved = np.zeros_like(costs)
    while supply.max() > rounding and demand.max() > rounding:
        path = _cheapest_path(costs, moved, supply > rounding, demand > rounding)
        (start, _), (_, end) = path[0], path[-1]
        backward = [moved[i, j] for i, j in path[1::2]]
        amount = min([supply[start], demand[end], *backward])
        for number, (i, j) in enumerate(path):
            moved[i, j] += amount if number % 2 == 0 else -amount
        supply[start] -= amount
        demand[end] -= amount
    return float((moved * costs).sum())


def _cheapest_path(
    costs: NDArray[np.float64],
    moved: NDArray[np.float64],
    has: NDArray[np.bool_],
    wants: NDArray[np.bool_],
) -> list[tuple[int, int]]:
    """Arcs (row, column), in turn forward and back, of least cost from a row that has."""
    back = np.where(moved > 0, -costs, np.inf)
    rows = np.where(has, 0.0, np.inf)
    columns = np.full(len(wants), np.inf)
    row_from, column_from = np.full(len(rows), -1), np.full(len(columns), -1)
    while True:
        if not _relaxed(columns, column_from, (rows[:, None] + costs).T):
            break
        if not _relaxed(rows, row_from, back + columns):
            break
    column = int(np.where(wants, columns, np.inf).argmin())
    path = []
    while True:
        row = int(column_from[column])
        path.append((row, column))
        if row_from[row] < 0:
            return path[::-1]
        column = int(row_from[row])
        path.append((row, column))


def _relaxed(
    lengths: NDArray[np.float64], origins: NDArray[np.int64], offers: NDArray[np.float64]
) -> bool:
    """Take over what is shorter among the offers [a, b] for lengths [a]; whether anything was.

    An offer as good as the old length is refused, or paths could run in circles.
    """
    best = offers.min(1)
    better = best < lengths - 1e-9
    lengths[better] = best[better]
    origins[better] = offers.argmin(1)[better]
    return bool(better.any())
