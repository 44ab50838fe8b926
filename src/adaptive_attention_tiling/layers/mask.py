"""Reads an attention mask into what linear-time attention understands: padding and causality."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ArgumentError, UnsupportedError


@dataclass(frozen=True)
class Visibility:
    """What tokens see: all tokens or those up to themselves, without padding.

    `padding` is [B, T], True for tokens, or None where all are. `scores`, to be added to the
    logits and [B or 1, H or 1, T, S], holds a mask that is nothing of the kind.
    """

    is_causal: bool
    padding: Tensor | None = None
    scores: Tensor | None = None


def read_mask(
    attn_mask: Tensor | None, *, batch: int, length: int, past: int = 0, is_causal: bool
) -> Visibility:
    """What a mask of the kind that torch's scaled_dot_product_attention takes lets tokens see.

    Args:
        attn_mask: bool, True where seen, or floating and added to the logits. [B, T] or
            [B, 1, 1, T] is over the tokens of this call; [B or 1, H or 1, T, past + T] is over
            all, and `is_causal` applies on top of it.
        past: tokens of earlier calls, whose padding is known already.

    In a square mask, what does not see itself is padding. The mask is recognised if it is exactly
    padding, or padding and causality, in the rows of tokens; what else padding sees is all one.
    -inf and the lowest finite number both hide.
    """
    if attn_mask is None:
        return Visibility(is_causal)
    _check_mask(attn_mask, batch, length, past)
    seen = _as_bool(attn_mask)
    if attn_mask.dim() == 2 or attn_mask.shape[1:] == (1, 1, length):
        if seen is None:
            return Visibility(is_causal, scores=attn_mask.view(batch, 1, 1, length))
        return Visibility(is_causal, _unless_all(seen.view(batch, length)))
    if seen is None:
        return Visibility(is_causal, scores=attn_mask)
    pattern = _recognised(seen, is_causal) if past == 0 else None
    if pattern is None:
        closed = torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, -torch.inf)
        return Visibility(is_causal, scores=closed)
    padding, is_causal = pattern
    return Visibility(is_causal, _unless_all(padding.expand(batch, -1)))


def refuse_scores(mask: Visibility, mixer: str) -> None:
    """Raise if the mask is more than padding and causality."""
    if mask.scores is not None:
        raise UnsupportedError(
            f"attn_mask: {mixer} reads padding and causality only, and this mask is something "
            "else. Fix: pass a bool mask [B, T] that is True for tokens, or use SoftmaxAttention."
        )


def _check_mask(mask: Tensor, batch: int, length: int, past: int) -> None:
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise ArgumentError(
            "attn_mask", mask.dtype, "torch.bool or a floating dtype", "pass attn_mask.bool()"
        )
    shape = tuple(mask.shape)
    fits = shape == (batch, length) or (
        len(shape) == 4
        and shape[0] in (1, batch)
        and (shape == (batch, 1, 1, length) or shape[2:] == (length, past + length))
    )
    if not fits:
        raise ArgumentError(
            "attn_mask",
            f"shape {list(shape)}",
            f"[B, T] = {[batch, length]}, {[batch, 1, 1, length]} or "
            f"{[batch, 1, length, past + length]}",
            "mask the tokens of this call; a state knows the padding of earlier ones",
        )


def _as_bool(mask: Tensor) -> Tensor | None:
    """True where seen, or None if the mask weighs."""
    if mask.dtype == torch.bool:
        return mask
    seen = mask == 0.0
    hidden = mask <= torch.finfo(mask.dtype).min
    return seen if bool((seen | hidden).all()) else None


def _recognised(seen: Tensor, is_causal: bool) -> tuple[Tensor, bool] | None:
    """The padding [B or 1, T] and the causality that a square mask is, if it is that."""
    padding = seen.diagonal(dim1=-2, dim2=-1)[:, 0]
    rows, columns = padding[:, None, :, None], padding[:, None, None, :]
    causal = torch.ones(seen.shape[-2:], dtype=torch.bool, device=seen.device).tril()
    if not is_causal and bool(((seen == columns) | ~rows).all()):
        return padding, False
    masked = seen & causal if is_causal else seen
    if bool(((masked == (causal & columns)) | ~rows).all()):
        return padding, True
    return None


def _unless_all(padding: Tensor) -> Tensor | None:
    """None where nothing is padding, which lets attention take its faster way."""
    return None if bool(padding.all()) else padding
