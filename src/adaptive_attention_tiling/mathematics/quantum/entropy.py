"""Entropies of density matrices, in nats.

Eigenvalues up to 4 eps count as 0. Where rho has such eigenvalues, gradients are right for changes
that keep its rank; when the rank grows the slope of the entropy is infinite, and 0 is given for it.
Gradients are of first order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from ..divided_differences import LOG
from .density_matrix import check_density_matrix, partial_trace


def von_neumann_entropy(state: Complex[Tensor, "*b d d"]) -> Float[Tensor, "*b"]:
    """S = -tr(rho log rho), from 0 (pure) to log d.

    Nielsen and Chuang, Quantum Computation and Quantum Information (2010), section 11.3.
    """
    check_density_matrix(state)
    values, kept = _positive(torch.linalg.eigvalsh(state))
    return -torch.where(kept, values * values.log(), 0.0).sum(-1)


def quantum_renyi_entropy(state: Complex[Tensor, "*b d d"], order: float) -> Float[Tensor, "*b"]:
    """S_a = log tr(rho^a) / (1 - a).

    a = 1 is the von Neumann entropy, a = 0 the logarithm of the rank, a = inf minus the logarithm
    of the largest eigenvalue. S_a does not grow with a.

    Args:
        state: rho.
        order: a, from 0 to infinity.

    Müller-Lennert et al., On quantum Rényi entropies (2013).
    """
    if not order >= 0:
        raise ArgumentError("order", order, "a number >= 0", "pass order=2.0")
    if order == 1:
        return von_neumann_entropy(state)
    check_density_matrix(state)
    values, kept = _positive(torch.linalg.eigvalsh(state))
    if math.isinf(order):
        return -values[..., -1].log()
    logs = values.log()
    if abs(order - 1) < 0.1:  # 1 + sum p (p^(a - 1) - 1), which loses nothing near a = 1
        excess = torch.where(kept, values * torch.expm1((order - 1) * logs), 0.0).sum(-1)
        return excess.log1p() / (1 - order)
    return torch.where(kept, order * logs, -math.inf).logsumexp(-1) / (1 - order)


def purity(state: Complex[Tensor, "*b d d"]) -> Float[Tensor, "*b"]:
    """tr(rho^2), from 1 / d to 1 (pure)."""
    check_density_matrix(state)
    found: Tensor = torch.linalg.matrix_norm(state)
    return found.square()


def relative_entropy(
    state: Complex[Tensor, "*b d d"], other: Complex[Tensor, "*b d d"]
) -> Float[Tensor, "*b"]:
    """S(rho | sigma) = tr(rho log rho) - tr(rho log sigma) >= 0, and 0 only if they are equal.

    Infinite where rho has weight (above sqrt(eps)) outside of the range of sigma; there gradients
    mean nothing.

    Args:
        state: rho.
        other: sigma.

    Nielsen and Chuang (2010), section 11.3.1.
    """
    check_density_matrix(state)
    check_density_matrix(other, "other")
    return _cross_entropy(state, other) - von_neumann_entropy(state)


def quantum_mutual_information(
    state: Complex[Tensor, "*b d d"],
    dimensions: Sequence[int] = (2, 2),
    factors: Sequence[int] = (0,),
) -> Float[Tensor, "*b"]:
    """I = S(rho_A) + S(rho_B) - S(rho) >= 0: 2 log 2 for a Bell state, 0 for products.

    Args:
        state: rho.
        dimensions: of the factors, with product d.
        factors: those in A; B is the rest.

    Nielsen and Chuang (2010), section 11.3.4.
    """
    rest = [k for k in range(len(dimensions)) if k not in factors]
    parts = [partial_trace(state, dimensions, kept) for kept in (factors, rest)]
    return sum(map(von_neumann_entropy, parts), -von_neumann_entropy(state))


def _cross_entropy(state: Tensor, other: Tensor) -> Tensor:
    """-tr(rho log sigma), with the gradient of log by divided differences."""
    values, vectors = torch.linalg.eigh(other.detach())
    values, kept = _positive(values)
    inside = vectors.mH @ state @ vectors
    weights = inside.diagonal(dim1=-2, dim2=-1).real
    total = -torch.where(kept, weights * values.log(), 0.0).sum(-1)
    slopes = LOG.first(values[..., :, None], values[..., None, :])
    slopes = torch.where(kept[..., :, None] & kept[..., None, :], slopes, 0.0)
    slope = vectors @ (slopes * inside.detach()) @ vectors.mH
    total = total - (slope.conj() * (other - other.detach())).sum((-2, -1)).real
    lost = torch.where(kept, 0.0, weights.detach()).sum(-1)
    return torch.where(lost > math.sqrt(torch.finfo(lost.dtype).eps), math.inf, total)


def _positive(values: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues with 1 in the place of those that count as 0, and where they do not."""
    kept = values > 4 * torch.finfo(values.dtype).eps
    return torch.where(kept, values, 1.0), kept
