"""Persistent homology of sparse weighted graphs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ....errors import ArgumentError
from ....optional import installed
from ...graph import Graph
from ..finite_field import check_residue_prime
from .diagram import Diagram
from .filtration import MOST_CLIQUES, check_sparse, edge_order, flag_filtration
from .reduction import pairs
from .with_gudhi import LARGEST_PRIME, pairs_by_gudhi

Implementation = Literal["native", "gudhi"]


def persistence(
    graph: Graph,
    dimension: int = 1,
    *,
    prime: int = 2,
    superlevel: bool = False,
    node_level: float | None = None,
    implementation: Implementation | None = None,
    most_cliques: int = MOST_CLIQUES,
) -> list[Diagram]:
    """The persistence diagrams of H_0 .. H_dimension of a graph's flag complex over F_p.

    The complex at level t has the edges of weight <= t (distances), or >= t with superlevel
    (similarities, such as weights of attention), and every clique of them. Births and deaths are
    weights of edges, and their gradients go there; where weights tie, to one of those that tie.
    Classes that come and go at one level are left out.

    Args:
        graph: n nodes, m weighted edges.
        dimension: of the highest homology.
        prime: p; torsion of order p is seen over F_p only.
        superlevel: whether high weights come first.
        node_level: the level at which all nodes come; 0 if not given, 1 with superlevel.
        implementation: "native", "gudhi" (the extra `topology`), or None for gudhi if installed.
        most_cliques: most cliques of each size that are looked at.

    Returns:
        Diagrams of dimensions 0, 1, ..., sorted by births, then deaths.

    Raises:
        ArgumentError: prime is composite, an edge comes before its nodes, or the graph is dense.

    Source: Edelsbrunner and Harer, Computational Topology (2010), chapter VII; gradients as in
    Carriere, Chazal, Glisse, Ike, Kannan and Umeda, ICML 2021, section 3.
    """
    level = _checked_level(graph, superlevel, node_level)
    _check_numbers(dimension, prime)
    implementation = _chosen(implementation, prime)
    size = 2 if dimension == 0 else dimension + 2
    if implementation == "gudhi":
        check_sparse(graph, size, most_cliques)
        order = edge_order(graph, superlevel=superlevel)
        edges = graph.edges.cpu().numpy()[order]
        found = pairs_by_gudhi(edges, dimension, graph.nodes, prime)
    else:
        filtration = flag_filtration(graph, size, superlevel=superlevel, most_cliques=most_cliques)
        order, found = filtration.order, pairs(filtration, dimension, graph.nodes, prime)
    rows = np.append(order, -1)  # so that place -1 is row -1
    return [
        _diagram(graph, k, torch.from_numpy(rows[places]).to(graph.edges), level, superlevel)
        for k, places in enumerate(found)
    ]


def _diagram(
    graph: Graph, dimension: int, edges: Int[Tensor, "c 2"], level: float, superlevel: bool
) -> Diagram:
    """Weights of critical edges, sorted, without classes of length 0."""
    sign = -1 if superlevel else 1
    start = graph.weights.new_full((1,), level)
    never = graph.weights.new_full((1,), sign * torch.inf)
    births = torch.cat([start, graph.weights])[edges[:, 0] + 1]
    deaths = torch.cat([never, graph.weights])[edges[:, 1] + 1]
    values = torch.stack([births, deaths], 1)
    kept = births != deaths
    values, edges = values[kept], edges[kept]
    by_death = (sign * values[:, 1]).argsort(stable=True)
    order = by_death[(sign * values[by_death, 0]).argsort(stable=True)]
    return Diagram(dimension, values[order], edges[order], superlevel)


def _checked_level(graph: Graph, superlevel: bool, level: float | None) -> float:
    if level is None:
        level = 1.0 if superlevel else 0.0
    weights = graph.weights.detach()
    if not len(weights):
        return level
    first = float(weights.max() if superlevel else weights.min())
    if first > level if superlevel else first < level:
        raise ArgumentError(
            "graph.weights",
            f"an edge at {first:.6g}, nodes coming at {level:.6g}",
            "edges that come after their nodes",
            f"pass node_level={first:.6g}"
            + ("" if superlevel else ", or superlevel=True for similarities"),
        )
    return level


def _chosen(implementation: Implementation | None, prime: int) -> Implementation:
    if implementation is None:
        known = prime <= LARGEST_PRIME and installed("gudhi")
        return "gudhi" if known else "native"
    if implementation not in ("native", "gudhi"):
        raise ArgumentError(
            "implementation", repr(implementation), '"native", "gudhi" or None', "pass None"
        )
    if implementation == "gudhi" and prime > LARGEST_PRIME:
        raise ArgumentError(
            "prime", prime, f"at most {LARGEST_PRIME} by gudhi", "leave it to native"
        )
    return implementation


def _check_numbers(dimension: int, prime: int) -> None:
    if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 0:
        raise ArgumentError("dimension", dimension, "an integer >= 0", "pass dimension=1")
    check_residue_prime(prime)
