"""Symplectic forms, Hamiltonian fields, Poisson brackets and symplectic matrices.

Points are z = (q_1, ..., q_n, p_1, ..., p_n), and the standard form is sum_i dq_i ^ dp_i, whose
matrix is J = [[0, 1], [-1, 0]].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError, CorrectnessError

Function = Callable[[Tensor], Tensor]


def standard_matrix(
    half: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Float[Tensor, "2n 2n"]:
    """J = [[0, 1], [-1, 0]] in blocks of n = half."""
    if half < 1:
        raise ArgumentError("half", half, "1 or more", "pass the number of positions")
    unit = torch.eye(half, dtype=dtype, device=device)
    zero = torch.zeros_like(unit)
    return torch.cat([torch.cat([zero, unit], 1), torch.cat([-unit, zero], 1)])


@dataclass(frozen=True)
class SymplecticForm:
    """omega = (1/2) omega_ij(z) dz^i ^ dz^j, closed and nowhere degenerate.

    Hamiltonian fields follow omega(X_H, .) = dH, and brackets {f, g} = omega(X_f, X_g) = df(X_g),
    so that {q, p} = 1 for the standard form.

    Args:
        matrix: z [*b, 2n] -> omega_ij = omega(d_i, d_j), [*b, 2n, 2n], row by row. It must not
            branch on values.

    Arnold, Mathematical Methods of Classical Mechanics (1989), sections 37 to 40, whose bracket
    (F, H) = dF(X_H) is ours; Marsden and Ratiu, Introduction to Mechanics and Symmetry (1999),
    section 5.5.
    """

    matrix: Function

    @classmethod
    def standard(cls, half: int) -> SymplecticForm:
        """sum_i dq_i ^ dp_i on R^(2n) with n = half."""
        standard_matrix(half)

        def matrix(z: Tensor) -> Tensor:
            j = standard_matrix(half, z.dtype, z.device)
            return j.expand(*z.shape[:-1], *j.shape)

        return cls(matrix)

    def __call__(
        self, z: Float[Tensor, "*b 2n"], u: Float[Tensor, "*b 2n"], v: Float[Tensor, "*b 2n"]
    ) -> Float[Tensor, "*b"]:
        """omega_z(u, v) = u^T omega v."""
        value: Tensor = torch.einsum("...i,...ij,...j->...", u, self.matrix(z), v)
        return value

    def check(self, z: Float[Tensor, "*b 2n"]) -> None:
        """Raise an ArgumentError unless this is a symplectic form at these points.

        Antisymmetric within eps^(2/5) of its largest entry, of condition number below eps^(-2/5),
        and closed within eps^(2/5) of its largest derivative or entry.
        """
        form = self._checked_matrix(z)
        if not form.numel():
            return
        forgiven = math.pow(torch.finfo(form.dtype).eps, 0.4)
        scale = form.detach().abs().amax((-2, -1))
        uneven = (form + form.mT).detach().abs().amax((-2, -1))
        if not bool((uneven <= forgiven * scale).all()):
            raise ArgumentError(
                "matrix",
                f"{float(uneven.max()):.3g} from antisymmetric",
                "omega_ij = -omega_ji",
                "take the antisymmetric part",
            )
        worst = torch.linalg.cond(form.detach()).max()
        if not bool(worst * forgiven < 1):
            raise ArgumentError(
                "matrix",
                f"a condition number of {float(worst):.3g}",
                f"a nondegenerate form, below {1 / forgiven:.3g}",
                "leave degenerate points out",
            )
        slope = self.exterior_derivative(z).detach().abs()
        largest = torch.maximum(scale, _partials(self.matrix, z).detach().abs().amax((-3, -2, -1)))
        if not bool((slope.amax((-3, -2, -1)) <= forgiven * largest).all()):
            raise ArgumentError(
                "matrix",
                f"d omega with an entry of {float(slope.max()):.3g}",
                "a closed form",
                "add what makes d omega zero, or use a form d theta",
            )

    def exterior_derivative(self, z: Float[Tensor, "*b 2n"]) -> Float[Tensor, "*b 2n 2n 2n"]:
        """(d omega)_ijk = d_i omega_jk + d_j omega_ki + d_k omega_ij, zero for a closed form."""
        one = _partials(self.matrix, z)  # d_i omega_jk
        cyclic = one.movedim((-3, -2, -1), (-2, -1, -3)) + one.movedim((-3, -2, -1), (-1, -3, -2))
        return one + cyclic

    def hamiltonian_field(self, energy: Function) -> Function:
        """X_H with omega(X_H, .) = dH: q' = dH/dp and p' = -dH/dq for the standard form.

        Args:
            energy: H, z [*b, 2n] -> [*b], row by row.

        Returns:
            z [*b, 2n] -> [*b, 2n]. It raises torch.linalg.LinAlgError where omega is singular.
        """

        def field(z: Tensor) -> Tensor:
            found: Tensor = torch.linalg.solve(self.matrix(z).mT, _gradient(energy, z))
            return found

        return field

    def poisson_bracket(self, first: Function, second: Function) -> Function:
        """{f, g} = df(X_g) as a function of points, so that brackets can be nested.

        Antisymmetric, a derivation in each place, and zero around the Jacobi identity
        {f, {g, h}} + {g, {h, f}} + {h, {f, g}} = 0 just where d omega = 0.
        """
        field = self.hamiltonian_field(second)

        def bracket(z: Tensor) -> Tensor:
            value: Tensor = torch.linalg.vecdot(_gradient(first, z), field(z))
            return value

        return bracket

    def darboux_frame(self, z: Float[Tensor, "*b 2n"]) -> Float[Tensor, "*b 2n 2n"]:
        """A basis S of tangent vectors, as columns, with S^T omega S = J at each point.

        Symplectic Gram-Schmidt, which takes the pair with the largest omega(a, b) first. Frames of
        neighbouring points need not belong to coordinates.

        da Silva, Lectures on Symplectic Geometry (2001), theorem 1.1.
        """
        form = self._checked_matrix(z)
        left = torch.eye(z.shape[-1], dtype=form.dtype, device=form.device).expand_as(form)
        first, second = [], []
        while left.shape[-1]:
            products = left.mT @ form @ left
            a, b = _largest_pair(products)
            value = torch.take_along_dim(products.flatten(-2), (a * left.shape[-1] + b), -1)
            if not bool((value > 0).all()):
                raise ArgumentError(
                    "matrix", "a degenerate form", "det omega > 0", "leave degenerate points out"
                )
            e, f = (_column(left, index) / value.sqrt() for index in (a, b))
            first.append(e)
            second.append(f)
            rest = _without(left, a, b)
            along_e = torch.einsum("...i,...ij,...jk->...k", e, form, rest)
            along_f = torch.einsum("...i,...ij,...jk->...k", f, form, rest)
            left = (
                rest + e[..., None] * along_f[..., None, :] - f[..., None] * along_e[..., None, :]
            )
        return torch.stack(first + second, -1)

    def _checked_matrix(self, z: Tensor) -> Tensor:
        form = self.matrix(z)
        if z.dim() < 1 or z.shape[-1] % 2 or form.shape != (*z.shape, z.shape[-1]):
            raise ArgumentError(
                "z",
                f"points {list(z.shape)} with a form of shape {list(form.shape)}",
                "[..., 2n] and [..., 2n, 2n]",
                "pass positions and momenta together",
            )
        if not bool(form.detach().isfinite().all()):
            raise ArgumentError("z", "NaN or infinity in omega", "finite numbers", "leave it out")
        return form


def symplectic_defect(matrix: Float[Tensor, "*b 2n 2n"]) -> Float[Tensor, "*b"]:
    """How far M is from symplectic: the largest entry of |M^T J M - J|."""
    j = _matching_standard(matrix)
    return (matrix.mT @ j @ matrix - j).abs().amax((-2, -1))


def symplectic_projection(
    matrix: Float[Tensor, "*b 2n 2n"], *, iterations: int = 30
) -> Float[Tensor, "*b 2n 2n"]:
    """The symplectic factor S = M (M* M)^(-1/2) of M, with the adjoint M* = -J M^T J.

    M itself if it is symplectic. By Newton's X <- (X - J X^(-T) J) / 2, which converges
    quadratically where M* M has no eigenvalue on the negative real axis or at zero.

    Args:
        matrix: M.
        iterations: after which an error is raised.

    Raises:
        CorrectnessError: no convergence, because M is too far from symplectic.

    Higham, Mackey, Mackey and Tisseur, Computing the polar decomposition and the matrix sign
    decomposition in matrix groups (2004).
    """
    j = _matching_standard(matrix)
    if not bool((torch.linalg.det(matrix.detach()).abs() > 0).all()):
        raise ArgumentError("matrix", "a singular matrix", "an invertible one", "leave it out")
    x: Tensor = matrix
    enough = math.pow(torch.finfo(matrix.dtype).eps, 0.9)
    for _ in range(iterations):
        before = x
        x = (before - j @ torch.linalg.inv(before).mT @ j) / 2
        change = (x - before).detach().abs().amax((-2, -1))
        size = x.detach().abs().amax((-2, -1))
        if bool((change <= enough * size * size.clamp(min=1)).all()):
            return x
    raise CorrectnessError(
        f"no symplectic factor after {iterations} iterations: the defect is still "
        f"{float(symplectic_defect(x.detach()).max()):.3g}"
    )


def lagrangian_defect(frame: Float[Tensor, "*b 2n n"]) -> Float[Tensor, "*b"]:
    """How far the span of n columns is from Lagrangian: the norm of J on it, from 0 to 1.

    |Q^T J Q| in the spectral norm, of an orthonormal basis Q of the span.

    Raises:
        ArgumentError: the columns are not independent.
    """
    if frame.dim() < 2 or frame.shape[-2] != 2 * frame.shape[-1] or not frame.numel():
        raise ArgumentError(
            "frame", f"shape {list(frame.shape)}", "[..., 2n, n]", "pass n columns of R^(2n)"
        )
    q, r = torch.linalg.qr(frame)
    diagonal = r.detach().diagonal(dim1=-2, dim2=-1).abs()
    if not bool((diagonal.amin(-1) > torch.finfo(frame.dtype).eps * diagonal.amax(-1)).all()):
        raise ArgumentError(
            "frame", "columns that depend on each other", "n independent ones", "pass a basis"
        )
    defect: Tensor = torch.linalg.matrix_norm(
        q.mT @ standard_matrix(frame.shape[-1], frame.dtype, frame.device) @ q, ord=2
    )
    return defect


def _matching_standard(matrix: Tensor) -> Tensor:
    size = matrix.shape[-1] if matrix.dim() > 1 else 0
    if size == 0 or size % 2 or matrix.shape[-2] != size:
        raise ArgumentError(
            "matrix", f"shape {list(matrix.shape)}", "[..., 2n, 2n]", "pass square matrices"
        )
    if not bool(matrix.detach().isfinite().all()):
        raise ArgumentError("matrix", "NaN or infinity", "finite numbers", "leave such ones out")
    return standard_matrix(size // 2, matrix.dtype, matrix.device)


def _gradient(function: Function, z: Tensor) -> Tensor:
    pulled = torch.func.vjp(function, z)
    found: Tensor = pulled[1](torch.ones_like(pulled[0]))[0]
    return found


def _partials(function: Function, z: Tensor) -> Tensor:
    """d_i f, [*b, 2n, ...], of f [*b, ...]."""
    basis = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)

    def slope(row: Tensor) -> Tensor:
        found: Tensor = torch.func.jvp(function, (z,), (row.expand_as(z).contiguous(),))[1]
        return found

    slopes: Tensor = torch.func.vmap(slope)(basis)
    return slopes.movedim(0, z.dim() - 1)


def _largest_pair(products: Tensor) -> tuple[Tensor, Tensor]:
    """The row and the column [*b, 1] of the largest entry."""
    place = products.detach().flatten(-2).argmax(-1, keepdim=True)
    return place // products.shape[-1], place % products.shape[-1]


def _column(matrix: Tensor, index: Tensor) -> Tensor:
    return torch.take_along_dim(matrix, index[..., None, :], -1)[..., 0]


def _without(matrix: Tensor, *indices: Tensor) -> Tensor:
    """All columns but those at indices [*b, 1]."""
    columns = torch.arange(matrix.shape[-1], device=matrix.device)
    kept = torch.stack([columns != index for index in indices]).all(0)
    order = kept.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    order = order[..., : -len(indices)]
    return torch.take_along_dim(matrix, order[..., None, :], -1)
