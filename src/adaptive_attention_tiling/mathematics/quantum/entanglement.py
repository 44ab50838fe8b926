"""How entangled a state is: negativity, concurrence, witnesses, Bell inequalities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .density_matrix import (
    check_density_matrix,
    hermitian_factor,
    partial_transpose,
    pauli_matrices,
    pure_state,
)


def negativity(
    state: Complex[Tensor, "*b d d"],
    dimensions: Sequence[int] = (2, 2),
    factors: Sequence[int] = (0,),
) -> Float[Tensor, "*b"]:
    """N = sum of |negative eigenvalues| of the partial transpose: 1/2 for a Bell state.

    Some authors call 2 N the negativity. N is zero for separable states and does not grow under
    local operations; for two qubits it is zero for separable states only.

    Args:
        state: rho.
        dimensions: of the factors, with product d.
        factors: those on one side of the cut.

    Vidal and Werner, Computable measure of entanglement (2002), section II.
    """
    check_density_matrix(state)
    values: Tensor = torch.linalg.eigvalsh(partial_transpose(state, dimensions, factors))
    return (-values).clamp(min=0).sum(-1)


def concurrence(state: Complex[Tensor, "*b 4 4"]) -> Float[Tensor, "*b"]:
    """C = max(0, l_1 - l_2 - l_3 - l_4) of two qubits: 1 for a Bell state, 0 if separable.

    l_1 >= ... are the roots of the eigenvalues of rho (Y rho* Y) with Y = sigma_y x sigma_y, which
    are the singular values of T^T Y T for rho = T T^H: in this form no digits are lost to roots of
    rounding errors. Gradients are right to first order, for changes that keep the rank of rho.

    Wootters, Entanglement of formation of an arbitrary state of two qubits (1998).
    """
    _check_two_qubits(state)
    factor = hermitian_factor(state)
    flip = torch.tensor([-1, 1, 1, -1], dtype=state.dtype, device=state.device).diag().flip(-1)
    values: Tensor = torch.linalg.svdvals(factor.mT @ flip @ factor)
    return (2 * values[..., 0] - values.sum(-1)).clamp(min=0)


def log_negativity(
    state: Complex[Tensor, "*b d d"],
    dimensions: Sequence[int] = (2, 2),
    factors: Sequence[int] = (0,),
) -> Float[Tensor, "*b"]:
    """log_2 |rho^T_A|_1 = log_2 (2 N + 1), N the `negativity`: 1 for a Bell state, in bits.

    Vidal and Werner (2002), section II.
    """
    return (2 * negativity(state, dimensions, factors)).log1p() / math.log(2)


def projector_witness(
    vector: Complex[Tensor, "*b d"], dimensions: Sequence[int] = (2, 2)
) -> Complex[Tensor, "*b d d"]:
    """W = c 1 - |psi><psi|, c the largest squared Schmidt coefficient of psi.

    tr(W rho) >= 0 for every separable rho, and 1/2 - 1 = -1/2 for a Bell state and its own W.

    Args:
        vector: psi of two factors; it is normalised.
        dimensions: d_0, d_1 with product d.

    Bourennane et al., Experimental detection of multipartite entanglement using witness operators
    (2004).
    """
    projector = pure_state(vector)
    if len(dimensions) != 2 or math.prod(dimensions) != vector.shape[-1]:
        raise ArgumentError(
            "dimensions",
            f"{list(dimensions)} of a vector of {vector.shape[-1]}",
            "two factors whose product is d",
            "join the factors on each side of the cut",
        )
    unit = vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    schmidt = torch.linalg.svdvals(unit.reshape(*vector.shape[:-1], *dimensions))
    identity = torch.eye(vector.shape[-1], dtype=vector.dtype, device=vector.device)
    found: Tensor = schmidt[..., 0].square()[..., None, None] * identity - projector
    return found


def decomposable_witness(
    state: Complex[Tensor, "*b d d"],
    dimensions: Sequence[int] = (2, 2),
    factors: Sequence[int] = (0,),
) -> Complex[Tensor, "*b d d"]:
    """W = (|v><v|)^T_A, v the eigenvector of the least eigenvalue of rho^T_A, which is tr(W rho).

    tr(W sigma) = <v| sigma^T_A |v> >= 0 for every separable sigma, so that a negative value proves
    rho entangled. W is a constant: no gradient reaches it.

    Lewenstein et al., Optimization of entanglement witnesses (2000).
    """
    check_density_matrix(state)
    vectors = torch.linalg.eigh(partial_transpose(state.detach(), dimensions, factors)).eigenvectors
    return partial_transpose(pure_state(vectors[..., 0]), dimensions, factors)


def chsh_maximum(state: Complex[Tensor, "*b 4 4"]) -> Float[Tensor, "*b"]:
    """max <A B + A B' + A' B - A' B'> = 2 sqrt(s_1^2 + s_2^2) of two qubits over all directions.

    s_1 >= s_2 >= s_3 are the singular values of T_ij = tr(rho sigma_i x sigma_j). Local hidden
    variables stay within 2, quantum states within 2 sqrt(2).

    Horodecki, Horodecki and Horodecki, Violating Bell inequality by mixed spin-1/2 states (1995).
    """
    _check_two_qubits(state)
    blocks = state.reshape(*state.shape[:-2], 2, 2, 2, 2)
    pauli = pauli_matrices(state.dtype, state.device)
    correlations = torch.einsum("...abcd,ica,jdb->...ij", blocks, pauli, pauli).real
    found: Tensor = 2 * torch.linalg.vector_norm(
        torch.linalg.svdvals(correlations)[..., :2], dim=-1
    )
    return found


def _check_two_qubits(state: Tensor) -> None:
    if state.shape[-2:] != (4, 4):
        raise ArgumentError("state", f"shape {list(state.shape)}", "[..., 4, 4]", "pass two qubits")
    check_density_matrix(state)
