"""Chain complexes of free groups with chosen bases, given by their boundary matrices."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError
from .simplicial_complex import SimplicialComplex

SparseColumn = dict[int, int]


class ChainComplex:
    """... -> C_{k+1} -> C_k -> C_{k-1} -> ... over Z, with boundary after boundary = 0.

    Args:
        boundaries: for some degrees k (any integers) the matrix [n_{k-1}, n_k] of the map from
            C_k to C_{k-1}, an integer tensor, dense or sparse; other maps are 0. A group without
            maps is given by an empty matrix, as {0: zeros(0, n)}.

    Raises:
        ArgumentError: for shapes that do not fit, entries that are no integers, or a product of
            two maps that is not 0; it names the degree and an entry.

    Source: Hatcher, Algebraic Topology (2002), section 2.1.
    """

    def __init__(self, boundaries: Mapping[int, Tensor]) -> None:
        self._counts: dict[int, int] = {}
        for degree, matrix in sorted(boundaries.items()):
            _check_matrix(degree, matrix)
            known = self._counts.get(degree - 1, matrix.shape[0])
            if known != matrix.shape[0]:
                raise ArgumentError(
                    "boundaries",
                    f"{matrix.shape[0]} rows in degree {degree}",
                    f"{known} rows, the columns of degree {degree - 1}",
                    "transpose the matrix, or complete it",
                )
            self._counts[degree - 1] = known
            self._counts[degree] = matrix.shape[1]
        self._maps = {degree: _sparse(matrix) for degree, matrix in boundaries.items()}
        for degree in self._maps:
            self._check_boundary_of_boundary(degree)

    @classmethod
    def of(cls, complex_: SimplicialComplex) -> ChainComplex:
        """The oriented simplicial chains of a complex."""
        return cls({k: complex_.boundary(k) for k in range(complex_.dimension + 1)})

    @property
    def degrees(self) -> list[int]:
        """The degrees with generators, in increasing order."""
        return sorted(k for k, n in self._counts.items() if n)

    def count(self, degree: int) -> int:
        """The number n_k of generators of one degree."""
        return self._counts.get(degree, 0)

    def euler_characteristic(self) -> int:
        """chi = sum_k (-1)^k n_k."""
        return sum((-1) ** (k % 2) * n for k, n in self._counts.items())

    def boundary(self, degree: int) -> Int[Tensor, "targets sources"]:
        """The matrix of C_k -> C_{k-1}, sparse int64 [n_{k-1}, n_k]."""
        if degree in self._maps:
            return self._maps[degree]
        return torch.sparse_coo_tensor(
            torch.zeros(2, 0, dtype=torch.int64),
            torch.zeros(0, dtype=torch.int64),
            (self.count(degree - 1), self.count(degree)),
            check_invariants=True,
        ).coalesce()

    def columns(self, degree: int) -> list[SparseColumn]:
        """The boundary of each generator of degree k, {number in C_{k-1}: coefficient}."""
        matrix = self.boundary(degree)
        columns: list[SparseColumn] = [{} for _ in range(self.count(degree))]
        rows, places = matrix.indices().tolist()
        for row, column, value in zip(rows, places, matrix.values().tolist(), strict=True):
            if value:
                columns[column][row] = value
        return columns

    def dual(self) -> ChainComplex:
        """The cochains: C^k stands in degree -k, its map to C^{k+1} is the transposed boundary."""
        return ChainComplex({1 - k: matrix.t().coalesce() for k, matrix in self._maps.items()})

    def tensor(self, other: ChainComplex) -> ChainComplex:
        """The tensor product, with d(a x b) = d a x b + (-1)^{deg a} a x d b.

        The generators a x b of one degree are ordered by the degree of a, then a, then b.
        Source: Hatcher, section 3.B.
        """
        pairs: dict[int, list[tuple[int, int]]] = {}
        for p in self.degrees:
            for q in other.degrees:
                pairs.setdefault(p + q, []).append((p, q))
        return ChainComplex({k: _product_boundary(self, other, pairs, k) for k in pairs})

    def _check_boundary_of_boundary(self, degree: int) -> None:
        below = self.columns(degree - 1)
        for place, column in enumerate(self.columns(degree)):
            total: SparseColumn = {}
            for row, entry in column.items():
                for target, factor in below[row].items():
                    total[target] = total.get(target, 0) + entry * factor
            wrong = {target: value for target, value in total.items() if value}
            for target, value in wrong.items():
                raise ArgumentError(
                    "boundaries",
                    f"{value} at row {target}, column {place} of boundary {degree - 1} "
                    f"after boundary {degree}",
                    "0 everywhere",
                    "check the signs of the faces",
                )


def _product_boundary(
    first: ChainComplex, second: ChainComplex, pairs: dict[int, list[tuple[int, int]]], degree: int
) -> Tensor:
    targets, sources = pairs.get(degree - 1, []), pairs[degree]
    if not targets:
        size = sum(first.count(p) * second.count(q) for p, q in sources)
        return torch.zeros(0, size, dtype=torch.int64)
    rows = [[_block(first, second, target, source) for source in sources] for target in targets]
    return torch.cat([torch.cat(row, 1) for row in rows])


def _block(
    first: ChainComplex, second: ChainComplex, target: tuple[int, int], source: tuple[int, int]
) -> Tensor:
    (p, q), (r, s) = source, target
    left = torch.zeros(first.count(r), first.count(p), dtype=torch.int64)
    right = torch.zeros(second.count(s), second.count(q), dtype=torch.int64)
    if (r, s) == (p - 1, q):
        left, right = first.boundary(p).to_dense(), torch.eye(second.count(q), dtype=torch.int64)
    elif (r, s) == (p, q - 1):
        left, right = torch.eye(first.count(p), dtype=torch.int64), second.boundary(q).to_dense()
        left = left * (1 - 2 * (p % 2))
    return torch.kron(left, right)


def _check_matrix(degree: int, matrix: Tensor) -> None:
    if not isinstance(matrix, Tensor):
        raise ArgumentError(
            "boundaries",
            f"{type(matrix).__name__} in degree {degree}",
            "integer tensors [n_{k-1}, n_k]",
            "pass torch.tensor(rows)",
        )
    if matrix.dim() != 2 or matrix.is_floating_point() or matrix.is_complex():
        raise ArgumentError(
            "boundaries",
            f"{matrix.dtype} {list(matrix.shape)} in degree {degree}",
            "integers [n_{k-1}, n_k]",
            "pass a matrix of integers a degree",
        )


def _sparse(matrix: Tensor) -> Tensor:
    sparse = matrix if matrix.is_sparse else matrix.to_sparse()
    return sparse.to(torch.int64).coalesce()
