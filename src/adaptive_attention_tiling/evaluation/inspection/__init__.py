"""Every attention head of a model on one text: figures, pictures and what it should read."""

from .document import FALSE_SHARE
from .head import HeadInspection, HeadTask, inspect_head
from .inspection import Inspection, inspect_model
from .layer_calls import LayerCall, show_layers
from .plan import InspectionPlan
from .splat_map import SplatMap, splat_map
from .strongest_keys import StrongestKeys, strongest_keys
from .tile_cut import TileCut, tile_cut
from .workers import Workers, workers

__all__ = [
    "FALSE_SHARE",
    "HeadInspection",
    "HeadTask",
    "Inspection",
    "InspectionPlan",
    "LayerCall",
    "SplatMap",
    "StrongestKeys",
    "TileCut",
    "Workers",
    "inspect_head",
    "inspect_model",
    "show_layers",
    "splat_map",
    "strongest_keys",
    "tile_cut",
    "workers",
]
