"""Bravais lattices, their Brillouin zones, bands and vibrations; change of scale; anomalies."""

from .anomaly import HyperchargeAnomalies, anomaly_polynomial, hypercharge_anomalies
from .band_derivatives import band_velocities, inverse_effective_mass
from .beta_function import GaugeBeta, beta_flow, gauge_beta, phi4_beta
from .block_map import (
    ising_decimation,
    ising_decimation_inhomogeneity,
    migdal_kadanoff,
    migdal_kadanoff_inhomogeneity,
    renormalization_flow,
)
from .box_dimension import BoxDimension, PowerLaw, box_dimension, power_law
from .bragg import BraggPeaks
from .brillouin_zone import BrillouinZone
from .carleman import PowerSeries
from .chains import ChainModes, diatomic_chain
from .density_lattice import DensityLattice, detect_density_lattice
from .fixed_points import (
    FixedPoint,
    FixedPointSearch,
    beta_fixed_point,
    beta_fixed_points,
    fixed_point,
    fixed_points,
)
from .force_constants import ForceConstants
from .free_energy import FreeEnergy, free_energy, regular_free_energy, scale_cocycle
from .gauge_anomaly import (
    GaugeAnomalies,
    cubic_index,
    dynkin_index,
    gauge_anomalies,
    gravitational_anomaly_polynomial,
    roof_genus,
    young_dimension,
)
from .heat_capacity import heat_capacity
from .high_symmetry import BandPath, SymmetryPoints, band_path, high_symmetry_points
from .ising_plane import ISING_CRITICAL_COUPLING, onsager_free_energy, spontaneous_magnetisation
from .lattice import (
    LatticeReduction,
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
from .period_doubling import (
    PeriodDoubling,
    doubling_bifurcations,
    doubling_operator,
    feigenbaum_function,
    period_doubling,
)
from .periodicity import Periodicity, profile_period
from .phonons import PhononSpectrum, dynamical_matrix, nearest_neighbours, phonon_modes
from .plane_waves import kronig_penney_bands, plane_wave_hamiltonian
from .point_group import point_group_symbol
from .point_pattern import DetectedLattice, detect_lattice
from .primitive_cell import PrimitiveCell, primitive_cell, primitive_translations
from .refraction import RefractionSystem
from .scale_cohomology import RenormalizationFlow, ScaleCohomology, ScaleInvariant
from .scale_connection import ScaleConnection, beta_connection, block_connection
from .scaling_fields import ScalingField, invariant_ratio, scaling_fields
from .similarity import similarity_dimension
from .space_group import SymmetryGroup, symmetry_group
from .springs import Bonds, neighbour_bonds, spring_matrices
from .symmetry import SymmetryOperations, symmetry_operations
from .tetrahedra import histogram_of_states, states_below
from .tight_binding import TightBinding, density_of_states, graphene, ssh_chain
from .wallpaper import wallpaper_group

__all__ = [
    "ISING_CRITICAL_COUPLING",
    "BandPath",
    "Bonds",
    "BoxDimension",
    "BraggPeaks",
    "BrillouinZone",
    "ChainModes",
    "DensityLattice",
    "DetectedLattice",
    "FixedPoint",
    "FixedPointSearch",
    "ForceConstants",
    "FreeEnergy",
    "GaugeAnomalies",
    "GaugeBeta",
    "HyperchargeAnomalies",
    "LatticeReduction",
    "PeriodDoubling",
    "Periodicity",
    "PhononSpectrum",
    "PowerLaw",
    "PowerSeries",
    "PrimitiveCell",
    "RefractionSystem",
    "RenormalizationFlow",
    "ScaleCohomology",
    "ScaleConnection",
    "ScaleInvariant",
    "ScalingField",
    "SymmetryGroup",
    "SymmetryOperations",
    "SymmetryPoints",
    "TightBinding",
    "anomaly_polynomial",
    "band_path",
    "band_velocities",
    "beta_connection",
    "beta_fixed_point",
    "beta_fixed_points",
    "beta_flow",
    "block_connection",
    "body_centred_cubic",
    "box_dimension",
    "cubic_index",
    "density_of_states",
    "detect_density_lattice",
    "detect_lattice",
    "diatomic_chain",
    "doubling_bifurcations",
    "doubling_operator",
    "dynamical_matrix",
    "dynkin_index",
    "face_centred_cubic",
    "feigenbaum_function",
    "fixed_point",
    "fixed_points",
    "free_energy",
    "gauge_anomalies",
    "gauge_beta",
    "graphene",
    "gravitational_anomaly_polynomial",
    "heat_capacity",
    "hexagonal",
    "high_symmetry_points",
    "histogram_of_states",
    "hypercharge_anomalies",
    "invariant_ratio",
    "inverse_effective_mass",
    "ising_decimation",
    "ising_decimation_inhomogeneity",
    "kronig_penney_bands",
    "lattice_point_group",
    "lattice_system",
    "migdal_kadanoff",
    "migdal_kadanoff_inhomogeneity",
    "minkowski_reduced",
    "nearest_neighbours",
    "neighbour_bonds",
    "onsager_free_energy",
    "orthogonal",
    "period_doubling",
    "phi4_beta",
    "phonon_modes",
    "plane_wave_hamiltonian",
    "point_group_symbol",
    "power_law",
    "primitive_cell",
    "primitive_translations",
    "profile_period",
    "reciprocal_lattice",
    "regular_free_energy",
    "renormalization_flow",
    "roof_genus",
    "scale_cocycle",
    "scaling_fields",
    "similarity_dimension",
    "simple_cubic",
    "spontaneous_magnetisation",
    "spring_matrices",
    "ssh_chain",
    "states_below",
    "symmetry_group",
    "symmetry_operations",
    "wallpaper_group",
    "young_dimension",
]
