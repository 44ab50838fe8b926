"""Persistent homology of sparse weighted graphs."""

from .diagram import Diagram
from .distances import bottleneck_distance, wasserstein_distance
from .figures import (
    PersistenceSummary,
    betti_curve,
    landscape,
    persistence_entropy,
    persistence_summary,
    total_persistence,
)
from .persistence import persistence
from .strongest import strongest_edges

__all__ = [
    "Diagram",
    "PersistenceSummary",
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
