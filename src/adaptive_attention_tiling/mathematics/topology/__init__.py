"""Topology: complexes, their (co)homology, forms, characteristic classes and persistence."""

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

__all__ = [
    "Diagram",
    "PersistenceSummary",
    "SimplicialComplex",
    "betti_curve",
    "bottleneck_distance",
    "landscape",
    "persistence",
    "persistence_entropy",
    "persistence_summary",
    "strongest_edges",
    "total_persistence",
    "wasserstein_distance",
]
