"""Enter tiled attention, and the mask it needs, in the registers of transformers."""

from __future__ import annotations

from transformers import AttentionInterface, AttentionMaskInterface

from .attention import tiled_attention_forward
from .mask import tiled_mask

IMPLEMENTATION = "adaptive_tiled"


def register() -> None:
    """Make `attn_implementation="adaptive_tiled"` known; calling it again changes nothing.

    transformers gives no mask at all, not even a causal one, to an attention function whose name
    has no mask function, so the two are only ever registered together.
    """
    AttentionInterface.register(IMPLEMENTATION, tiled_attention_forward)
    AttentionMaskInterface.register(IMPLEMENTATION, tiled_mask)
    assert AttentionMaskInterface()[IMPLEMENTATION] is tiled_mask
    assert AttentionInterface()[IMPLEMENTATION] is tiled_attention_forward
