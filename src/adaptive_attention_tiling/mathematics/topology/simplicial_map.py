"""Simplicial maps, and what they do to chains and cochains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Int, Num
from torch import Tensor

from ...errors import ArgumentError
from .simplicial_complex import SimplicialComplex


class SimplicialMap:
    """A map of vertices that sends every simplex to a simplex, perhaps of lower dimension.

    f[v_0 ... v_k] = [f v_0 ... f v_k], with the sign of the order of its vertices, and 0 where
    two of them meet; then boundary f = f boundary.

    Args:
        source, target: the complexes.
        vertices: f, a vertex of the target for every vertex of the source.

    Raises:
        ArgumentError: for a vertex without an image, or a simplex that is sent to none.

    Source: Munkres, Elements of Algebraic Topology (1984), section 12.
    """

    def __init__(
        self, source: SimplicialComplex, target: SimplicialComplex, vertices: Mapping[int, int]
    ) -> None:
        missing = [v for (v,) in source.simplices(0).tolist() if v not in vertices]
        if missing:
            raise ArgumentError(
                "vertices", f"no image of {missing[0]}", "an image of every vertex", "add it"
            )
        self.source, self.target, self.vertices = source, target, dict(vertices)
        for facet in source.facets():
            image = sorted({vertices[v] for v in facet})
            target.numbers(torch.tensor(image))

    def matrix(self, degree: int) -> Int[Tensor, "targets sources"]:
        """What it does to k-chains, sparse int64 [targets, sources]."""
        simplices = self.source.simplices(degree)
        images = torch.tensor([[self.vertices[v] for v in row] for row in simplices.tolist()])
        images = images.reshape(simplices.shape).long()
        ordered, places = images.sort(1)
        full = (ordered[:, 1:] > ordered[:, :-1]).all(1).nonzero().flatten()
        rows = self.target.numbers(ordered[full])
        return torch.sparse_coo_tensor(
            torch.stack([rows, full]),
            _signs(places[full]),
            (self.target.count(degree), self.source.count(degree)),
            check_invariants=True,
        ).coalesce()

    def pullback(self, cochain: Num[Tensor, "*b n"], degree: int) -> Num[Tensor, "*b m"]:
        """(f^* a)(x) = a(f x), for cochains of the target, [*b, targets] -> [*b, sources]."""
        if cochain.dim() < 1 or cochain.shape[-1] != self.target.count(degree):
            raise ArgumentError(
                "cochain",
                f"shape {list(cochain.shape)}",
                f"[..., {self.target.count(degree)}]",
                "pass one value a simplex of the target",
            )
        matrix = self.matrix(degree)
        rows, columns = matrix.indices()
        values = cochain[..., rows] * matrix.values().to(cochain.dtype)
        empty = cochain.new_zeros((*cochain.shape[:-1], self.source.count(degree)))
        return empty.index_add(-1, columns, values)


def _signs(places: Tensor) -> Tensor:
    """(-1)^(number of inversions) of each row."""
    size = places.shape[1]
    inversions = torch.zeros(len(places), dtype=torch.int64)
    for i in range(size):
        for j in range(i + 1, size):
            inversions += places[:, i] > places[:, j]
    return 1 - 2 * (inversions % 2)
