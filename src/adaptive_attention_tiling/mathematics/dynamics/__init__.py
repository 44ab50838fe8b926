"""Dynamical systems: orbits and their averages, Markov chains, geometric flows, patterns."""

from .bifurcation import Branch, Fold, continued, fold_point
from .branch_stability import BifurcationDiagram, Hopf, bifurcation_diagram, hopf_point
from .chain_diffusion import chain_laplacian, relaxation_diffusion_step
from .curve_flow import CurveFlow, curve_shortening_flow, curve_shortening_step
from .ergodic import birkhoff_average, kaplan_yorke_dimension, lyapunov_exponents
from .exact_flows import (
    cigar_metric,
    curve_shortening_area,
    curve_shortening_circle,
    grim_reaper,
    mean_curvature_extinction,
    mean_curvature_flow_sphere,
    ricci_flow_area,
    ricci_flow_extinction,
    ricci_flow_hyperbolic,
    ricci_flow_sphere,
)
from .exponential_integrators import phi_functions
from .flow_singularities import Singularity, flow_singularities, normalized_flow
from .geometric_flow import FlowMetrics, GeometricFlow, MetricFlow
from .graph_flow import GraphFlow, graph_ricci_flow, modularity
from .hamiltonian import HamiltonianFlow, HamiltonianSystem
from .homogeneous_flow import (
    LeftInvariantFlow,
    left_invariant_curvatures,
    left_invariant_ricci_flow,
    nil_ricci_flow,
)
from .invariant_measure import BoxChain, ulam_chain
from .kuramoto import (
    critical_coupling,
    kuramoto_coherence,
    kuramoto_rate,
    lorentz_frequencies,
    ott_antonsen_rate,
    phase_coherence,
)
from .markov_chain import MarkovChain
from .optimal_control import Regulator, linear_quadratic_regulator, lyapunov_solution
from .pattern_control import Box, ControlSignal, controlled
from .pattern_dynamics import PatternDynamics, StabilityMetrics
from .pattern_stability import (
    TuringThreshold,
    dispersion_relation,
    floquet_multipliers,
    growth_rate,
    monodromy_matrix,
    reaction_jacobian,
    turing_threshold,
)
from .periodic_grid import PeriodicGrid
from .reaction_diffusion import (
    SemilinearFlow,
    reaction_diffusion,
    swift_hohenberg,
    swift_hohenberg_energy,
)
from .reaction_kinetics import AllenCahn, Brusselator, FisherKPP, GrayScott, Schnakenberg
from .ricci_flow import RotationalFlow, rotational_curvatures, rotational_ricci_flow
from .sphere_mesh import icosphere
from .surface_flow import SurfaceFlow, mean_curvature_flow, mean_curvature_step
from .symbolic import BlockEntropies, block_entropies, pesin_entropy
from .symplectic_integrators import Orbit, implicit_midpoint_orbit, split_orbit

__all__ = [
    "AllenCahn",
    "BifurcationDiagram",
    "BlockEntropies",
    "Box",
    "BoxChain",
    "Branch",
    "Brusselator",
    "ControlSignal",
    "CurveFlow",
    "FisherKPP",
    "FlowMetrics",
    "Fold",
    "GeometricFlow",
    "GraphFlow",
    "GrayScott",
    "HamiltonianFlow",
    "HamiltonianSystem",
    "Hopf",
    "LeftInvariantFlow",
    "MarkovChain",
    "MetricFlow",
    "Orbit",
    "PatternDynamics",
    "PeriodicGrid",
    "Regulator",
    "RotationalFlow",
    "Schnakenberg",
    "SemilinearFlow",
    "Singularity",
    "StabilityMetrics",
    "SurfaceFlow",
    "TuringThreshold",
    "bifurcation_diagram",
    "birkhoff_average",
    "block_entropies",
    "chain_laplacian",
    "cigar_metric",
    "continued",
    "controlled",
    "critical_coupling",
    "curve_shortening_area",
    "curve_shortening_circle",
    "curve_shortening_flow",
    "curve_shortening_step",
    "dispersion_relation",
    "floquet_multipliers",
    "flow_singularities",
    "fold_point",
    "graph_ricci_flow",
    "grim_reaper",
    "growth_rate",
    "hopf_point",
    "icosphere",
    "implicit_midpoint_orbit",
    "kaplan_yorke_dimension",
    "kuramoto_coherence",
    "kuramoto_rate",
    "left_invariant_curvatures",
    "left_invariant_ricci_flow",
    "linear_quadratic_regulator",
    "lorentz_frequencies",
    "lyapunov_exponents",
    "lyapunov_solution",
    "mean_curvature_extinction",
    "mean_curvature_flow",
    "mean_curvature_flow_sphere",
    "mean_curvature_step",
    "modularity",
    "monodromy_matrix",
    "nil_ricci_flow",
    "normalized_flow",
    "ott_antonsen_rate",
    "pesin_entropy",
    "phase_coherence",
    "phi_functions",
    "reaction_diffusion",
    "reaction_jacobian",
    "relaxation_diffusion_step",
    "ricci_flow_area",
    "ricci_flow_extinction",
    "ricci_flow_hyperbolic",
    "ricci_flow_sphere",
    "rotational_curvatures",
    "rotational_ricci_flow",
    "split_orbit",
    "swift_hohenberg",
    "swift_hohenberg_energy",
    "turing_threshold",
    "ulam_chain",
]
