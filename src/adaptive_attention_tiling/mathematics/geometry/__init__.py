"""Manifolds, their curvature, and what is carried along their curves."""

from .frechet_mean import frechet_mean, point_between
from .geodesic import GeodesicFlow
from .lorentz import Lorentz
from .manifold import AbstractManifold
from .poincare import PoincareBall, ball_from_lorentz, lorentz_from_ball
from .spd import PositiveDefinite
from .sphere import Sphere

__all__ = [
    "AbstractManifold",
    "GeodesicFlow",
    "Lorentz",
    "PoincareBall",
    "PositiveDefinite",
    "Sphere",
    "ball_from_lorentz",
    "frechet_mean",
    "lorentz_from_ball",
    "point_between",
]
