"""Dynamical systems: averages along orbits, Markov chains, exact geometric flows, bifurcations."""

from .bifurcation import Branch, Fold, continued, fold_point
from .ergodic import birkhoff_average, kaplan_yorke_dimension, lyapunov_exponents
from .geometric_flow import (
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
from .hamiltonian import HamiltonianFlow, HamiltonianSystem
from .markov_chain import MarkovChain
from .symplectic_integrators import Orbit, implicit_midpoint_orbit, split_orbit

__all__ = [
    "Branch",
    "Fold",
    "HamiltonianFlow",
    "HamiltonianSystem",
    "MarkovChain",
    "Orbit",
    "birkhoff_average",
    "cigar_metric",
    "continued",
    "curve_shortening_area",
    "curve_shortening_circle",
    "fold_point",
    "grim_reaper",
    "implicit_midpoint_orbit",
    "kaplan_yorke_dimension",
    "lyapunov_exponents",
    "mean_curvature_extinction",
    "mean_curvature_flow_sphere",
    "ricci_flow_area",
    "ricci_flow_extinction",
    "ricci_flow_hyperbolic",
    "ricci_flow_sphere",
    "split_orbit",
]
