"""The specification's view of a crystal: symmetries, lattice, zone, bands and phonons."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .brillouin_zone import BrillouinZone
from .phonons import dynamical_matrix, nearest_neighbours, phonon_modes
from .plane_waves import plane_wave_hamiltonian
from .point_pattern import DetectedLattice, detect_lattice
from .space_group import SymmetryGroup, symmetry_group


class RefractionSystem:
    """Crystals by the specification's names; each method is one call of this package.

    Args:
        tolerance: of distances in symmetries, as a fraction of the longest primitive vector.
        most: largest entry of the reciprocal vectors kept as plane waves.
    """

    def __init__(self, tolerance: float = 1e-5, most: int = 4) -> None:
        self.tolerance = tolerance
        self.most = most

    def compute_symmetries(
        self,
        lattice: Float[Tensor, "n n"],
        positions: Float[Tensor, "m n"],
        species: Int[Tensor, " m"],
    ) -> SymmetryGroup:
        """Space-group operations and what their group is called, as `symmetry_group` tells."""
        return symmetry_group(lattice, positions, species, self.tolerance)

    def detect_lattice(self, points: Float[Tensor, "m n"]) -> DetectedLattice:
        """The lattice of a noisy pattern, as `detect_lattice` tells."""
        return detect_lattice(points)

    def brillouin_zones(self, lattice: Float[Tensor, "n n"]) -> list[BrillouinZone]:
        """The first zone, which `number`s the wavevectors of the others."""
        return [BrillouinZone(lattice)]

    def band_structure(
        self,
        wavevector: Float[Tensor, "*b n"],
        reciprocal: Float[Tensor, "n n"],
        harmonics: Int[Tensor, "h n"],
        amplitudes: Tensor,
    ) -> Float[Tensor, "*b m"]:
        """Energies in a periodic potential, ascending, as `plane_wave_hamiltonian` tells."""
        matrix = plane_wave_hamiltonian(wavevector, reciprocal, harmonics, amplitudes, self.most)
        energies: Tensor = torch.linalg.eigvalsh(matrix)
        return energies

    def phonon_modes(
        self,
        wavevector: Float[Tensor, "*b n"],
        lattice: Float[Tensor, "n n"],
        spring: float = 1.0,
        mass: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Frequencies and polarisations with springs between nearest neighbours."""
        bonds = nearest_neighbours(lattice)
        return phonon_modes(dynamical_matrix(wavevector, bonds, spring, mass))
