"""Attention that reads far tokens exactly only where it matters; README.md derives it."""

from .choice import explain
from .config import TiledAttentionConfig
from .control import DEFAULT_TOLERANCE, Control
from .interface import tiled_attention
from .layout import TileLayout
from .report import TiledAttentionReport
from .stream import TiledState

__all__ = [
    "DEFAULT_TOLERANCE",
    "Control",
    "TileLayout",
    "TiledAttentionConfig",
    "TiledAttentionReport",
    "TiledState",
    "explain",
    "tiled_attention",
]
