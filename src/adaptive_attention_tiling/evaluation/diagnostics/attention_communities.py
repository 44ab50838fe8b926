"""Groups of tokens that attend to each other: communities of a head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.dynamics import modularity
from ...mathematics.graph import Graph
from .shuffled_graph import shuffled_graph

_MOST_NODES = 2048


class AttentionCommunities(NamedTuple):
    """Parts of a graph, and whether chance would part it as well."""

    parts: Int[Tensor, " n"]
    """The part of each token, from 0; -1 of tokens without links."""
    modularity: float
    """Of these parts."""
    z: float
    """The same in standard deviations of shuffled graphs."""
    p_value: float
    """Chance of so high a modularity in them; no less than 1 / (shuffles + 1)."""


def find_communities(
    graph: Graph, *, shuffles: int = 99, generator: torch.Generator | None = None
) -> AttentionCommunities:
    """Parts of high modularity, each halved along the leading eigenvector while that helps.

        B = W - d d^T / sum d,        B_part - diag(its row sums),        parts by sign

    with W the weights and d their sums at each node. The null parts shuffled graphs in the same
    way, so neither links that fall off with distance nor hubs are communities; see
    `shuffled_graph`.

    Args:
        graph: of `attention_graph`, in the order of the text; at most 2048 tokens.
        shuffles: graphs of the null, >= 1.
        generator: of the shuffles, on the CPU; by default a new one with seed 0.

    Newman, Modularity and community structure in networks (2006), equations 3 to 6.
    """
    check_graph(graph, shuffles)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    parts, quality = _parted(graph)
    null = torch.tensor([_parted(shuffled_graph(graph, generator))[1] for _ in range(shuffles)])
    return AttentionCommunities(parts, quality, *against(quality, null))


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


def _parted(graph: Graph) -> tuple[Int[Tensor, " n"], float]:
    parts = torch.full((graph.nodes,), -1, device=graph.edges.device)
    linked = graph.degrees().nonzero()[:, 0]
    if not len(linked):
        return parts, 0.0
    weights = graph.adjacency().detach().double()[linked][:, linked]
    total = weights.sum(0)
    matrix = weights - torch.outer(total, total) / total.sum()
    todo, names = [torch.arange(len(linked), device=linked.device)], 0
    while todo:
        members = todo.pop()
        halves = _halves(matrix[members][:, members])
        if halves is None:
            parts[linked[members]] = names
            names += 1
        else:
            todo += [members[~halves], members[halves]]
    return parts, float(modularity(graph, parts))


def _halves(matrix: Float[Tensor, "n n"]) -> Tensor | None:
    """Which members go to the second half, if modularity grows by halving."""
    matrix = matrix - matrix.sum(1).diag()
    sign = torch.where(torch.linalg.eigh(matrix).eigenvectors[:, -1] > 0, 1.0, -1.0).to(matrix)
    gain = sign @ matrix @ sign
    if not float(gain) > 1e-9 or bool((sign == sign[0]).all()):
        return None
    return sign != sign[0]
