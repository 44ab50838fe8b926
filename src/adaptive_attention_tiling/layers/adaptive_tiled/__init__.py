"""Adaptive tiling as mixers: the attention path, the state-space path, and both together."""

from .attention import AdaptiveTiledAttention, AdaptiveTiledAttentionConfig

__all__ = ["AdaptiveTiledAttention", "AdaptiveTiledAttentionConfig"]
