"""Slopes and curvatures of bands: perturbation theory of a Hermitian matrix of wavevectors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

HermitianOfWavevector = Callable[[Tensor], Tensor]


def band_velocities(
    hamiltonian: HermitianOfWavevector,
    wavevector: Float[Tensor, " n"],
    direction: Float[Tensor, " n"],
    meeting: float,
) -> Float[Tensor, " bands"]:
    """dE/ds along k + s u for each band, ascending within bands that meet at k.

    Where bands meet, E is no smooth function of k, but along one line it is: the slopes are the
    eigenvalues of u . dH/dk within the space of one energy.

    Args:
        hamiltonian: H(k), Hermitian [m, m], of a differentiable wavevector.
        wavevector: k, one point.
        direction: u; its length scales the result, so pass a unit vector.
        meeting: energies nearer than this count as one.

    Gradients of the slopes by k or by what H closes over need all bands apart: NaN where any meet.
    """
    moved = torch.func.jvp(hamiltonian, (wavevector,), (direction,))
    energies, states = torch.linalg.eigh(moved[0])
    slope = states.mH @ moved[1] @ states
    meets = (energies.diff().abs() > meeting).tolist()
    edges = [0, *(i + 1 for i, apart in enumerate(meets) if apart), len(energies)]
    blocks = [slope[a:b, a:b] for a, b in pairwise(edges)]
    slopes: Tensor = torch.cat([torch.linalg.eigvalsh(block) for block in blocks])
    return slopes


def inverse_effective_mass(
    hamiltonian: HermitianOfWavevector,
    wavevector: Float[Tensor, " n"],
    band: int,
    meeting: float = 1e-9,
) -> Float[Tensor, "n n"]:
    """d^2 E / dk_a dk_b of one band: 1 / m* in units of hbar = 1.

    <d_a d_b H> + 2 Re sum over other bands of <d_a H> <d_b H> / (E - E_other), which needs no
    gap among the other bands. Its gradients do: they are NaN where others meet. A mass is positive
    at the bottom of a band and negative at its top.

    Args:
        hamiltonian: H(k), Hermitian [m, m], of a differentiable wavevector.
        wavevector: k, one point.
        band: its number, from 0 for the lowest.
        meeting: energies nearer than this count as one.

    Raises:
        ArgumentError: no such band, or it meets another at k.

    Ashcroft and Mermin, Solid State Physics (1976), equations 12.29 and E.11.
    """
    axes = torch.eye(len(wavevector), dtype=wavevector.dtype, device=wavevector.device)
    energies, states = torch.linalg.eigh(hamiltonian(wavevector))
    if not 0 <= band < len(energies):
        raise ArgumentError("band", band, f"0 to {len(energies) - 1}", "count from the lowest")
    away = energies[band] - energies
    others = torch.arange(len(energies), device=energies.device) != band
    if bool((away[others].detach().abs() <= meeting).any()):
        raise ArgumentError(
            "wavevector", "a point where the band meets another", "a band apart", "move off it"
        )
    state = states[:, band]
    weight = torch.where(others, 1 / torch.where(others, away, 1.0), 0.0)
    slopes = [torch.func.jvp(hamiltonian, (wavevector,), (axis,))[1] @ state for axis in axes]
    mixed = torch.stack([states.mH @ slope for slope in slopes])
    second = torch.stack(
        [_second(hamiltonian, wavevector, a, b) for a in axes for b in axes]
    ).unflatten(0, (len(axes), len(axes)))
    direct = torch.einsum("i,abij,j->ab", state.conj(), second, state).real
    through = torch.einsum("am,m,bm->ab", mixed.conj(), weight.to(mixed), mixed).real
    return direct + 2 * through


def _second(hamiltonian: HermitianOfWavevector, at: Tensor, first: Tensor, then: Tensor) -> Tensor:
    def slope(wavevector: Tensor) -> Tensor:
        moved: Tensor = torch.func.jvp(hamiltonian, (wavevector,), (first,))[1]
        return moved

    curvature: Tensor = torch.func.jvp(slope, (at,), (then,))[1]
    return curvature
