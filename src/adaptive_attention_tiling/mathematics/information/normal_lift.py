"""Normal distributions as a quotient of positive matrices, in which geodesics are exponentials.

N(mu, S) lies under the matrices

    G(W) = M diag(S^-1, 1, S) M^T,   M = [I . .; mu^T 1 .; W - mu mu^T / 2  -mu  I]

one for each antisymmetric W. A geodesic from N(0, I) lifts to the one from I that stays at right
angles to the change of W: exp(t A) with an empty lower left corner of A. So the lift that reaches a
given end is log G(W) for the W that empties that corner: d (d - 1) / 2 unknowns.

Source: Eriksen, Geodesics connected with the Fischer metric on the multivariate normal manifold,
1987; Kobayashi, Geodesics of multivariate normal distributions and a Toda lattice type Lax pair,
2023.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import CorrectnessError
from ..linalg import cholesky, matrix_log, symmetric_part
from .multivariate_normal import MultivariateNormal

_ITERATIONS = 40
_HALVINGS = 12
_LOST = 1e-2  # of the least eigenvalue, by rounding; of distances it is some 1e-4
_TIGHT, _LOOSE = 1e-13, 1e-7
"""Left of the corner: where Newton's method ends, and what may be left where it gets no further."""


def generator(x: Tensor, b: Tensor) -> Tensor:
    """A = [-B x 0; x^T 0 -x^T; 0 -x B] of the velocity (x, B), [*b, 2 d + 1, 2 d + 1]."""
    column = x[..., :, None]
    empty, zero = torch.zeros_like(b), torch.zeros_like(column[..., :1, :])
    rows = (
        torch.cat([-b, column, empty], -1),
        torch.cat([column.mT, zero, -column.mT], -1),
        torch.cat([empty, -column, b], -1),
    )
    return torch.cat(rows, -2)


def lift(normal: MultivariateNormal, twist: Tensor | None) -> Tensor:
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


def horizontal_log(relative: MultivariateNormal) -> Tensor:
    """log G(W) with an empty corner; one step more, of which derivatives are taken."""
    size = relative.mean.shape[-1]
    basis = _antisymmetric_basis(relative.mean)
    if not len(basis):
        return _paired_log(lift(relative, None))
    with torch.enable_grad():
        fixed = MultivariateNormal(relative.mean.detach(), relative.covariance.detach())
        unknown, slopes = _newton(fixed, basis)
    flow = _paired_log(lift(relative, _combined(unknown, basis)))
    step = torch.linalg.solve(slopes, _corner(flow, size, basis)[..., None])[..., 0]
    return _paired_log(lift(relative, _combined(unknown - step, basis)))


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
        flow = _checked_log(lift(relative, _combined(unknown, basis)))
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
        lifted = lift(relative, _combined(unknown - length[..., None] * step, basis))
        values, vectors = torch.linalg.eigh(lifted)
        # Positive but for rounding; where that hides it, the step is too long.
        flow = (vectors * values.clamp_min(0).log().clamp_min(-1e9)[..., None, :]) @ vectors.mT
        worse = (left > _TIGHT) & ~(_share(_corner(flow, size, basis), flow) < left)
        if not bool(worse.any()):
            break
        length = torch.where(worse, length / 2, length)
    return length[..., None] * step


def _checked_log(lifted: Tensor) -> Tensor:
    least = float(_eigenvalues(lifted).min())
    if not least > 0:
        raise CorrectnessError(
            f"distance: got an eigenvalue {least:.3g} of a positive matrix, by rounding. Fix: use "
            "distance_bounds for points this far apart"
        )
    return matrix_log(lifted)


def rounding(lifted: Tensor) -> Float[Tensor, "*b"]:
    """The share of the least eigenvalue of G that rounding takes; NaN where it came out negative.

    The exchange of the outer blocks inverts G, so that its eigenvalues are pairs l and 1 / l. The
    least is 1 / l_k up to eps l_k. What has come of it |log l_1 l_k| shows, which is near 0 where
    all is well, as for diagonal matrices, and small by chance elsewhere.
    """
    values = _eigenvalues(lifted)
    seen = (values[..., 0].log() + values[..., -1].log()).abs()
    feared = torch.finfo(lifted.dtype).eps * values[..., -1].square()
    return torch.where(seen <= 1e-9, seen, torch.maximum(seen, feared))


def _eigenvalues(lifted: Tensor) -> Tensor:
    """As `matrix_log` gets them; those of `eigvalsh` are rounded otherwise."""
    values: Tensor = torch.linalg.eigh(lifted.detach()).eigenvalues
    return values


def _paired_log(lifted: Tensor) -> Tensor:
    if not bool((rounding(lifted) <= _LOST).all()):
        raise CorrectnessError(
            f"distance: got eigenvalues of which rounding takes more than {_LOST:g}. "
            "Fix: use distance_bounds for points this far apart"
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
