"""Hodge theory of weighted chain complexes: codifferential, Laplacian, decomposition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float, Num
from torch import Tensor

from ...errors import ArgumentError
from .chain_complex import ChainComplex
from .chain_reduction import ReducedComplex
from .coefficients import Coefficients
from .homology import Cohomology


@dataclass(frozen=True)
class HodgeDecomposition:
    """f = d a + delta b + h with pairwise orthogonal parts and d h = delta h = 0.

    Attributes:
        exact, coexact, harmonic: d a, delta b and h, [*b, n_k].
        potential: a of degree k - 1 with delta-exact gauge (a in the image of delta).
        copotential: b of degree k + 1 in the image of d.
    """

    exact: Float[Tensor, "*b n"]
    coexact: Float[Tensor, "*b n"]
    harmonic: Float[Tensor, "*b n"]
    potential: Float[Tensor, "*b m"]
    copotential: Float[Tensor, "*b p"]


class HodgeComplex:
    """Cochains with inner products <a, b>_k = a^T M_k b, and what follows from them.

    d is the transposed boundary, delta = M_{k-1}^{-1} d^T M_k its adjoint, L = d delta + delta d
    the Hodge Laplacian, whose kernel, the harmonic cochains, is H^k over the reals. With all
    weights 1, L on functions of a graph is degrees minus adjacency. Which cochains span the
    images of d is found exactly, over Q, so that no threshold decides a rank, and everything is
    differentiable in cochains and weights.

    Args:
        complex_: the chains; the matrices here are dense, for some thousand cells a degree.
        weights: for some degrees M_k: positive [n_k] for a diagonal matrix, or a symmetric
            positive definite [n_k, n_k] (Whitney's, say); where none is given, 1.
        dtype: of matrices without weights.

    Raises:
        ArgumentError: for weights of another shape, or that are not positive (definite).

    Source: Eckmann (1944); Lim, Hodge Laplacians on graphs, SIAM Review 62 (2020); Desbrun et
    al., Discrete Differential Forms for Computational Modeling (2006).
    """

    def __init__(
        self,
        complex_: ChainComplex,
        weights: Mapping[int, Tensor] | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.complex = complex_
        given = dict(weights or {})
        dtype = next((weight.dtype for weight in given.values()), dtype)
        self._inner: dict[int, _InnerProduct] = {}
        self._coboundaries: dict[int, Tensor] = {}
        for degree in {*complex_.degrees, *given}:
            size = complex_.count(degree)
            weight = given.get(degree, torch.ones(size, dtype=dtype))
            self._inner[degree] = _InnerProduct(weight, size, degree)
        self._empty = _InnerProduct(torch.ones(0, dtype=dtype), 0, 0)
        self._pivots = ReducedComplex(complex_, Coefficients("Q"))
        self.dtype = dtype

    def coboundary(self, degree: int) -> Float[Tensor, "n_up n"]:
        """The matrix of d on k-cochains, [n_{k+1}, n_k]."""
        if degree not in self._coboundaries:
            matrix = self.complex.boundary(degree + 1).to_dense().t()
            self._coboundaries[degree] = matrix.to(self.dtype)
        return self._coboundaries[degree]

    def inner(
        self, first: Float[Tensor, "*b n"], second: Float[Tensor, "*b n"], degree: int
    ) -> Float[Tensor, "*b"]:
        """<a, b>_k = a^T M_k b."""
        self._check(first, degree)
        self._check(second, degree)
        return (first * self._product(degree).times(second)).sum(-1)

    def derivative(self, form: Float[Tensor, "*b n"], degree: int) -> Float[Tensor, "*b n_up"]:
        """(d f)(x) = f(boundary x), of degree k + 1."""
        self._check(form, degree)
        return form @ self.coboundary(degree).mT

    def codifferential(
        self, form: Float[Tensor, "*b n"], degree: int
    ) -> Float[Tensor, "*b n_down"]:
        """delta f = M_{k-1}^{-1} d^T M_k f, of degree k - 1: <d a, f> = <a, delta f>."""
        self._check(form, degree)
        down = self._product(degree).times(form) @ self.coboundary(degree - 1)
        return self._product(degree - 1).divided(down)

    def laplacian(self, degree: int) -> Float[Tensor, "n n"]:
        """The matrix of d delta + delta d on k-cochains; self-adjoint for <, >_k."""
        identity = torch.eye(self.complex.count(degree), dtype=self.dtype)
        down = self.derivative(self.codifferential(identity, degree), degree - 1)
        up = self.codifferential(self.derivative(identity, degree), degree + 1)
        return (down + up).mT

    def eigenvalues(self, degree: int) -> Float[Tensor, " n"]:
        """The spectrum of the Laplacian on k-cochains, ascending, all >= 0 up to rounding."""
        product = self._product(degree)
        rows = product.unhalved(product.halved(self.laplacian(degree).mT).mT, transposed=True)
        values: Tensor = torch.linalg.eigvalsh((rows + rows.mT) / 2)
        return values

    def decompose(self, form: Float[Tensor, "*b n"], degree: int) -> HodgeDecomposition:
        """The Hodge decomposition of a k-cochain.

        Raises:
            ArgumentError: for a cochain that has not one value a generator.
        """
        self._check(form, degree)
        exact, potential = self._exact_part(form, degree)
        coexact, copotential = self._coexact_part(form, degree)
        return HodgeDecomposition(
            exact,
            coexact,
            form - exact - coexact,
            self._coexact_part(potential, degree - 1)[0],
            self._exact_part(copotential, degree + 1)[0],
        )

    def harmonic_representative(
        self, cocycle: Num[Tensor, "*b n"], degree: int
    ) -> Float[Tensor, "*b n"]:
        """The harmonic cochain of a cocycle's class, which is its shortest representative."""
        floating = cocycle.to(self.dtype)
        return floating - self._exact_part(floating, degree)[0]

    def harmonic_forms(self, degree: int) -> Float[Tensor, "betti n"]:
        """An orthonormal basis of the harmonic k-cochains, one for each rational class."""
        cocycles = Cohomology(self.complex, "Q").generators(degree)
        harmonic = self.harmonic_representative(cocycles, degree)
        gram = harmonic @ self._product(degree).times(harmonic).mT
        factor = torch.linalg.cholesky(gram)
        basis: Tensor = torch.linalg.solve_triangular(factor, harmonic, upper=False)
        return basis

    def _exact_part(self, form: Tensor, degree: int) -> tuple[Tensor, Tensor]:
        """The orthogonal projection to the image of d, and a cochain with that derivative."""
        columns = self._pivots.pivots(degree)[1]
        basis = self.coboundary(degree - 1)[:, columns].mT
        part, factors = self._product(degree).projection(form, basis, dual=False)
        empty = form.new_zeros(*form.shape[:-1], self.complex.count(degree - 1))
        return part, empty.index_copy(-1, torch.tensor(columns, dtype=torch.int64), factors)

    def _coexact_part(self, form: Tensor, degree: int) -> tuple[Tensor, Tensor]:
        """The orthogonal projection to the image of delta, and a cochain that delta sends there."""
        rows = self._pivots.pivots(degree + 1)[0]
        basis = self.coboundary(degree)[rows]
        part, factors = self._product(degree).projection(form, basis, dual=True)
        empty = form.new_zeros(*form.shape[:-1], self.complex.count(degree + 1))
        filled = empty.index_copy(-1, torch.tensor(rows, dtype=torch.int64), factors)
        return part, self._product(degree + 1).divided(filled)

    def _product(self, degree: int) -> _InnerProduct:
        return self._inner.get(degree, self._empty)

    def _check(self, form: Tensor, degree: int) -> None:
        size = self.complex.count(degree)
        if form.dim() < 1 or form.shape[-1] != size or form.dtype != self.dtype:
            raise ArgumentError(
                "form",
                f"{form.dtype} {list(form.shape)}",
                f"{self.dtype} [..., {size}] in degree {degree}",
                "give a value to every generator",
            )


class _InnerProduct:
    """M = C C^T on row vectors [..., n]; C is kept as its diagonal where M is diagonal."""

    def __init__(self, weight: Tensor, size: int, degree: int) -> None:
        shapes = ((size,), (size, size))
        if weight.shape not in shapes or not weight.is_floating_point():
            raise _bad_weights(degree, f"{weight.dtype} {list(weight.shape)}", size)
        if weight.dim() == 1:
            if not bool((weight > 0).all() & weight.isfinite().all()):
                raise _bad_weights(degree, f"least {float(weight.detach().min())}", size)
            self.factor, self.matrix = weight.sqrt(), weight
            return
        factor, failed = torch.linalg.cholesky_ex(weight)
        if int(failed) or not torch.allclose(weight, weight.mT):
            raise _bad_weights(
                degree, "a matrix that is not symmetric or not positive definite", size
            )
        self.factor, self.matrix = factor, weight

    def times(self, rows: Tensor) -> Tensor:
        """M x of each row x."""
        return rows * self.matrix if self.matrix.dim() == 1 else rows @ self.matrix

    def divided(self, rows: Tensor) -> Tensor:
        """M^{-1} x of each row x."""
        return self.unhalved(self.unhalved(rows, transposed=True))

    def halved(self, rows: Tensor) -> Tensor:
        """C^T x of each row x, whose plain length is the length of x."""
        return rows * self.factor if self.factor.dim() == 1 else rows @ self.factor

    def unhalved(self, rows: Tensor, transposed: bool = False) -> Tensor:
        """C^{-T} x of each row x, or C^{-1} x."""
        if self.factor.dim() == 1:
            return rows / self.factor
        factor = self.factor.mT if transposed else self.factor
        return _divided_rows(rows, factor, upper=transposed)

    def projection(self, rows: Tensor, basis: Tensor, dual: bool) -> tuple[Tensor, Tensor]:
        """The projection to the span of `basis` [r, n] (or of its M^{-1}), and its factors [r]."""
        scaled = self.unhalved(basis, transposed=True) if dual else self.halved(basis)
        orthonormal, triangle = torch.linalg.qr(scaled.mT)
        parts = self.halved(rows) @ orthonormal
        factors = _divided_rows(parts, triangle.mT, upper=False)
        return self.unhalved(parts @ orthonormal.mT), factors


def _divided_rows(rows: Tensor, triangle: Tensor, upper: bool) -> Tensor:
    """The X with X triangle = rows, for rows [..., n]."""
    flat = rows.reshape(prod(rows.shape[:-1]), rows.shape[-1])
    solved: Tensor = torch.linalg.solve_triangular(triangle, flat, upper=upper, left=False)
    return solved.reshape(rows.shape)


def _bad_weights(degree: int, got: str, size: int) -> ArgumentError:
    return ArgumentError(
        "weights",
        f"{got} in degree {degree}",
        f"positive [{size}] or symmetric positive definite [{size}, {size}]",
        "give a weight to every generator",
    )
