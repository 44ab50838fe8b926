"""Symmetric positive definite matrices."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import (
    check_positive_definite,
    check_symmetric,
    cholesky,
    matrix_exp,
    matrix_expm1,
    matrix_log,
    matrix_log1p,
    matrix_sqrt,
    safe_norm,
    symmetric_part,
)
from .checks import check_size
from .manifold import AbstractManifold


class PositiveDefinite(AbstractManifold):
    """Symmetric positive definite m by m matrices P with the affine-invariant metric

        g_P(V, W) = tr(P^-1 V P^-1 W),     d(A P A^T, A Q A^T) = d(P, Q)

    of dimension m (m + 1) / 2 and sectional curvature in [-1/2, 0]; any two points are joined by
    one geodesic. Points are [*b, m, m], tangents symmetric matrices. The chart is the upper
    triangle of P, rows first: P_11, P_12, ..., P_1m, P_22, ...

    With P = L L^T everything is told in A = L^-1 (Q - P) L^-T, so that nearby points keep their
    digits, and in I + A = L^-1 Q L^-T where that is small; those of a matrix whose eigenvalues span
    a factor c are lost by as much.

    Source: Bhatia, Positive Definite Matrices (2007), chapter 6; Pennec, Fillard and Ayache, A
    Riemannian framework for tensor computing (2006).

    Args:
        size: m.
    """

    def __init__(self, size: int) -> None:
        check_size("size", size)
        super().__init__(size * (size + 1) // 2)
        self.size = size

    def check_point(self, point: Tensor, name: str = "point") -> None:
        """Raise an ArgumentError unless these are symmetric with eigenvalues above 0."""
        self._check_shape(name, point)
        check_positive_definite(name, point)

    def inner(
        self, point: Float[Tensor, "*b m m"], first: Tensor, second: Tensor
    ) -> Float[Tensor, "*b"]:
        """tr(P^-1 V P^-1 W)."""
        factor = self._factor(point, first=first, second=second)
        return (_within(factor, first) * _within(factor, second)).sum((-1, -2))

    def exp(
        self, point: Float[Tensor, "*b m m"], tangent: Float[Tensor, "*b m m"]
    ) -> Float[Tensor, "*b m m"]:
        """P + L (e^A - I) L^T, or L e^A L^T far down, with A = L^-1 V L^-T."""
        factor = self._factor(point, tangent=tangent)
        step = _within(factor, tangent)
        falls = _below(step, -0.5)
        near = point + _without(factor, matrix_expm1(torch.where(falls, 0.0, step)))
        if not bool(falls.any()):
            return near
        return torch.where(falls, _without(factor, matrix_exp(torch.where(falls, step, 0.0))), near)

    def log(
        self, point: Float[Tensor, "*b m m"], other: Float[Tensor, "*b m m"]
    ) -> Float[Tensor, "*b m m"]:
        """L log(I + A) L^T with A = L^-1 (Q - P) L^-T."""
        factor = self._pair(point, other)
        return _without(factor, _log_between(factor, point, other))

    def distance(
        self, point: Float[Tensor, "*b m m"], other: Float[Tensor, "*b m m"]
    ) -> Float[Tensor, "*b"]:
        """sqrt(sum_i log^2 l_i), l the eigenvalues of P^-1 Q; derivatives are 0 where it is 0."""
        factor = self._pair(point, other)
        return safe_norm(_log_between(factor, point, other).flatten(-2))

    def transport(
        self,
        point: Float[Tensor, "*b m m"],
        other: Float[Tensor, "*b m m"],
        tangent: Float[Tensor, "*b m m"],
    ) -> Float[Tensor, "*b m m"]:
        """E V E^T with E = (Q P^-1)^(1/2) = L (L^-1 Q L^-T)^(1/2) L^-1."""
        factor = self._pair(point, other)
        self._check_tangent("tangent", tangent)
        root = matrix_sqrt(_within(factor, other))
        return _without(factor, root @ _within(factor, tangent) @ root)

    def log_euclidean_distance(
        self, point: Float[Tensor, "*b m m"], other: Float[Tensor, "*b m m"]
    ) -> Float[Tensor, "*b"]:
        """|log P - log Q|, of another metric: flat, and not affine-invariant.

        Source: Arsigny et al., Geometric means in a novel vector space structure on symmetric
        positive-definite matrices (2007).
        """
        self.check_point(point)
        self.check_point(other, "other")
        return safe_norm((matrix_log(point) - matrix_log(other)).flatten(-2))

    def metric_matrix(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """tr(P^-1 E_a P^-1 E_b), with E_a the derivative of P by the coordinate a."""
        basis = self._basis(coordinates)
        inverse = torch.linalg.inv(torch.einsum("...a,aij->...ij", coordinates, basis))
        return torch.einsum("...ij,ajk,...kl,bli->...ab", inverse, basis, inverse, basis)

    def coordinates(self, point: Float[Tensor, "*b m m"]) -> Float[Tensor, "*b n"]:
        """The upper triangle, rows first."""
        self._check_shape("point", point)
        rows, columns = torch.triu_indices(self.size, self.size, device=point.device)
        return symmetric_part(point)[..., rows, columns]

    def from_coordinates(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m m"]:
        """The symmetric matrix with this upper triangle."""
        return torch.einsum("...a,aij->...ij", coordinates, self._basis(coordinates))

    def _basis(self, like: Tensor) -> Float[Tensor, "n m m"]:
        rows, columns = torch.triu_indices(self.size, self.size, device=like.device)
        basis = torch.zeros(
            self.dimension, self.size, self.size, dtype=like.dtype, device=like.device
        )
        number = torch.arange(self.dimension, device=like.device)
        basis[number, rows, columns] = 1.0
        basis[number, columns, rows] = 1.0
        return basis

    def _factor(self, point: Tensor, **tangents: Tensor) -> Tensor:
        self._check_shape("point", point)
        for name, tangent in tangents.items():
            self._check_tangent(name, tangent)
        return cholesky(point, name="point")

    def _pair(self, point: Tensor, other: Tensor) -> Tensor:
        self.check_point(other, "other")
        return self._factor(point)

    def _check_tangent(self, name: str, tangent: Tensor) -> None:
        self._check_shape(name, tangent)
        check_symmetric(name, tangent)

    def _check_shape(self, name: str, matrix: Tensor) -> None:
        if matrix.dim() < 2 or matrix.shape[-2:] != (self.size, self.size):
            raise ArgumentError(
                name,
                f"shape {list(matrix.shape)}",
                f"[*b, {self.size}, {self.size}]",
                "use matrices of the size of this manifold",
            )


def _log_between(factor: Tensor, point: Tensor, other: Tensor) -> Tensor:
    """log(L^-1 Q L^-T), by log(I + A) but where I + A is so small that A has lost its digits."""
    step = _within(factor, other - point)
    falls = _below(step, -0.5)
    near = matrix_log1p(torch.where(falls, 0.0, step))
    if not bool(falls.any()):
        return near
    eye = torch.eye(step.shape[-1], dtype=step.dtype, device=step.device)
    return torch.where(falls, matrix_log(torch.where(falls, _within(factor, other), eye)), near)


def _below(matrix: Tensor, least: float) -> Tensor:
    """Whether an eigenvalue is below this, [*b, 1, 1]."""
    values: Tensor = torch.linalg.eigvalsh(matrix.detach())
    return values[..., :1, None] < least


def _within(factor: Tensor, matrix: Tensor) -> Tensor:
    """L^-1 V L^-T, symmetric."""
    half = torch.linalg.solve_triangular(factor, matrix, upper=False)
    return symmetric_part(torch.linalg.solve_triangular(factor, half.mT, upper=False))


def _without(factor: Tensor, matrix: Tensor) -> Tensor:
    """L V L^T, symmetric."""
    return symmetric_part(factor @ matrix @ factor.mT)
