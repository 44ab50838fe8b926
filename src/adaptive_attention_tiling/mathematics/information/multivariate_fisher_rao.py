"""The Fisher-Rao geometry of multivariate normal distributions.

    ds^2 = dmu^T S^-1 dmu + tr((S^-1 dS)^2) / 2

Affine maps x -> L x + c are isometries, so that one end can be brought to N(0, I). From there

    A = [-B  x  0; x^T  0  -x^T; 0  -x  B],   exp(A) = [P  P mu  F; . . .; . . .],  P = S^-1

is the end of the geodesic with velocity (x, B) (Eriksen, 1987; Calvo and Oller, 1991), of length
|A| / 2. The way back, from an end to A, is a search in d (d - 1) / 2 unknowns (normal_lift.py).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..linalg import cholesky, matrix_log, safe_norm, safe_sqrt, symmetric_part
from .multivariate_normal import (
    MultivariateNormal,
    checked_factor,
    normal_jeffreys_divergence,
)
from .normal_lift import generator, horizontal_log, lift, rounding


class MultivariateNormalFisherRao:
    """N(mu, Sigma) with the Fisher-Rao metric; points and tangents are `MultivariateNormal`s.

    Geodesics between two distributions come from a Newton iteration: an end of it is a geodesic,
    which no proof here calls the shortest one; its length lies between `distance_bounds`.
    """

    def metric_matrix(self, point: MultivariateNormal) -> Float[Tensor, "*b m m"]:
        """g in the chart (mu, Sigma_ij with i >= j, row by row), m = d + d (d + 1) / 2."""
        checked_factor("point", point)
        inverse = torch.linalg.inv(point.covariance)
        basis = _symmetric_basis(point.mean)
        moved = inverse[..., None, :, :] @ basis  # S^-1 E_a
        block = torch.einsum("...aij,...bji->...ab", moved, moved) / 2
        size, width = point.mean.shape[-1], block.shape[-1]
        top = torch.nn.functional.pad(inverse, (0, width))
        return torch.cat([top, torch.nn.functional.pad(block, (size, 0))], -2)

    def inner(
        self, point: MultivariateNormal, u: MultivariateNormal, v: MultivariateNormal
    ) -> Float[Tensor, "*b"]:
        """u_mu^T S^-1 v_mu + tr(S^-1 u_S S^-1 v_S) / 2."""
        root = checked_factor("point", point)
        first, second = _whitened(root, u), _whitened(root, v)
        spread = (first.covariance * second.covariance).sum((-2, -1)) / 2
        return (first.mean * second.mean).sum(-1) + spread

    def exp(self, point: MultivariateNormal, tangent: MultivariateNormal) -> MultivariateNormal:
        """The end of the geodesic that leaves `point` with velocity `tangent` after time 1."""
        root = checked_factor("point", point)
        velocity = _whitened(root, tangent)
        flow = torch.matrix_exp(generator(velocity.mean, symmetric_part(velocity.covariance)))
        size = point.mean.shape[-1]
        factor = cholesky(symmetric_part(flow[..., :size, :size]))
        moved = torch.cholesky_solve(flow[..., :size, size : size + 1], factor)[..., 0]
        half = torch.linalg.solve_triangular(factor, root.mT, upper=False)
        return MultivariateNormal(point.mean + (root @ moved[..., None])[..., 0], half.mT @ half)

    def log(self, point: MultivariateNormal, end: MultivariateNormal) -> MultivariateNormal:
        """The velocity at `point` of the geodesic that reaches `end` after time 1.

        Gradients are right to second order.

        Raises:
            CorrectnessError: Newton's iteration did not end, or rounding got the better of it, as
                it may for points further apart than about 6 and does beyond about 11.
        """
        size, dtype = point.mean.shape[-1], point.mean.dtype
        root, relative = _relative("point", point, "end", end)
        flow = horizontal_log(relative)
        velocity = (root @ flow[..., :size, size, None])[..., 0]
        spread = -(root @ flow[..., :size, :size] @ root.mT)
        return MultivariateNormal(velocity.to(dtype), spread.to(dtype))

    def geodesic(
        self, start: MultivariateNormal, end: MultivariateNormal, time: float
    ) -> MultivariateNormal:
        """The point at `time`, from 0 (start) to 1 (end)."""
        velocity = self.log(start, end)
        return self.exp(start, MultivariateNormal(time * velocity.mean, time * velocity.covariance))

    def distance(self, p: MultivariateNormal, q: MultivariateNormal) -> Float[Tensor, "*b"]:
        """The length of the geodesic from p to q, |log G| / 2; raises what `log` raises."""
        _, relative = _relative("p", p, "q", q)
        return (safe_norm(horizontal_log(relative).flatten(-2)) / 2).to(p.mean.dtype)

    def equal_mean_distance(
        self, first: Float[Tensor, "*b d d"], second: Float[Tensor, "*b d d"]
    ) -> Float[Tensor, "*b"]:
        """sqrt(sum_i log^2 l_i / 2), l_i the eigenvalues of S_1^-1 S_2, of equal means.

        Source: Atkinson and Mitchell, Rao's distance measure, 1981, (6.3).
        """
        root = cholesky(first, name="first")
        between = _congruent(root, second)
        return safe_norm(matrix_log(symmetric_part(between)).flatten(-2)) / 2**0.5

    def equal_covariance_distance(
        self,
        first: Float[Tensor, "*b d"],
        second: Float[Tensor, "*b d"],
        covariance: Float[Tensor, "*b d d"],
    ) -> Float[Tensor, "*b"]:
        """2 sqrt(2) arsinh(m / (2 sqrt(2))), m the Mahalanobis distance of the means.

        The geodesic leaves the set of this covariance, in which the distance is m itself.

        Source: Calvo and Oller, An explicit solution of information geodesic equations for the
        multivariate normal model, 1991, section 4.
        """
        root = cholesky(covariance, name="covariance")
        apart = torch.linalg.solve_triangular(root, (second - first)[..., None], upper=False)
        return 8**0.5 * (safe_norm(apart[..., 0]) / 8**0.5).asinh()

    def distance_bounds(
        self, p: MultivariateNormal, q: MultivariateNormal
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """A lower and an upper bound of the distance, both in closed form.

        Lower: distributions embed isometrically into the positive matrices
        [S + mu mu^T, mu; mu^T, 1], where the way is no longer. Upper: the root of Jeffreys'
        divergence, or the lifted path with W = 0 where that is shorter.

        Source: Calvo and Oller, A distance between multivariate normal distributions based in an
        embedding into the Siegel group, 1990; Nielsen, 2023.
        """
        _, relative = _relative("p", p, "q", q)
        origin = MultivariateNormal(torch.zeros_like(relative.mean), _identity(relative.covariance))
        lower = self.equal_mean_distance(_embedded(origin), _embedded(relative))
        lifted = lift(relative, None)
        lost = ~(rounding(lifted) <= 1e-9)
        safe = torch.where(lost[..., None, None], _identity(lifted), lifted)
        path = torch.where(lost, _paired_length(lifted), safe_norm(matrix_log(safe).flatten(-2)))
        path = path / 2
        jeffreys = normal_jeffreys_divergence(origin, relative).clamp(min=0)
        upper = torch.minimum(safe_sqrt(jeffreys), path)
        return lower.to(p.mean.dtype), upper.to(p.mean.dtype)


def _relative(
    name: str, point: MultivariateNormal, other: str, end: MultivariateNormal
) -> tuple[Tensor, MultivariateNormal]:
    """The factor L of S, and `end` in coordinates in which `point` is N(0, I).

    In double precision: matrices to come square what the covariance is conditioned by.
    """
    checked_factor(other, end)
    root = checked_factor(name, MultivariateNormal(point.mean.double(), point.covariance.double()))
    apart = end.mean.double() - point.mean.double()
    mean, covariance = _whitened(root, MultivariateNormal(apart, end.covariance.double()))
    return root, MultivariateNormal(mean, symmetric_part(covariance))


def _paired_length(lifted: Tensor) -> Float[Tensor, "*b"]:
    """|log G| from the larger of each pair of eigenvalues l and 1 / l, which rounding spares."""
    half = lifted.shape[-1] // 2
    larger = torch.linalg.eigvalsh(lifted)[..., -half:].clamp(min=1)
    return safe_norm(larger.log()) * 2**0.5


def _identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device).expand_as(like)


def _whitened(root: Tensor, tangent: MultivariateNormal) -> MultivariateNormal:
    mean = torch.linalg.solve_triangular(root, tangent.mean[..., None], upper=False)[..., 0]
    return MultivariateNormal(mean, _congruent(root, tangent.covariance))


def _congruent(root: Tensor, matrix: Tensor) -> Tensor:
    """L^-1 X L^-T."""
    half = torch.linalg.solve_triangular(root, matrix, upper=False)
    whole: Tensor = torch.linalg.solve_triangular(root, half.mT, upper=False)
    return whole.mT


def _embedded(normal: MultivariateNormal) -> Tensor:
    mean = normal.mean[..., :, None]
    top = torch.cat([normal.covariance + mean @ mean.mT, mean], -1)
    return torch.cat([top, torch.cat([mean.mT, torch.ones_like(mean[..., :1, :])], -1)], -2)


def _symmetric_basis(like: Tensor) -> Float[Tensor, "k d d"]:
    size = like.shape[-1]
    first, second = torch.tril_indices(size, size, device=like.device)
    basis = like.new_zeros(len(first), size, size)
    number = torch.arange(len(first), device=like.device)
    basis[number, first, second] = 1
    basis[number, second, first] = 1
    return basis
