"""Manifolds, their curvature, and what is carried along their curves."""

from .geodesic import GeodesicFlow
from .manifold import AbstractManifold

__all__ = ["AbstractManifold", "GeodesicFlow"]
