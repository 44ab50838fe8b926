"""Topology: complexes, their (co)homology, forms, characteristic classes and persistence."""

from .chain_complex import ChainComplex
from .characteristic_classes import (
    CharacteristicClasses,
    ChernNumber,
    ClosedManifold,
    ComplexBundle,
    MapDegree,
    RealBundle,
    angle_defects,
    berry_phase,
    chern_number,
    complete_intersection,
    euler_number,
    line_bundle,
    map_degree,
    projective_space,
    wilson_spectrum,
    zak_phase,
)
from .coefficients import Coefficients
from .cohomology_structure import (
    CohomologyClass,
    CohomologyStructure,
    DiscreteForm,
    DiscreteForms,
    ManifoldClasses,
)
from .cubical_complex import CubicalComplex
from .cup_product import CohomologyRing, cup_i_product, cup_product, steenrod_square
from .differential_forms import (
    DifferentialForm,
    codifferential,
    exterior_derivative,
    hodge_star,
    integrate,
    interior_product,
    laplacian,
    lie_derivative,
    pullback,
    wedge,
)
from .grid_forms import GridForms
from .hodge import HodgeComplex, HodgeDecomposition
from .homology import Cohomology, Homology
from .homology_basis import AbelianGroup
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
from .whitney_forms import whitney_mass_matrix

__all__ = [
    "AbelianGroup",
    "ChainComplex",
    "CharacteristicClasses",
    "ChernNumber",
    "ClosedManifold",
    "Coefficients",
    "Cohomology",
    "CohomologyClass",
    "CohomologyRing",
    "CohomologyStructure",
    "ComplexBundle",
    "CubicalComplex",
    "Diagram",
    "DifferentialForm",
    "DiscreteForm",
    "DiscreteForms",
    "GridForms",
    "HodgeComplex",
    "HodgeDecomposition",
    "Homology",
    "ManifoldClasses",
    "MapDegree",
    "PersistenceSummary",
    "RealBundle",
    "SimplicialComplex",
    "SimplicialMap",
    "SmithNormalForm",
    "TriangulatedManifold",
    "angle_defects",
    "berry_phase",
    "betti_curve",
    "bottleneck_distance",
    "chern_number",
    "codifferential",
    "complete_intersection",
    "cup_i_product",
    "cup_product",
    "elementary_divisors",
    "euler_number",
    "exterior_derivative",
    "hodge_star",
    "integrate",
    "interior_product",
    "landscape",
    "laplacian",
    "lie_derivative",
    "line_bundle",
    "map_degree",
    "persistence",
    "persistence_entropy",
    "persistence_summary",
    "projective_space",
    "pullback",
    "smith_normal_form",
    "steenrod_square",
    "strongest_edges",
    "total_persistence",
    "wasserstein_distance",
    "wedge",
    "whitney_mass_matrix",
    "wilson_spectrum",
    "zak_phase",
]
