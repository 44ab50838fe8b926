"""Flag filtrations: the cliques of a sparse weighted graph, in the order in which they appear.

A clique appears with the last of its edges. Nodes are counted anew by rising degree, so that a
node of very many neighbours (a token that all attend to) costs no more than others: then a node
has at most sqrt(2 m) neighbours of a higher number, whatever the graph of m edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from ....errors import ArgumentError
from ...graph import Graph

Integers = NDArray[np.int64]

MOST_CLIQUES = 1_000_000
# A clique took so long, of distances among 256 random points; of random weights far longer.
_SECONDS = 1.7e-6
_NAMES = {2: "edges", 3: "triangles", 4: "tetrahedra"}


@dataclass(frozen=True)
class Cliques:
    """The cliques of k + 2 nodes, by order of appearance.

    facets: [c, k + 2] the number of each facet among the cliques of k + 1 nodes, by order of
    appearance there; facet i leaves out the i-th node, and its sign in the boundary is (-1)^i.
    last: [c] the place of the last edge in the order of edges.
    """

    facets: Int[np.ndarray, "c k+2"]
    last: Int[np.ndarray, " c"]


@dataclass(frozen=True)
class FlagFiltration:
    """order: [m] rows of graph.edges as they appear; cliques: edges, triangles, and so on."""

    order: Int[np.ndarray, " m"]
    cliques: list[Cliques]


def flag_filtration(
    graph: Graph, size: int, *, superlevel: bool = False, most_cliques: int = MOST_CLIQUES
) -> FlagFiltration:
    """The cliques of up to `size` nodes in their order of appearance.

    Edges appear by rising weight (falling, with superlevel), equal ones by their row in
    graph.edges; cliques with their last edge.

    Raises:
        ArgumentError: a kind of clique has more than most_cliques members.
    """
    order, edges = edge_order(graph, superlevel=superlevel), _renumbered(graph)
    rank = np.empty(len(edges), np.int64)
    rank[order] = np.arange(len(edges))
    # Of the cliques of one size, in lexicographic order: the one without its last node, that last
    # node, all facets, the last edge; and `place` in the order of appearance.
    sorting = np.lexsort((edges[:, 1], edges[:, 0]))
    parent, node = edges[sorting].T
    facets, last = np.stack([node, parent], 1), rank[sorting]
    place = last
    found = [Cliques(facets[order_of(place)], np.arange(len(edges)))]
    for nodes in range(3, size + 1):
        _refuse_many(graph, _siblings(parent), "candidates for ", nodes, 4 * most_cliques)
        first, second = _sibling_pairs(parent)
        keys = parent * graph.nodes + node
        # What is left of two siblings without one node of their common parent, i = 0, 1, ...
        others = [
            _find(keys, facets[first, i] * graph.nodes + node[second]) for i in range(nodes - 2)
        ]
        kept: Bool[np.ndarray, " c"] = others[0] >= 0
        _refuse_many(graph, int(kept.sum()), "", nodes, most_cliques)
        first, second = first[kept], second[kept]
        facets = np.stack([*(found_at[kept] for found_at in others), second, first], 1)
        parent, node = first, node[second]
        last = last[facets].max(1)
        appear = np.argsort(last, kind="stable")
        found.append(Cliques(place[facets[appear]], last[appear]))
        place = order_of(appear)
    return FlagFiltration(order, found)


def edge_order(graph: Graph, *, superlevel: bool = False) -> Integers:
    """The rows of graph.edges in the order in which they appear."""
    weights = graph.weights.detach().double().cpu().numpy()
    order: Integers = np.argsort(-weights if superlevel else weights, kind="stable")
    return order


def check_sparse(graph: Graph, size: int, most_cliques: int = MOST_CLIQUES) -> None:
    """Refuse what flag_filtration refuses, without listing cliques where few edges tell.

    A node of d neighbours of higher number begins at most binom(d, k - 1) cliques of k nodes.
    """
    higher = np.bincount(_renumbered(graph)[:, 0], minlength=graph.nodes).astype(np.float64)
    counts, bound = higher, 0.0
    for k in range(3, size + 1):
        counts = counts * (higher - k + 2).clip(min=0) / (k - 1)
        bound = max(bound, float(counts.sum()))
    if bound > most_cliques:
        flag_filtration(graph, size, most_cliques=most_cliques)


def order_of(places: Integers) -> Integers:
    """The inverse of a permutation."""
    inverse = np.empty_like(places)
    inverse[places] = np.arange(len(places))
    return inverse


def _renumbered(graph: Graph) -> Integers:
    """Edges between nodes that are counted by rising degree, the smaller first."""
    edges = graph.edges.cpu().numpy()
    degrees = np.bincount(edges.ravel(), minlength=graph.nodes)
    number = order_of(np.argsort(degrees, kind="stable"))
    renumbered: Integers = np.sort(number[edges], 1)
    return renumbered


def _siblings(parent: Integers) -> int:
    """How many pairs of cliques differ in their last node only."""
    counts = np.unique(parent, return_counts=True)[1] if len(parent) else np.zeros(0, np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _sibling_pairs(parent: Integers) -> tuple[Integers, Integers]:
    """These pairs, parents being sorted."""
    ends = np.searchsorted(parent, parent, side="right")
    later = ends - np.arange(len(parent)) - 1
    first = np.repeat(np.arange(len(parent)), later)
    starts = np.cumsum(later) - later
    return first, first + 1 + np.arange(len(first)) - np.repeat(starts, later)


def _find(keys: Integers, wanted: Integers) -> Integers:
    """The place of each wanted number among sorted keys; -1 where it is not there."""
    if len(keys) == 0:
        return np.full(len(wanted), -1)
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def _refuse_many(graph: Graph, count: int, role: str, nodes: int, most: int) -> None:
    if count <= most:
        return
    degree = 2 * len(graph.edges) / max(1, graph.nodes)
    kind = _NAMES.get(nodes, f"cliques of {nodes} nodes")
    raise ArgumentError(
        "graph",
        f"{len(graph.edges)} edges on {graph.nodes} nodes (mean degree {degree:.0f}), with "
        f"{count} {role}{kind}",
        f"at most {most}",
        "keep the strongest few edges of each node, as strongest_edges(matrix, 8) does, or pass "
        f"most_cliques={count} and wait for {_SECONDS * count:.1g} s or much longer",
    )
