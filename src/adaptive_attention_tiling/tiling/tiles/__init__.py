"""Tiles: contiguous spans and key sets, and the cut of a text that loses least for its cost."""

from .expectation import ExpectedTiling, expected_tiling, tile_probabilities
from .loss import tiling_loss
from .rivals import greedy_tiling, threshold_tiling, uniform_tiling
from .stream import TilingStream
from .tile import Tile
from .tiler import TileManager
from .tiling import Tiling, joined

__all__ = [
    "ExpectedTiling",
    "Tile",
    "TileManager",
    "Tiling",
    "TilingStream",
    "expected_tiling",
    "greedy_tiling",
    "joined",
    "threshold_tiling",
    "tile_probabilities",
    "tiling_loss",
    "uniform_tiling",
]
