"""Exact softmax attention in parts that can be merged."""

from .partial import EMPTY, Partial, fused_part_available, merge_partials, partial_attention

__all__ = ["EMPTY", "Partial", "fused_part_available", "merge_partials", "partial_attention"]
