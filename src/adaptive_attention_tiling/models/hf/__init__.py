"""Tiled attention in Hugging Face models, as `attn_implementation="adaptive_tiled"`.

Importing this package registers the implementation with transformers. It takes models whose masks
are causal or bidirectional with padding and whose logits are plain scaled dot products; what a
model asks for beyond that (a position bias, a sliding window, softcap, dropout) is refused by name.

    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="adaptive_tiled")
    configure(model, TiledAttentionConfig(tolerance=0.05))
"""

from ...optional import require

require("transformers", "hf", "adaptive_attention_tiling.models.hf")

from .attention import STATE, tiled_attention_forward  # noqa: E402
from .mask import tiled_mask  # noqa: E402
from .recording import AttentionCall, recording  # noqa: E402
from .registration import IMPLEMENTATION, register  # noqa: E402
from .settings import attention_layers, configure, settings_of  # noqa: E402

register()

__all__ = [
    "IMPLEMENTATION",
    "STATE",
    "AttentionCall",
    "attention_layers",
    "configure",
    "recording",
    "register",
    "settings_of",
    "tiled_attention_forward",
    "tiled_mask",
]
