"""How entangled a state is: negativity and concurrence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .density_matrix import check_density_matrix, partial_transpose


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
    rounding errors. Gradients are right to first order, for changes within the range of rho.

    Wootters, Entanglement of formation of an arbitrary state of two qubits (1998).
    """
    if state.shape[-2:] != (4, 4):
        raise ArgumentError("state", f"shape {list(state.shape)}", "[..., 4, 4]", "pass two qubits")
    check_density_matrix(state)
    factor = _hermitian_factor(state)
    flip = torch.tensor([-1, 1, 1, -1], dtype=state.dtype, device=state.device).diag().flip(-1)
    values: Tensor = torch.linalg.svdvals(factor.mT @ flip @ factor)
    return (2 * values[..., 0] - values.sum(-1)).clamp(min=0)


def _hermitian_factor(state: Tensor) -> Tensor:
    """T with rho = T T^H, whose gradient d rho = dT T^H + T dT^H does not ask for eigenvectors.

    T_0 = V l^(1/2) has no gradient, and T = (rho T_0^(-H) + T_0) / 2 is equal to it.
    """
    values, vectors = torch.linalg.eigh(state.detach())
    kept = values > 4 * torch.finfo(values.dtype).eps
    roots = torch.where(kept, values, 1.0).sqrt()
    root = vectors * torch.where(kept, roots, 0.0)[..., None, :]
    inverse = vectors * torch.where(kept, 1 / roots, 0.0)[..., None, :]
    factor: Tensor = (state @ inverse + root) / 2
    return factor
