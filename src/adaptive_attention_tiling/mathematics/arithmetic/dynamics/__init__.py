"""Dynamics: orbits of maps over Q, over finite fields and on tensors, and how they grow."""

from .flow import Evolution, escape_steps, evolve, orbit
from .functional_graph import FunctionalGraph, OrbitStatistics, functional_graph
from .growth import (
    arithmetic_degree,
    height_ratios,
    monomial_dynamical_degree,
    monomial_image,
    rational_orbit,
)
from .preperiodic import preperiodic_points

__all__ = [
    "Evolution",
    "FunctionalGraph",
    "OrbitStatistics",
    "arithmetic_degree",
    "escape_steps",
    "evolve",
    "functional_graph",
    "height_ratios",
    "monomial_dynamical_degree",
    "monomial_image",
    "orbit",
    "preperiodic_points",
    "rational_orbit",
]
