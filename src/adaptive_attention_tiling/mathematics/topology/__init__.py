"""Topology: complexes, their (co)homology, forms, characteristic classes and persistence."""

from .chain_complex import ChainComplex
from .coefficients import Coefficients
from .cup_product import CohomologyRing, cup_i_product, cup_product, steenrod_square
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
from .simplicial_map import SimplicialMap
from .smith_normal_form import SmithNormalForm, elementary_divisors, smith_normal_form
from .triangulated_manifold import TriangulatedManifold

__all__ = [
    "AbelianGroup",
    "ChainComplex",
    "Coefficients",
    "Cohomology",
    "CohomologyRing",
    "Diagram",
    "Homology",
    "PersistenceSummary",
    "SimplicialComplex",
    "SimplicialMap",
    "SmithNormalForm",
    "TriangulatedManifold",
    "betti_curve",
    "bottleneck_distance",
    "cup_i_product",
    "cup_product",
    "elementary_divisors",
    "landscape",
    "persistence",
    "persistence_entropy",
    "persistence_summary",
    "smith_normal_form",
    "steenrod_square",
    "strongest_edges",
    "total_persistence",
    "wasserstein_distance",
]
