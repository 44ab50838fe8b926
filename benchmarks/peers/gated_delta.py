"""The gated delta rule in torch, as Hugging Face transformers computes it without a GPU."""

from __future__ import annotations

import importlib.util

from torch import Tensor

INSTALL = 'pip install "adaptive-attention-tiling[hf]"'
_MODULE = "transformers.models.qwen3_next.modeling_qwen3_next"


def missing() -> str:
    """Why it cannot run here; empty where it can."""
    if importlib.util.find_spec("transformers") is None:
        return f"needs transformers: {INSTALL}"
    return "" if importlib.util.find_spec(_MODULE) else "this transformers has no Qwen3-Next"


def gated_delta(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, rate: Tensor
) -> Tensor:
    """[B, H, T, E]; keys of length 1. Their function takes [B, T, H, D] and copies to ours."""
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    tensors = (x.transpose(1, 2) for x in (query, key, value, log_decay, rate))
    out, _ = torch_chunk_gated_delta_rule(*tensors)
    return out.transpose(1, 2)
