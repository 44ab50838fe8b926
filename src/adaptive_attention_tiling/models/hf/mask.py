"""What transformers says about visibility, reduced to what tiled attention can represent.

transformers describes a mask by a function of (batch, head, query, key) and a padding mask. Two
such functions can be represented, and the rank of the tensor that is handed to the attention
function tells which one it was:

    causal         torch.bool [B, S]      key j is visible to query i if j <= i and j is a token
    bidirectional  torch.bool [B, 1, S]   key j is visible if it is a token

Everything else is refused here, where its name is still known. A mask that a user prepared
([B, 1, T, S]) does not pass through here; `read_mask` refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformers.masking_utils import (
    ALL_MASK_ATTENTION_FUNCTIONS,
    bidirectional_mask_function,
    causal_mask_function,
)

from ...errors import ArgumentError, UnsupportedError

_INSTEAD = "use attn_implementation='sdpa' for this model"


def tiled_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: Tensor | None = None,
    device: torch.device | str = "cpu",
    **_: object,
) -> Bool[Tensor, "B S"] | Bool[Tensor, "B 1 S"]:
    """The mask function of "adaptive_tiled"; transformers calls it once for each forward pass.

    Raises:
        UnsupportedError: a mask other than causal or bidirectional with padding, by its name; a
            cache of fixed size, whose slots hold tokens to come.
        ArgumentError: a padding mask that does not cover the keys.
    """
    if kv_offset:
        raise UnsupportedError(
            f"mask: got keys that start at {kv_offset}, as a sliding cache has them. "
            f"Fix: {_INSTEAD}."
        )
    if mask_function is bidirectional_mask_function:
        return _tokens(attention_mask, batch_size, kv_length, device)[:, None]
    if mask_function is not causal_mask_function:
        raise UnsupportedError(
            f"mask: got one made of {', '.join(_parts(mask_function))}; tiled attention knows "
            f"causal and bidirectional masks with padding. Fix: {_INSTEAD}, or pass "
            "attention_mask if sequences were not meant to be packed."
        )
    if int(q_offset) + q_length != kv_length:
        raise UnsupportedError(
            f"mask: got {kv_length} keys for {q_length} queries after {int(q_offset)} tokens, as a "
            "cache of fixed size has them. Fix: use TiledCache or DynamicCache."
        )
    return _tokens(attention_mask, batch_size, kv_length, device)


def read_mask(
    module: nn.Module, mask: Tensor | None, is_causal: bool | None, keys: int
) -> tuple[bool, Bool[Tensor, "B S"] | None]:
    """Whether attention is causal, and which keys are tokens (None: all of them).

    `mask` says it; `is_causal`, or else `module.is_causal`, must agree.

    Raises UnsupportedError for a mask that `tiled_mask` did not make, or none where one is needed.
    """
    expected = is_causal if is_causal is not None else getattr(module, "is_causal", None)
    if mask is None:
        return _without_mask(module, expected)
    if mask.dtype != torch.bool or mask.dim() not in (2, 3) or mask.shape[1:-1].numel() != 1:
        raise UnsupportedError(
            f"attention_mask: got {mask.dtype} {list(mask.shape)}, a prepared mask; tiled "
            f"attention takes a padding mask [B, S]. Fix: pass that, or {_INSTEAD}."
        )
    if mask.shape[-1] != keys:
        raise UnsupportedError(
            f"attention_mask: got {mask.shape[-1]} columns for {keys} keys. Fix: {_INSTEAD}."
        )
    causal = mask.dim() == 2
    if expected is not None and causal is not bool(expected):
        raise UnsupportedError(
            f"is_causal: {_name(module)} says {bool(expected)} and the mask of the model says "
            f"{causal}; one of them would be silently ignored. Fix: {_INSTEAD}."
        )
    tokens = mask.view(len(mask), keys)
    return causal, None if bool(tokens.all()) else tokens


def _without_mask(module: nn.Module, causal: bool | None) -> tuple[bool, None]:
    # `tiled_mask` always returns a mask. Without one, the model did not ask for it: vision
    # encoders do so and mean that everything is visible. A causal model must not.
    if causal is False and _is_registered(module):
        return False, None
    raise UnsupportedError(
        f"attention_mask: {_name(module)} (is_causal={causal}) got None, so neither causality nor "
        "padding is known. Fix: call adaptive_attention_tiling.models.hf.register(), or "
        f"{_INSTEAD}."
    )


def _is_registered(module: nn.Module) -> bool:
    """Whether the model would have had its mask from `tiled_mask`, had it asked for one."""
    own = getattr(getattr(module, "config", None), "_attn_implementation", None)
    masks = dict(ALL_MASK_ATTENTION_FUNCTIONS.items())
    return tiled_mask in (masks.values() if own is None else [masks.get(own)])


def _tokens(
    mask: Tensor | None, batch: int, keys: int, device: torch.device | str
) -> Bool[Tensor, "B S"]:
    if mask is None:
        return torch.ones(batch, keys, dtype=torch.bool, device=device)
    if list(mask.shape) != [batch, keys]:
        raise ArgumentError(
            "attention_mask",
            f"shape {list(mask.shape)}",
            f"[B, S] = {[batch, keys]}, with a column for every key, cached ones included",
            "extend the mask on the right by the new tokens",
        )
    return mask.bool()


def _parts(function: object) -> list[str]:
    """Names of the functions that a mask function is composed of."""
    held = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    inner: list[object] = []
    for content in held:
        inner += content if isinstance(content, tuple) else [content]
    below = [name for part in inner if callable(part) for name in _parts(part)]
    name = getattr(function, "__qualname__", type(function).__name__).split(".<locals>")[0]
    return below if below and name in ("and_masks", "or_masks") else [name, *below]


def _name(module: nn.Module) -> str:
    return type(module).__name__
