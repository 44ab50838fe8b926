"""Tight binding: orbitals of a cell, hops between cells, bands, velocities, density of states."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .band_derivatives import band_velocities, inverse_effective_mass
from .lattice import check_lattice, hexagonal, orthogonal

Hop = tuple[int, int, Sequence[int]]


class TightBinding:
    """H_ij(k) = sum over hops i <- (j, R) of t exp(i k . R), and its conjugates.

    Args:
        lattice: primitive vectors [n, n] as rows.
        orbitals: number of orbitals in a cell.
        hops: (i, j, cell): from orbital j in that cell (n whole numbers) to orbital i in cell 0.
            The way back is added, so a hop is listed one way.
        amplitudes: t [h] of the hops, in units of energy, real or complex; of a level (i, i, 0),
            a real number.

    R is that of cells: positions within a cell are left out, as they change no energy.
    Ashcroft and Mermin, Solid State Physics (1976), chapter 10.
    """

    def __init__(
        self,
        lattice: Float[Tensor, "n n"],
        orbitals: int,
        hops: Sequence[Hop],
        amplitudes: Tensor,
    ) -> None:
        check_lattice(lattice)
        _check_hops(len(lattice), orbitals, hops, amplitudes)
        self.lattice = lattice
        self.orbitals = orbitals
        self.amplitudes = amplitudes
        cells = torch.tensor([list(cell) for *_, cell in hops], device=lattice.device)
        self._shifts = cells.to(lattice) @ lattice
        ends = torch.zeros(len(hops), orbitals, orbitals, dtype=lattice.dtype)
        for index, (i, j, cell) in enumerate(hops):
            # A level and its conjugate are one entry.
            ends[index, i, j] = 0.5 if i == j and not any(cell) else 1.0
        self._ends = ends.to(lattice.device)

    def hamiltonian(self, wavevector: Float[Tensor, "*b n"]) -> Tensor:
        """H(k), complex Hermitian [*b, orbitals, orbitals].

        Args:
            wavevector: k, in radians a unit of length.
        """
        size = len(self.lattice)
        if wavevector.dim() < 1 or wavevector.shape[-1] != size:
            raise ArgumentError(
                "wavevector", f"shape {list(wavevector.shape)}", f"[..., {size}]", "pass k"
            )
        if not bool(wavevector.detach().isfinite().all()):
            raise ArgumentError("wavevector", "NaN or infinity", "finite numbers", "pass k")
        angle = wavevector @ self._shifts.mT
        waves = self.amplitudes * torch.complex(angle.cos(), angle.sin())
        half = torch.einsum("...h,hij->...ij", waves, self._ends.to(waves.dtype))
        matrix: Tensor = half + half.mH
        return matrix

    def bands(self, wavevector: Float[Tensor, "*b n"]) -> Float[Tensor, "*b orbitals"]:
        """Energies, ascending; gradients are those of the sorted bands, apart from crossings."""
        energies: Tensor = torch.linalg.eigvalsh(self.hamiltonian(wavevector))
        return energies

    def velocities(
        self, wavevector: Float[Tensor, " n"], direction: Float[Tensor, " n"]
    ) -> Float[Tensor, " orbitals"]:
        """dE/ds along k + s u for each band, as `band_velocities` tells.

        Args:
            wavevector: k, one point.
            direction: u; its length scales the result, so pass a unit vector.
        """
        meeting = 1e-7 * float(self.amplitudes.detach().abs().sum())
        return band_velocities(self.hamiltonian, wavevector, direction, meeting)

    def inverse_effective_mass(
        self, wavevector: Float[Tensor, " n"], band: int
    ) -> Float[Tensor, "n n"]:
        """d^2 E / dk_a dk_b of one band, as `inverse_effective_mass` tells."""
        meeting = 1e-7 * float(self.amplitudes.detach().abs().sum())
        return inverse_effective_mass(self.hamiltonian, wavevector, band, meeting)


def graphene(hop: float = 1.0, edge: float = 1.0) -> TightBinding:
    """Graphene's pi bands, E = +-t |1 + exp(i k . a_1) + exp(i k . a_2)|.

    Args:
        hop: t, in units of energy.
        edge: lattice constant a (sqrt(3) times the bond). Bands meet at K, |K| = 4 pi / (3 a),
            with Fermi velocity sqrt(3) / 2 t a in units of hbar = 1.

    Castro Neto et al., Rev. Mod. Phys. 81 (2009) 109, equations 6 and 7.
    """
    hops = [(0, 1, (0, 0)), (0, 1, (1, 0)), (0, 1, (0, 1))]
    return TightBinding(hexagonal(edge), 2, hops, torch.full((3,), hop, dtype=torch.float64))


def ssh_chain(within: float, between: float) -> TightBinding:
    """The chain of Su, Schrieffer and Heeger, of cells 1 apart: E = +-|t_1 + t_2 exp(-i k)|.

    Args:
        within: t_1, the hop within a cell.
        between: t_2, that to the next cell. The gap is 2 |t_1 - t_2|, at k = pi if both have
            one sign.

    Su, Schrieffer and Heeger, Phys. Rev. Lett. 42 (1979) 1698.
    """
    amplitudes = torch.tensor([within, between], dtype=torch.float64)
    return TightBinding(orthogonal(1.0), 2, [(0, 1, (0,)), (0, 1, (-1,))], amplitudes)


def density_of_states(
    energies: Float[Tensor, "*b"], grid: Float[Tensor, " g"], width: float
) -> Float[Tensor, " g"]:
    """g(E) = mean over states of a Gaussian of standard deviation `width`; its integral is 1.

    Args:
        energies: of all bands over a grid of wavevectors that is even in the zone; frequencies of
            phonons as well.
        grid: E.
        width: in units of energy. Wider than the distance of neighbouring energies, or the sum
            shows each of them.
    """
    if not 0 < width < math.inf:
        raise ArgumentError("width", width, "a number > 0", "pass a small energy")
    flat = energies.reshape(-1)
    if not flat.numel() or not bool(flat.detach().isfinite().all()):
        raise ArgumentError("energies", "none, or NaN or infinity", "finite energies", "pass bands")
    away = (grid[:, None] - flat) / width
    density: Tensor = (-away.square() / 2).exp().mean(1) / (width * math.sqrt(2 * math.pi))
    return density


def _check_hops(size: int, orbitals: int, hops: Sequence[Hop], amplitudes: Tensor) -> None:
    good = bool(hops) and all(
        0 <= i < orbitals and 0 <= j < orbitals and len(cell) == size for i, j, cell in hops
    )
    if not good:
        raise ArgumentError(
            "hops",
            f"{list(hops)}",
            f"(i, j, cell) with 0 <= i, j < {orbitals} and {size} whole numbers a cell",
            "number orbitals from 0",
        )
    if amplitudes.shape != (len(hops),) or not bool(amplitudes.detach().isfinite().all()):
        raise ArgumentError(
            "amplitudes", f"shape {list(amplitudes.shape)}", f"{len(hops)} finite numbers", "pass t"
        )
