"""The Fisher-Rao geometry of multivariate normal distributions.

    ds^2 = dmu^T S^-1 dmu + tr((S^-1 dS)^2) / 2

Affine maps x -> L x + c are isometries, so that one end can be brought to N(0, I). From there

    A = [-B  x  0; x^T  0  -x^T; 0  -x  B],   exp(A) = [P  P mu  F; . . .; . . .],  P = S^-1

is the end of the geodesic with velocity (x, B) (Eriksen, 1987; Calvo and Oller, 1991), of length
|A| / 2. Normal distributions are a quotient of the positive matrices of that form: each lies under
those whose lower left block -mu mu^T / 2 + W differs by an antisymmetric W, and geodesics lift to
those that stay at right angles to the change of W, which is A's empty corner (Kobayashi, 2023). So
the velocity between two distributions is log G(W) for the W that empties its corner, found by
Newton's method in d (d - 1) / 2 unknowns; W = 0 alone gives an upper bound.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import CorrectnessError
from ..linalg import cholesky, matrix_log, safe_norm, safe_sqrt, symmetric_part
from .multivariate_normal import (
    MultivariateNormal,
    checked_factor,
    normal_jeffreys_divergence,
)

_ITERATIONS = 40
_HALVINGS = 12
_TIGHT, _LOOSE = 1e-13, 1e-7
"""Left of the corner: where Newton's method ends, and what may be left where it gets no further."""


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
        flow = torch.matrix_exp(_generator(velocity.mean, symmetric_part(velocity.covariance)))
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
                it may for points further apart than about 6.
        """
        size, dtype = point.mean.shape[-1], point.mean.dtype
        root, relative = _relative("point", point, "end", end)
        flow = _horizontal_log(relative)
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
        return (safe_norm(_horizontal_log(relative).flatten(-2)) / 2).to(p.mean.dtype)

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
        lifted = _lift(relative, None)
        lost = torch.linalg.eigvalsh(lifted.detach())[..., 0] <= 0  # by rounding
        safe = torch.where(lost[..., None, None], _identity(lifted), lifted)
        path = torch.where(lost, torch.inf, safe_norm(matrix_log(safe).flatten(-2)) / 2)
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


def _generator(x: Tensor, b: Tensor) -> Tensor:
    """A, [*b, 2 d + 1, 2 d + 1]."""
    column = x[..., :, None]
    empty, zero = torch.zeros_like(b), torch.zeros_like(column[..., :1, :])
    rows = (
        torch.cat([-b, column, empty], -1),
        torch.cat([column.mT, zero, -column.mT], -1),
        torch.cat([empty, -column, b], -1),
    )
    return torch.cat(rows, -2)


def _lift(normal: MultivariateNormal, twist: Tensor | None) -> Tensor:
    """G(W) = M diag(S^-1, 1, S) M^T with M = [I . .; mu^T 1 .; W - mu mu^T / 2  -mu  I]."""
    mean, covariance = normal
    column = mean[..., :, None]
    root = cholesky(covariance)
    identity = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device).expand_as(root)
    inverse = torch.linalg.solve_triangular(root, identity, upper=False).mT  # S^-1 = it it^T
    corner = -column @ column.mT / 2 if twist is None else twist - column @ column.mT / 2
    zeros, one = torch.zeros_like(column), torch.ones_like(column[..., :1, :])
    rows = (
        torch.cat([inverse, zeros, torch.zeros_like(root)], -1),
        torch.cat([column.mT @ inverse, one, zeros.mT], -1),
        torch.cat([corner @ inverse, -column, root], -1),
    )
    factor = torch.cat(rows, -2)
    return symmetric_part(factor @ factor.mT)


def _horizontal_log(relative: MultivariateNormal) -> Tensor:
    """log G(W) with an empty corner; one step more, of which derivatives are taken."""
    size = relative.mean.shape[-1]
    basis = _antisymmetric_basis(relative.mean)
    if not len(basis):
        return matrix_log(_lift(relative, None))
    with torch.enable_grad():
        fixed = MultivariateNormal(relative.mean.detach(), relative.covariance.detach())
        unknown, slopes = _newton(fixed, basis)
    flow = matrix_log(_lift(relative, _combined(unknown, basis)))
    step = torch.linalg.solve(slopes, _corner(flow, size, basis)[..., None])[..., 0]
    return matrix_log(_lift(relative, _combined(unknown - step, basis)))


def _newton(relative: MultivariateNormal, basis: Tensor) -> tuple[Tensor, Tensor]:
    """The unknowns at which the corner is empty up to rounding, and its derivatives there.

    Steps are halved until the corner shrinks. What stops shrinking is rounding, if it is small: the
    distance feels its square.
    """
    size = relative.mean.shape[-1]
    unknown = relative.mean.new_zeros(*relative.mean.shape[:-1], len(basis))
    best = torch.full_like(unknown[..., 0], torch.inf)
    for _ in range(_ITERATIONS):
        unknown = unknown.detach().requires_grad_()
        flow = _checked_log(_lift(relative, _combined(unknown, basis)))
        corner = _corner(flow, size, basis)
        slopes = _derivatives(corner, unknown)
        left = _share(corner, flow).detach()
        stuck = (left > best / 2) & (left < _LOOSE)
        if bool(((left < _TIGHT) | stuck).all()):
            return unknown.detach(), slopes
        best = torch.minimum(best, left)
        step = torch.linalg.solve(slopes, corner.detach()[..., None])[..., 0]
        unknown = unknown - _damped(relative, basis, unknown.detach(), step, left)
    raise CorrectnessError(
        f"distance: got a corner of {float(left.max()):.3g} after {_ITERATIONS} steps, expected 0. "
        "Fix: use distance_bounds for points this far apart"
    )


def _damped(
    relative: MultivariateNormal, basis: Tensor, unknown: Tensor, step: Tensor, left: Tensor
) -> Tensor:
    """The step, halved until less of the corner is left."""
    size, length = relative.mean.shape[-1], torch.ones_like(left)
    for _ in range(_HALVINGS):
        lifted = _lift(relative, _combined(unknown - length[..., None] * step, basis))
        values, vectors = torch.linalg.eigh(lifted)
        # Positive but for rounding; where that hides it, the step is too long.
        flow = (vectors * values.clamp_min(0).log().clamp_min(-1e9)[..., None, :]) @ vectors.mT
        worse = (left > _TIGHT) & ~(_share(_corner(flow, size, basis), flow) < left)
        if not bool(worse.any()):
            break
        length = torch.where(worse, length / 2, length)
    return length[..., None] * step


def _checked_log(lifted: Tensor) -> Tensor:
    least = float(torch.linalg.eigvalsh(lifted.detach()).min())
    if not least > 0:
        raise CorrectnessError(
            f"distance: got an eigenvalue {least:.3g} of a positive matrix, by rounding. Fix: use "
            "distance_bounds for points this far apart"
        )
    return matrix_log(lifted)


def _share(corner: Tensor, flow: Tensor) -> Tensor:
    """The corner's size in units of 1 or of the velocity."""
    return corner.abs().amax(-1) / (1 + flow.abs().amax((-2, -1)))


