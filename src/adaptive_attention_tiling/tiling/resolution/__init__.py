"""Resolutions of tiles: a field that relaxes and diffuses, and an allocation within a budget."""

from .control import adapt_resolution, compute_share, expected_loss
from .energy import (
    AbstractEnergy,
    PricedEnergy,
    QuadraticEnergy,
    priced_resolution,
    segment_loss,
)
from .field import ResolutionField

__all__ = [
    "AbstractEnergy",
    "PricedEnergy",
    "QuadraticEnergy",
    "ResolutionField",
    "adapt_resolution",
    "compute_share",
    "expected_loss",
    "priced_resolution",
    "segment_loss",
]
