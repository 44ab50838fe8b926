"""Exact softmax attention in parts that can be merged."""

from .partial import EMPTY, Partial, fused_part_available, merge_partials, partial_attention
from .ranged import ranged_attention, window_attention

__all__ = [
    "EMPTY",
    "Partial",
    "fused_part_available",
    "merge_partials",
    "partial_attention",
    "ranged_attention",
    "window_attention",
]
