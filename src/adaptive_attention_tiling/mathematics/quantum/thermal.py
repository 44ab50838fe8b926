"""Thermal states rho = e^(-H / T) / Z and their free energy; temperatures in units of energy."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .evolution import check_hermitian


def thermal_state(
    hamiltonian: Complex[Tensor, "*b d d"], temperature: float | Float[Tensor, "*b"]
) -> Complex[Tensor, "*b d d"]:
    """rho = e^(-H / T) / Z, which among all states has the least tr(rho H) - T S(rho).

    It tends to the mixture of the ground states as T goes to 0, to 1 / d as it grows. Rounding of H
    parts equal energies by about eps |H|, and temperatures below that count as that. Differentiable
    to any order, at equal energies too.

    Args:
        hamiltonian: H, in units of energy.
        temperature: T > 0.

    Nielsen and Chuang, Quantum Computation and Quantum Information (2010), section 7.7.2.
    """
    check_hermitian("hamiltonian", hamiltonian)
    energies = torch.linalg.eigvalsh(hamiltonian.detach())
    lifted = hamiltonian - energies[..., :1, None] * torch.eye(energies.shape[-1]).to(hamiltonian)
    rounding = torch.finfo(energies.dtype).eps * energies.abs().amax(-1)
    heat = _checked(temperature, hamiltonian).maximum(rounding)
    # The root is squared, so that rounding leaves no negative eigenvalue.
    root = torch.linalg.matrix_exp(-lifted / (2 * heat[..., None, None]))
    weights: Tensor = root @ root.mH
    return weights / weights.diagonal(dim1=-2, dim2=-1).sum(-1).real[..., None, None]


def helmholtz_free_energy(
    hamiltonian: Complex[Tensor, "*b d d"], temperature: float | Float[Tensor, "*b"]
) -> Float[Tensor, "*b"]:
    """F = -T log tr e^(-H / T), which is tr(rho H) - T S(rho) of the thermal state.

    Its slope in T is -S, its slope in H is rho.

    Args:
        hamiltonian: H, in units of energy.
        temperature: T > 0.

    Landau and Lifshitz, Statistical Physics, Part 1 (1980), section 31.
    """
    check_hermitian("hamiltonian", hamiltonian)
    heat = _checked(temperature, hamiltonian)
    energies = torch.linalg.eigvalsh(hamiltonian)
    lowest = energies.detach()[..., :1]
    weights = (lowest - energies) / heat[..., None]
    found: Tensor = lowest[..., 0] - heat * weights.logsumexp(-1)
    return found


def _checked(temperature: float | Tensor, like: Tensor) -> Tensor:
    found = torch.as_tensor(temperature, dtype=like.real.dtype, device=like.device)
    if not bool(
        ((found.detach() >= torch.finfo(found.dtype).tiny) & found.detach().isfinite()).all()
    ):
        raise ArgumentError("temperature", temperature, "numbers above 0", "pass temperature=1.0")
    return found
