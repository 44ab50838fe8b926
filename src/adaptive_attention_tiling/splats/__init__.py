"""Gaussian splats: their values, their learnable field, how they start, change and when."""

from .field import Bounds, SplatField
from .splats import KINDS, Kind, Splats

__all__ = ["KINDS", "Bounds", "Kind", "SplatField", "Splats"]
