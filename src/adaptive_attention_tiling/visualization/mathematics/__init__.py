"""Pictures of mathematics: drifting energies, patterns, zones and bands, pinching necks."""

from ..picture import Picture
from .bands import band_picture
from .energy_drift import energy_drift_picture, largest_errors
from .pattern import pattern_picture
from .ricci_flow import neck_radius, ricci_flow_picture
from .zones import zone_wireframe_picture, zones_picture

__all__ = [
    "Picture",
    "band_picture",
    "energy_drift_picture",
    "largest_errors",
    "neck_radius",
    "pattern_picture",
    "ricci_flow_picture",
    "zone_wireframe_picture",
    "zones_picture",
]