def _derivatives(values: Tensor, unknown: Tensor) -> Tensor:
    """d values_i / d unknown_j, each element of the batch by itself."""
    rows = [
        torch.autograd.grad(value.sum(), unknown, retain_graph=True)[0]
        for value in values.unbind(-1)
    ]
    return torch.stack(rows, -2)


def _combined(unknown: Tensor, basis: Tensor) -> Tensor:
    return torch.einsum("...k,kij->...ij", unknown, basis)


def _corner(flow: Tensor, size: int, basis: Tensor) -> Tensor:
    """The independent entries of the lower left block of A."""
    return torch.einsum("...ij,kij->...k", flow[..., size + 1 :, :size], basis) / 2


def _antisymmetric_basis(like: Tensor) -> Float[Tensor, "k d d"]:
    size = like.shape[-1]
    first, second = torch.triu_indices(size, size, 1, device=like.device)
    basis = like.new_zeros(len(first), size, size)
    number = torch.arange(len(first), device=like.device)
    basis[number, first, second] = 1
    return basis - basis.mT


def _symmetric_basis(like: Tensor) -> Float[Tensor, "k d d"]:
    size = like.shape[-1]
    first, second = torch.tril_indices(size, size, device=like.device)
    basis = like.new_zeros(len(first), size, size)
    number = torch.arange(len(first), device=like.device)
    basis[number, first, second] = 1
    basis[number, second, first] = 1
    return basis
