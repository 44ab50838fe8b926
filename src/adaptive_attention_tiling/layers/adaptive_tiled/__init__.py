"""Adaptive tiling as mixers: the attention path, the state-space path, and both together."""

from .attention import AdaptiveTiledAttention, AdaptiveTiledAttentionConfig
from .choice import TileChoice, TileChoiceConfig
from .config import AdaptiveAttentionConfig
from .cost import ComputeCost
from .memory import FarMemoryConfig, MemoryState, TiledStateSpace
from .system import AdaptiveAttentionSystem

__all__ = [
    "AdaptiveAttentionConfig",
    "AdaptiveAttentionSystem",
    "AdaptiveTiledAttention",
    "AdaptiveTiledAttentionConfig",
    "ComputeCost",
    "FarMemoryConfig",
    "MemoryState",
    "TileChoice",
    "TileChoiceConfig",
    "TiledStateSpace",
]
