"""Groups of tokens that attend to each other: communities of a head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.graph import Graph
from .shuffled_graph import octaves, shuffled_graphs

_MOST_NODES = 2048


class AttentionCommunities(NamedTuple):
    """Parts of a graph, and whether chance would part it as well."""

    parts: Int[Tensor, " n"]
    """The part of each token, from 0; -1 of tokens without links."""
    modularity: float
    """Share of the links inside the parts beyond what degrees and distances bring there."""
    z: float
    """Leading eigenvalue, in standard deviations of those of shuffled graphs."""
    p_value: float
    """Chance of one as large in them; no less than 1 / (shuffles + 1)."""


def find_communities(
    graph: Graph, *, shuffles: int = 99, generator: torch.Generator | None = None
) -> AttentionCommunities:
    """Parts that links keep to, each halved along the leading eigenvector while that helps.

        B_ij = W_ij - d_i d_j f(|i - j|),        f(b) = sum_b W_ij / sum_b d_i d_j
        Q = sum over pairs in one part of B_ij / sum W

    with W_ij = 1 for links, d the degrees and the sums over pairs in an octave b of distances, so
    that neighbours are no community for being near. Links count alike: by their weights, the first
    queries, which see few keys, would outweigh the rest. The largest eigenvalue of B / sum W is
    compared with those of graphs that keep distances and hubs; see `shuffled_graphs`.

    Args:
        graph: of `attention_graph`, in the order of the text; at most 2048 tokens.
        shuffles: graphs of the null, >= 1.
        generator: of the shuffles, on the CPU; by default a new one with seed 0.

    Newman, Modularity and community structure in networks (2006), equations 3 to 6; Expert et al.,
    Uncovering space-independent communities in spatial networks (2011), equation 4.
    """
    check_graph(graph, shuffles)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    parts = torch.full((graph.nodes,), -1, device=graph.edges.device)
    linked = graph.degrees().nonzero()[:, 0]
    if not len(linked):
        return AttentionCommunities(parts, 0.0, 0.0, 1.0)
    matrix = _beyond_distance(graph)
    parts[linked] = _parted(matrix[linked][:, linked])
    quality = float(matrix[(parts[:, None] == parts) & (parts >= 0)].sum())
    null = torch.stack(
        [_leading(shuffled) for shuffled in shuffled_graphs(graph, shuffles, generator)]
    )
    return AttentionCommunities(parts, quality, *against(float(_leading(graph)), null))


def check_graph(graph: Graph, shuffles: int) -> None:
    """Refuse graphs that are too large for dense matrices, and no shuffles."""
    if graph.nodes > _MOST_NODES:
        raise ArgumentError(
            "graph", f"{graph.nodes} nodes", f"at most {_MOST_NODES}", "take a part of the text"
        )
    if shuffles < 1:
        raise ArgumentError("shuffles", shuffles, "an integer >= 1", "pass shuffles=99")


def against(value: float, null: Float[Tensor, " n"]) -> tuple[float, float]:
    """z, 0 where the null does not vary, and the chance of a value as high."""
    spread = float(null.std(correction=0))
    z = (value - float(null.mean())) / spread if spread > 1e-12 else 0.0
    return z, (1 + int((null >= value).sum())) / (1 + len(null))


def _beyond_distance(graph: Graph) -> Float[Tensor, "n n"]:
    """B / sum W."""
    ones = torch.ones(len(graph.edges), dtype=torch.float64, device=graph.edges.device)
    weights = Graph(graph.nodes, graph.edges, ones).adjacency()
    total = weights.sum(0)
    place = torch.arange(graph.nodes, device=total.device)
    bins = octaves((place[:, None] - place).abs()) + 1
    product = torch.outer(total, total)
    zero = total.new_zeros(int(bins.max()) + 1)
    here = zero.index_add(0, bins.flatten(), weights.flatten())
    due = zero.index_add(0, bins.flatten(), product.flatten())
    expected = product * (here / due.clamp_min(torch.finfo(due.dtype).tiny))[bins]
    return (weights - expected) / weights.sum()


def _leading(graph: Graph) -> Float[Tensor, ""]:
    found: Tensor = torch.linalg.eigvalsh(_beyond_distance(graph))[-1]
    return found


def _parted(matrix: Float[Tensor, "n n"]) -> Int[Tensor, " n"]:
    parts = torch.zeros(len(matrix), dtype=torch.int64, device=matrix.device)
    todo, names = [torch.arange(len(matrix), device=matrix.device)], 0
    while todo:
        members = todo.pop()
        halves = _halves(matrix[members][:, members])
        if halves is None:
            parts[members] = names
            names += 1
        else:
            todo += [members[~halves], members[halves]]
    return parts


def _halves(matrix: Float[Tensor, "n n"]) -> Tensor | None:
    """Which members go to the second half, if modularity grows by halving."""
    matrix = matrix - matrix.sum(1).diag()
    sign = torch.where(torch.linalg.eigh(matrix).eigenvectors[:, -1] > 0, 1.0, -1.0).to(matrix)
    gain = sign @ matrix @ sign
    if not float(gain) > 1e-9 or bool((sign == sign[0]).all()):
        return None
    return sign != sign[0]
