"""States of finite quantum systems, what can be measured of them, paths and lattice fields."""

from .autocorrelation import SampledMean, sampled_mean
from .channel import Channel, amplitude_damping, depolarising
from .density_matrix import (
    bell_state,
    check_density_matrix,
    partial_trace,
    partial_transpose,
    pauli_matrices,
    pure_state,
)
from .distance import bures_angle, bures_distance, fidelity, trace_distance
from .entanglement import (
    chsh_maximum,
    concurrence,
    decomposable_witness,
    log_negativity,
    negativity,
    projector_witness,
)
from .entropy import (
    purity,
    quantum_mutual_information,
    quantum_renyi_entropy,
    relative_entropy,
    von_neumann_entropy,
)
from .evolution import (
    evolve_density,
    evolve_driven,
    evolve_vector,
    lindblad_generator,
    propagator,
    stationary_density,
)
from .field_theory import (
    bessel_ratio,
    free_fermion_entropy,
    hopping_chain_correlations,
    lattice_propagator,
    line_propagator,
    plane_propagator_at_zero,
    plaquette,
    zero_dimensional_partition_function,
)
from .gauge_field import GaugeField
from .geometric_tensor import (
    berry_curvature,
    berry_holonomy,
    fubini_study_metric,
    pancharatnam_phase,
    quantum_geometric_tensor,
)
from .hybrid_monte_carlo import SampledChains, hybrid_monte_carlo
from .lattice_field import ScalarField
from .measurement import (
    Measurement,
    expectation,
    maassen_uffink,
    measure,
    robertson_schroedinger,
    variance,
)
from .mehler import mehler_kernel
from .path_integral import PathIntegralFramework
from .path_integral_grid import GridPathIntegral
from .path_sampling import SampledPaths, sample_paths
from .preparation import (
    amplitude_state,
    angle_amplitudes,
    angle_state,
    ensemble_state,
    phased_amplitudes,
)
from .state import EntanglementMetrics, Expectation, HilbertSpace, QuantumStateSpace
from .thermal import helmholtz_free_energy, thermal_state

__all__ = [
    "Channel",
    "EntanglementMetrics",
    "Expectation",
    "GaugeField",
    "GridPathIntegral",
    "HilbertSpace",
    "Measurement",
    "PathIntegralFramework",
    "QuantumStateSpace",
    "SampledChains",
    "SampledMean",
    "SampledPaths",
    "ScalarField",
    "amplitude_damping",
    "amplitude_state",
    "angle_amplitudes",
    "angle_state",
    "bell_state",
    "berry_curvature",
    "berry_holonomy",
    "bessel_ratio",
    "bures_angle",
    "bures_distance",
    "check_density_matrix",
    "chsh_maximum",
    "concurrence",
    "decomposable_witness",
    "depolarising",
    "ensemble_state",
    "evolve_density",
    "evolve_driven",
    "evolve_vector",
    "expectation",
    "fidelity",
    "free_fermion_entropy",
    "fubini_study_metric",
    "helmholtz_free_energy",
    "hopping_chain_correlations",
    "hybrid_monte_carlo",
    "lattice_propagator",
    "lindblad_generator",
    "line_propagator",
    "log_negativity",
    "maassen_uffink",
    "measure",
    "mehler_kernel",
    "negativity",
    "pancharatnam_phase",
    "partial_trace",
    "partial_transpose",
    "pauli_matrices",
    "phased_amplitudes",
    "plane_propagator_at_zero",
    "plaquette",
    "projector_witness",
    "propagator",
    "pure_state",
    "purity",
    "quantum_geometric_tensor",
    "quantum_mutual_information",
    "quantum_renyi_entropy",
    "relative_entropy",
    "robertson_schroedinger",
    "sample_paths",
    "sampled_mean",
    "stationary_density",
    "thermal_state",
    "trace_distance",
    "variance",
    "von_neumann_entropy",
    "zero_dimensional_partition_function",
]
