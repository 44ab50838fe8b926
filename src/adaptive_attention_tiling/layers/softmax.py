"""Softmax attention, the exact and quadratic mixer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .context import context_unless_read, read_context_mask
from .mask import Visibility
from .mixer import AbstractMixer, check_tokens
from .projections import CrossProjections, ProjectionConfig


@dataclass(frozen=True, kw_only=True)
class SoftmaxAttentionConfig:
    """Softmax attention; `scale` of the logits is 1 / sqrt(D) if None."""

    projection: ProjectionConfig
    scale: float | None = None


@dataclass(frozen=True)
class KeyValueCache:
    """All keys [B, G, S, D] and values [B, G, S, E] so far; `seen` [B, S] is False for padding."""

    key: Tensor
    value: Tensor
    seen: Tensor | None = None

    def extended(self, key: Tensor, value: Tensor, seen: Tensor | None) -> KeyValueCache:
        """A cache that also holds these tokens."""
        if self.seen is not None or seen is not None:
            masks = [
                key.new_ones(key.shape[0], tensor.shape[2], dtype=torch.bool) if m is None else m
                for tensor, m in ((self.key, self.seen), (key, seen))
            ]
            seen = torch.cat(masks, dim=1)
        keys, values = torch.cat([self.key, key], 2), torch.cat([self.value, value], 2)
        return KeyValueCache(keys, values, seen)


class SoftmaxAttention(AbstractMixer):
    """o_i = sum_j softmax_j(scale q_i . k_j) v_j; its state grows with the text."""

    def __init__(self, config: SoftmaxAttentionConfig) -> None:
        super().__init__(config.projection)
        self.config = config

    def attend(
        self,
        x: Tensor,
        heads: tuple[Tensor, Tensor, Tensor],
        mask: Visibility,
        past: Any,
        *,
        return_state: bool,
    ) -> tuple[Float[Tensor, "B H T E"], KeyValueCache]:
        query, key, value = heads
        cache = KeyValueCache(key, value, mask.padding)
        if past is not None:
            cache = past.extended(key, value, mask.padding)
        return softmax_over(query, cache, mask, self.config.scale), cache


class SoftmaxCrossAttention(nn.Module):
    """Softmax attention of one text to all of another."""

    def __init__(self, config: SoftmaxAttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.projections = CrossProjections(config.projection)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        context: Float[Tensor, "B S C"] | None = None,
        *,
        context_mask: Tensor | None = None,
        state: KeyValueCache | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, KeyValueCache]:
        """Read `context`, whose padding `context_mask` [B, S] hides, or the `state` made of it."""
        check_tokens("x", x, self.config.projection.width)
        context = context_unless_read(context, state, self.config.projection.width)
        if context is not None:
            seen = read_context_mask(context_mask, context)
            state = KeyValueCache(*self.projections.keys_and_values(context, seen), seen)
        assert state is not None  # context_unless_read has seen to it
        everything = Visibility(is_causal=False)
        out = softmax_over(self.projections.queries(x), state, everything, self.config.scale)
        y: Tensor = self.projections.output(out, x)
        return (y, state) if return_state else y


def softmax_over(
    query: Float[Tensor, "B H T D"], cache: KeyValueCache, mask: Visibility, scale: float | None
) -> Float[Tensor, "B H T E"]:
    """Attention of the last T tokens of a cache to all of it. Who sees nothing gets 0."""
    length, total = query.shape[2], cache.key.shape[2]
    causal = mask.is_causal and length > 1
    if mask.scores is None and cache.seen is None and (not causal or length == total):
        return scaled_dot_product_attention(
            query, cache.key, cache.value, is_causal=causal, scale=scale, enable_gqa=True
        )
    seen = torch.ones(1, 1, length, total, dtype=torch.bool, device=query.device)
    if causal:
        seen = seen.tril(total - length)
    if cache.seen is not None:
        seen = seen & cache.seen[:, None, None]
    scores = torch.zeros(seen.shape, dtype=query.dtype, device=query.device)
    if mask.scores is not None:
        seen = seen & (mask.scores > torch.finfo(mask.scores.dtype).min)
        scores = mask.scores.to(query.dtype)
    # A row that sees nothing would be 0 / 0: let it see everything, and drop its output.
    sighted = seen.any(-1, keepdim=True)
    scores = torch.where(seen, scores, -torch.inf).masked_fill(~sighted, 0.0)
    out = scaled_dot_product_attention(
        query, cache.key, cache.value, attn_mask=scores, scale=scale, enable_gqa=True
    )
    return torch.where(sighted, out, 0.0)
