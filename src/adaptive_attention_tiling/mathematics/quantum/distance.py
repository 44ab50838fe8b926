"""How far apart two states are: fidelity, trace distance, Bures distance and angle."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ..linalg import safe_norm
from .density_matrix import check_density_matrix, hermitian_factor


def fidelity(
    state: Complex[Tensor, "*b d d"], other: Complex[Tensor, "*b d d"]
) -> Float[Tensor, "*b"]:
    """F = tr sqrt(sqrt(rho) sigma sqrt(rho)), from 0 (orthogonal) to 1 (equal).

    This is the square-root fidelity, as in QuTiP; others call F^2 the fidelity. With rho = T T^H
    and sigma = R R^H it is the sum of the singular values of T^H R: |<psi|phi>| for pure states.
    Gradients are of first order, for changes that keep both ranks, where F > 0.

    Nielsen and Chuang, Quantum Computation and Quantum Information (2010), section 9.2.2.
    """
    check_density_matrix(state)
    check_density_matrix(other, "other")
    overlap = hermitian_factor(state).mH @ hermitian_factor(other)
    values: Tensor = torch.linalg.svdvals(overlap)
    return values.sum(-1)


def trace_distance(
    state: Complex[Tensor, "*b d d"], other: Complex[Tensor, "*b d d"]
) -> Float[Tensor, "*b"]:
    """D = |rho - sigma|_1 / 2, from 0 to 1: the best measurement tells them apart with (1 + D) / 2.

    Where rho - sigma has an eigenvalue 0, the gradient is one of several slopes.

    Nielsen and Chuang (2010), section 9.2.1.
    """
    check_density_matrix(state)
    check_density_matrix(other, "other")
    values: Tensor = torch.linalg.eigvalsh(state - other)
    return values.abs().sum(-1) / 2


def bures_distance(
    state: Complex[Tensor, "*b d d"], other: Complex[Tensor, "*b d d"]
) -> Float[Tensor, "*b"]:
    """D_B = sqrt(2 - 2 F) = min over unitary U of |T - R U|_2, for rho = T T^H and sigma = R R^H.

    The second form is used: states that are 1e-12 apart keep their digits. Gradients are those of
    `fidelity`, and 0 where the states are equal.

    Bhatia, Jain and Lim, On the Bures-Wasserstein distance (2019), theorem 1.
    """
    check_density_matrix(state)
    check_density_matrix(other, "other")
    one, two = hermitian_factor(state), hermitian_factor(other)
    left, _, right = torch.linalg.svd((two.mH @ one).detach())
    gap = torch.view_as_real(one - two @ (left @ right))
    return safe_norm(gap.flatten(-3))


def bures_angle(
    state: Complex[Tensor, "*b d d"], other: Complex[Tensor, "*b d d"]
) -> Float[Tensor, "*b"]:
    """A = arccos F = 2 arcsin(D_B / 2), from 0 to pi / 2: the geodesic distance of Bures' metric.

    Nielsen and Chuang (2010), section 9.2.2.
    """
    return 2 * (bures_distance(state, other) / 2).asin()
