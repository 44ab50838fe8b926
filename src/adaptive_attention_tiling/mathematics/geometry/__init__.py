"""Manifolds, their curvature, and what is carried along their curves."""

from .euclidean import Euclidean
from .fiber_bundle import (
    Atlas,
    BundlePoint,
    Chart,
    FiberBundle,
    Path,
    StructureGroup,
    TangentVector,
    holonomy_defect,
    monopole_bundle,
    rotary_bundle,
    sphere_atlas,
    tangent_bundle,
    trivial_bundle,
)
from .frechet_mean import frechet_mean, point_between
from .geodesic import GeodesicFlow
from .graph_curvature import (
    balanced_forman_curvature,
    lin_lu_yau_curvature,
    ollivier_curvature,
    path_lengths,
)
from .integration import Integration
from .learned_metric import LearnedMetric
from .lorentz import Lorentz
from .manifold import AbstractManifold
from .poincare import PoincareBall, ball_from_lorentz, lorentz_from_ball
from .product import ProductManifold
from .riemannian import RiemannianStructure
from .spd import PositiveDefinite
from .sphere import Sphere
from .symplectic import (
    SymplecticForm,
    lagrangian_defect,
    symplectic_defect,
    symplectic_projection,
)

__all__ = [
    "AbstractManifold",
    "Atlas",
    "BundlePoint",
    "Chart",
    "Euclidean",
    "FiberBundle",
    "GeodesicFlow",
    "Integration",
    "LearnedMetric",
    "Lorentz",
    "Path",
    "PoincareBall",
    "PositiveDefinite",
    "ProductManifold",
    "RiemannianStructure",
    "Sphere",
    "StructureGroup",
    "SymplecticForm",
    "TangentVector",
    "balanced_forman_curvature",
    "ball_from_lorentz",
    "frechet_mean",
    "holonomy_defect",
    "lagrangian_defect",
    "lin_lu_yau_curvature",
    "lorentz_from_ball",
    "monopole_bundle",
    "ollivier_curvature",
    "path_lengths",
    "point_between",
    "rotary_bundle",
    "sphere_atlas",
    "symplectic_defect",
    "symplectic_projection",
    "tangent_bundle",
    "trivial_bundle",
]
