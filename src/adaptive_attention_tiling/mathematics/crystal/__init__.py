"""Bravais lattices, their Brillouin zones, bands and vibrations; change of scale; anomalies."""

from .anomaly import HyperchargeAnomalies, anomaly_polynomial, hypercharge_anomalies
from .band_derivatives import band_velocities, inverse_effective_mass
from .block_map import ising_decimation, migdal_kadanoff, renormalization_flow
from .brillouin_zone import BrillouinZone
from .chains import ChainModes, diatomic_chain
from .fixed_points import FixedPoint, fixed_point
from .force_constants import ForceConstants
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
from .period_doubling import PeriodDoubling, feigenbaum_function, period_doubling
from .periodicity import Periodicity, profile_period
from .phonons import PhononSpectrum, dynamical_matrix, nearest_neighbours, phonon_modes
from .plane_waves import kronig_penney_bands, plane_wave_hamiltonian
from .point_group import point_group_symbol
from .point_pattern import DetectedLattice, detect_lattice
from .primitive_cell import PrimitiveCell, primitive_cell, primitive_translations
from .refraction import RefractionSystem
from .similarity import similarity_dimension
from .space_group import SymmetryGroup, symmetry_group
from .springs import Bonds, neighbour_bonds, spring_matrices
from .symmetry import SymmetryOperations, symmetry_operations
from .tight_binding import TightBinding, density_of_states, graphene, ssh_chain
from .wallpaper import wallpaper_group

__all__ = [
    "Bonds",
    "BrillouinZone",
    "ChainModes",
    "DetectedLattice",
    "FixedPoint",
    "ForceConstants",
    "HyperchargeAnomalies",
    "PeriodDoubling",
    "Periodicity",
    "PhononSpectrum",
    "PrimitiveCell",
    "Reduction",
    "RefractionSystem",
    "SymmetryGroup",
    "SymmetryOperations",
    "TightBinding",
    "anomaly_polynomial",
    "band_velocities",
    "body_centred_cubic",
    "density_of_states",
    "detect_lattice",
    "diatomic_chain",
    "dynamical_matrix",
    "face_centred_cubic",
    "feigenbaum_function",
    "fixed_point",
    "graphene",
    "hexagonal",
    "hypercharge_anomalies",
    "inverse_effective_mass",
    "ising_decimation",
    "kronig_penney_bands",
    "lattice_point_group",
    "lattice_system",
    "migdal_kadanoff",
    "minkowski_reduced",
    "nearest_neighbours",
    "neighbour_bonds",
    "orthogonal",
    "period_doubling",
    "phonon_modes",
    "plane_wave_hamiltonian",
    "point_group_symbol",
    "primitive_cell",
    "primitive_translations",
    "profile_period",
    "reciprocal_lattice",
    "renormalization_flow",
    "similarity_dimension",
    "simple_cubic",
    "spring_matrices",
    "ssh_chain",
    "symmetry_group",
    "symmetry_operations",
    "wallpaper_group",
]
