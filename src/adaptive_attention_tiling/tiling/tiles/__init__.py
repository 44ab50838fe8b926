"""Tiles: contiguous spans and key sets, and the cut of a text that loses least for its cost."""

from . import reference
from .loss import tiling_loss
from .tile import Tile
from .tiler import TileManager
from .tiling import Tiling, joined

__all__ = ["Tile", "TileManager", "Tiling", "joined", "tiling_loss"]
