"""The specification's view of a crystal: symmetries, lattice, zone, bands and phonons."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .brillouin_zone import BrillouinZone
from .force_constants import ForceConstants
from .phonons import PhononSpectrum
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
        positions: Float[Tensor, "m n"] | None = None,
        masses: Float[Tensor, " m"] | Sequence[float] | None = None,
        central: Float[Tensor, " s"] | Sequence[float] = (1.0,),
        transverse: Float[Tensor, " s"] | Sequence[float] = (),
    ) -> PhononSpectrum:
        """Frequencies and polarisations of atoms on springs, as `ForceConstants.springs` tells.

        Without positions there is one atom in a cell; without masses each is 1.
        """
        placed = torch.zeros_like(lattice[:1]) if positions is None else positions
        weights = [1.0] * len(placed) if masses is None else masses
        constants = ForceConstants.springs(lattice, placed, weights, central, transverse)
        return constants.modes(wavevector)
