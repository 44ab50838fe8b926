"""Manifolds, their curvature, and what is carried along their curves."""

from .geodesic import GeodesicFlow
from .lorentz import Lorentz
from .manifold import AbstractManifold
from .poincare import PoincareBall, ball_from_lorentz, lorentz_from_ball

__all__ = [
    "AbstractManifold",
    "GeodesicFlow",
    "Lorentz",
    "PoincareBall",
    "ball_from_lorentz",
    "lorentz_from_ball",
]
