"""Sparse graphs from matrices of similarities or distances."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import ArgumentError
from ...graph import Graph


def strongest_edges(matrix: Float[Tensor, "n n"], count: int, *, superlevel: bool = True) -> Graph:
    """The graph that joins each node to the `count` others to which it is most similar.

    An edge's weight is max(M_ij, M_ji), or the least of the two for distances (superlevel=False);
    the diagonal, similarities that are not positive and distances that are infinite make no edge.
    Weights keep their gradients.
    """
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.is_floating_point():
        raise ArgumentError(
            "matrix", f"{matrix.dtype} {list(matrix.shape)}", "floating [n, n]", "pass one head's"
        )
    if bool(matrix.isnan().any()):
        raise ArgumentError("matrix", "NaN", "numbers", "check what it comes from")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ArgumentError("count", count, "an integer >= 1", "pass count=8")
    nodes = len(matrix)
    both = torch.maximum(matrix, matrix.T) if superlevel else torch.minimum(matrix, matrix.T)
    plain = both.detach()
    off = plain.clone().fill_diagonal_(-torch.inf if superlevel else torch.inf)
    chosen = off.topk(min(count, nodes), 1, largest=superlevel).indices
    start = torch.arange(nodes, device=matrix.device)[:, None].expand_as(chosen)
    edges = torch.stack([start, chosen], -1).flatten(0, 1).sort(1).values.unique(dim=0)
    edges = edges[edges[:, 0] < edges[:, 1]]
    weights = plain[edges[:, 0], edges[:, 1]]
    edges = edges[weights > 0 if superlevel else weights < torch.inf]
    return Graph(nodes, edges, both[edges[:, 0], edges[:, 1]])
