"""Finite weighted graphs, which topology, curvature and zeta functions are asked about."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import ArgumentError


@dataclass(frozen=True)
class Graph:
    """An undirected simple graph with weighted edges.

    Args:
        nodes: n; nodes are numbered from 0.
        edges: [m, 2] int64, each edge once, its smaller node first.
        weights: [m], floating; None gives every edge the weight 1.
    """

    nodes: int
    edges: Int[Tensor, "m 2"]
    weights: Float[Tensor, " m"]

    def __init__(self, nodes: int, edges: Tensor, weights: Tensor | None = None) -> None:
        edges = _checked_edges(nodes, edges)
        if weights is None:
            weights = torch.ones(len(edges), dtype=torch.float64, device=edges.device)
        _check_tensor("weights", weights)
        if weights.shape != edges.shape[:1] or not weights.is_floating_point():
            raise ArgumentError(
                "weights",
                f"{weights.dtype} {list(weights.shape)}",
                f"floating [{len(edges)}]",
                "pass one weight an edge",
            )
        if not bool(weights.isfinite().all()):
            raise ArgumentError(
                "weights", "NaN or infinity", "finite numbers", "leave such edges out"
            )
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "weights", weights)

    @classmethod
    def complete(cls, nodes: int) -> Graph:
        """Every pair of nodes once, with weight 1."""
        _check_nodes(nodes)
        return cls(nodes, torch.combinations(torch.arange(nodes), 2))

    @classmethod
    def cycle(cls, nodes: int) -> Graph:
        """0 - 1 - ... - (nodes - 1) - 0, with weight 1; three nodes or more."""
        _check_nodes(nodes)
        if nodes < 3:
            raise ArgumentError("nodes", nodes, "3 or more", "a shorter cycle is no simple graph")
        start = torch.arange(nodes)
        return cls(nodes, torch.stack([start, (start + 1) % nodes], 1).sort(1).values)

    def adjacency(self) -> Float[Tensor, "n n"]:
        """The symmetric matrix of weights; dense, with gradients."""
        matrix = self.weights.new_zeros(self.nodes, self.nodes)
        first, second = self.edges.unbind(1)
        matrix = matrix.index_put((first, second), self.weights)
        return matrix.index_put((second, first), self.weights)

    def degrees(self) -> Int[Tensor, " n"]:
        """Edges at each node, whatever their weights."""
        return torch.bincount(self.edges.flatten(), minlength=self.nodes)

    def neighbours(self) -> list[list[int]]:
        """The neighbours of each node, in order of number."""
        found: list[list[int]] = [[] for _ in range(self.nodes)]
        for first, second in self.edges.tolist():
            found[first].append(second)
            found[second].append(first)
        return [sorted(row) for row in found]


def _check_nodes(nodes: int) -> None:
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 0:
        raise ArgumentError("nodes", nodes, "an integer >= 0", "pass the number of nodes")


def _check_tensor(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise ArgumentError(name, type(value).__name__, "a tensor", "pass torch.tensor(...)")


def _checked_edges(nodes: int, edges: Tensor) -> Tensor:
    _check_nodes(nodes)
    _check_tensor("edges", edges)
    if edges.dim() != 2 or edges.shape[1] != 2 or edges.dtype != torch.int64:
        raise ArgumentError(
            "edges", f"{edges.dtype} {list(edges.shape)}", "int64 [m, 2]", "pass pairs of nodes"
        )
    if edges.numel() == 0:
        return edges
    if int(edges.min()) < 0 or int(edges.max()) >= nodes:
        raise ArgumentError(
            "edges",
            f"nodes {int(edges.min())} to {int(edges.max())}",
            f"0 to {nodes - 1}",
            "number nodes from 0",
        )
    loops = (edges[:, 0] >= edges[:, 1]).nonzero()
    if len(loops):
        raise ArgumentError(
            "edges",
            f"{edges[int(loops[0])].tolist()} at row {int(loops[0])}",
            "the smaller node first, and no node joined to itself",
            "sort each pair and leave loops out",
        )
    _, counts = edges.unique(dim=0, return_counts=True)
    if int(counts.max()) > 1:
        raise ArgumentError(
            "edges", "an edge more than once", "each edge once", "add up the weights of its copies"
        )
    return edges
