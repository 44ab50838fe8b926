"""Exact softmax attention in parts that can be merged."""

from .partial import EMPTY, Partial, fused_part_available, merge_partials, partial_attention
from .ranged import explain_ranged_attention, ranged_attention, window_attention

__all__ = [
    "EMPTY",
    "Partial",
    "explain_ranged_attention",
    "fused_part_available",
    "merge_partials",
    "partial_attention",
    "ranged_attention",
    "window_attention",
]
