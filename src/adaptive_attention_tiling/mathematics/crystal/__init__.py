"""Bravais lattices, their Brillouin zones, bands and vibrations."""

from .brillouin_zone import BrillouinZone
from .chains import ChainModes, diatomic_chain
from .lattice import (
    Reduction,
    body_centred_cubic,
    face_centred_cubic,
    hexagonal,
    lattice_point_group,
    lattice_system,
    minkowski_reduced,
    orthogonal,
    reciprocal_lattice,
    simple_cubic,
)
from .phonons import dynamical_matrix, nearest_neighbours, phonon_modes
from .plane_waves import kronig_penney_bands, plane_wave_hamiltonian
from .tight_binding import TightBinding, density_of_states, graphene, ssh_chain

__all__ = [
    "BrillouinZone",
    "ChainModes",
    "Reduction",
    "TightBinding",
    "body_centred_cubic",
    "density_of_states",
    "diatomic_chain",
    "dynamical_matrix",
    "face_centred_cubic",
    "graphene",
    "hexagonal",
    "kronig_penney_bands",
    "lattice_point_group",
    "lattice_system",
    "minkowski_reduced",
    "nearest_neighbours",
    "orthogonal",
    "phonon_modes",
    "plane_wave_hamiltonian",
    "reciprocal_lattice",
    "simple_cubic",
    "ssh_chain",
]
