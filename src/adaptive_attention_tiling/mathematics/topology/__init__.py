"""Topology: complexes, their (co)homology, forms, characteristic classes and persistence."""

from .chain_complex import ChainComplex
from .coefficients import Coefficients
from .homology import AbelianGroup, Cohomology, Homology
from .persistence import (
    Diagram,
    PersistenceSummary,
    betti_curve,
    bottleneck_distance,
    landscape,
    persistence,
    persistence_entropy,
    persistence_summary,
    strongest_edges,
    total_persistence,
    wasserstein_distance,
)
from .simplicial_complex import SimplicialComplex
from .smith_normal_form import SmithNormalForm, elementary_divisors, smith_normal_form

__all__ = [
    "AbelianGroup",
    "ChainComplex",
    "Coefficients",
    "Cohomology",
    "Diagram",
    "Homology",
    "PersistenceSummary",
    "SimplicialComplex",
    "SmithNormalForm",
    "betti_curve",
    "bottleneck_distance",
    "elementary_divisors",
    "landscape",
    "persistence",
    "persistence_entropy",
    "persistence_summary",
    "smith_normal_form",
    "strongest_edges",
    "total_persistence",
    "wasserstein_distance",
]
