"""Attention through a memory of fixed size: sums over features of the keys read so far."""

from .feature_memory import FeatureMemory
from .interface import FEATURE_MAPS, explain_linear_attention, linear_attention
from .memory import MemorySums
from .state import MemoryState

__all__ = [
    "FEATURE_MAPS",
    "FeatureMemory",
    "MemoryState",
    "MemorySums",
    "explain_linear_attention",
    "linear_attention",
]
