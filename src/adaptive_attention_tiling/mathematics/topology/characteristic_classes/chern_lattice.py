"""Chern numbers of bands on a grid of the Brillouin torus, exact once the grid is fine enough.

Source: Fukui, Hatsugai and Suzuki, J. Phys. Soc. Jpn. 74, 1674 (2005), equations 6 to 9; for
several bands the determinants of their section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ....errors import ArgumentError
from .band_hamiltonians import Hamiltonian

# Below this share of the bands' spread a gap counts as closed.
_CLOSED = 1e-9
# Links below this and fluxes above this share of pi say that the grid misses something.
_LEAST_LINK = 0.1
_LARGEST_FLUX = 0.9


@dataclass(frozen=True)
class ChernNumber:
    """value: the integer.

    defect: |sum of fluxes / 2 pi - value|, rounding only.
    flux: F [n1, n2], of each plaquette, in radians.
    gap: the least distance of the bands to the others on the grid.
    least_link: the least |det <u(k)|u(k + d)>|, 1 for bands that do not change.
    """

    value: int
    defect: float
    flux: Float[Tensor, "n1 n2"]
    gap: float
    least_link: float


def chern_number(
    hamiltonian: Hamiltonian,
    grid: tuple[int, int] = (24, 24),
    bands: int | Sequence[int] = 1,
    *,
    dtype: torch.dtype = torch.float64,
) -> ChernNumber:
    """C = sum_k F(k) / 2 pi, F = arg U_1(k) U_2(k + d_1) / (U_1(k + d_2) U_2(k)), |F| < pi.

    U_i(k) = det <u_a(k)|u_b(k + d_i)> over the chosen bands. With links in this direction the
    lower band of qwz(1) has C = +1. Gauge drops out of every F, and the sum is an integer whatever
    the grid; that it is the right one needs |F| < pi everywhere, and a grid can only be asked at
    its own points.

    Args:
        hamiltonian: k [*b, 2] -> Hermitian [*b, n, n], of period 2 pi in both k.
        grid: points along k_1 and k_2.
        bands: the number of lowest bands, or their places from 0.

    Raises:
        ArgumentError: not Hermitian, not periodic, the gap closes, or the grid is too coarse.
    """
    if len(grid) != 2 or min(grid) < 3:
        raise ArgumentError("grid", tuple(grid), "two numbers of points >= 3", "pass (24, 24)")
    points = torch.stack(
        torch.meshgrid(
            *(2 * math.pi * torch.arange(n, dtype=dtype) / n for n in grid), indexing="ij"
        ),
        -1,
    )
    _check_periodic(hamiltonian, points[:2, :2].reshape(-1, 2))
    states, gap = band_states(hamiltonian, points, bands)
    links = [determinant_links(states, states.roll(-1, axis)) for axis in (0, 1)]
    least = min(float(u.abs().min()) for u in links)
    loop = links[0] * links[1].roll(-1, 0) * (links[0].roll(-1, 1) * links[1]).conj()
    flux = loop.angle()
    largest = float(flux.abs().max()) / math.pi
    if least < _LEAST_LINK or largest > _LARGEST_FLUX:
        raise ArgumentError(
            "grid",
            f"{tuple(grid)}, with a link of {least:.2g} and a flux of {largest:.2g} pi",
            f"links >= {_LEAST_LINK} and fluxes <= {_LARGEST_FLUX} pi",
            f"pass grid={tuple(2 * n for n in grid)}, since bands turn too much between points",
        )
    total = float(flux.sum()) / (2 * math.pi)
    return ChernNumber(round(total), abs(total - round(total)), flux, gap, least)


def band_states(
    hamiltonian: Hamiltonian, points: Float[Tensor, "*b d"], bands: int | Sequence[int]
) -> tuple[Complex[Tensor, "*b n m"], float]:
    """The states of the chosen bands at points of k, and their least distance to other bands."""
    matrices = hamiltonian(points)
    if matrices.shape[:-2] != points.shape[:-1] or matrices.shape[-1] != matrices.shape[-2]:
        raise ArgumentError(
            "hamiltonian",
            f"values of shape {list(matrices.shape)} at points {list(points.shape)}",
            "[*b, n, n] at points [*b, d]",
            "give one square matrix a point",
        )
    if not matrices.is_complex():
        matrices = torch.complex(matrices, torch.zeros_like(matrices))
    size = float(matrices.detach().abs().max())
    if not float((matrices - matrices.mH).detach().abs().max()) <= 1e-5 * size:
        raise ArgumentError(
            "hamiltonian", "a matrix that is not Hermitian, or NaN", "H = H^dagger", "symmetrise it"
        )
    energies, states = torch.linalg.eigh(matrices)
    chosen = _chosen(bands, energies.shape[-1])
    inside = torch.zeros(energies.shape[-1], dtype=torch.bool)
    inside[chosen] = True
    edges = (inside[1:] != inside[:-1]).nonzero()[:, 0]
    distances = energies.detach().diff(dim=-1)[..., edges]
    gap = float(distances.min()) if len(edges) else math.inf
    if gap <= _CLOSED * size:
        raise ArgumentError(
            "hamiltonian",
            f"a gap of {gap:.1e} to the other bands",
            "bands apart from the others everywhere",
            "choose bands that touch no others, or move off the transition",
        )
    return states[..., chosen], gap


def determinant_links(
    states: Complex[Tensor, "*b n m"], following: Complex[Tensor, "*b n m"]
) -> Complex[Tensor, "*b"]:
    """det <u_a(k)|u_b(k + d)>."""
    links: Tensor = torch.linalg.det(states.mH @ following)
    return links


def _chosen(bands: int | Sequence[int], count: int) -> list[int]:
    chosen = list(range(bands)) if isinstance(bands, int) else sorted(bands)
    if not chosen or chosen[0] < 0 or chosen[-1] >= count or len(set(chosen)) < len(chosen):
        raise ArgumentError(
            "bands", bands, f"1 to {count} lowest bands, or places from 0 to {count - 1}", "pass 1"
        )
    return chosen


def _check_periodic(hamiltonian: Hamiltonian, points: Tensor) -> None:
    here = hamiltonian(points).detach()
    for axis in range(points.shape[-1]):
        turned = points.clone()
        turned[..., axis] += 2 * math.pi
        away = float((hamiltonian(turned).detach() - here).abs().max())
        if not away <= 1e-5 * float(here.abs().max()):
            raise ArgumentError(
                "hamiltonian",
                f"a change by {away:.1e} over a period of k_{axis + 1}",
                "period 2 pi in each k",
                "measure k along the lattice vectors, with cells and not places in the phases",
            )
