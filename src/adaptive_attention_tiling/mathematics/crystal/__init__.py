"""Bravais lattices, their Brillouin zones and their vibrations."""

from .brillouin_zone import BrillouinZone
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

__all__ = [
    "BrillouinZone",
    "Reduction",
    "body_centred_cubic",
    "dynamical_matrix",
    "face_centred_cubic",
    "hexagonal",
    "lattice_point_group",
    "lattice_system",
    "minkowski_reduced",
    "nearest_neighbours",
    "orthogonal",
    "phonon_modes",
    "reciprocal_lattice",
    "simple_cubic",
]
