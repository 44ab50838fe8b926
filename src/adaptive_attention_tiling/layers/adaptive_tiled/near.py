"""Attention to the near field alone: a query's own super-block and its neighbours before it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention


@dataclass(frozen=True)
class NearState:
    """Keys [B, G, s, D] and values [B, G, s, E] from `start` on, all that later queries may see.

    `seen` [B, s] is False for padding. `start` is the first token of a super-block.
    """

    start: int
    key: Tensor
    value: Tensor
    seen: Tensor

    @property
    def tokens(self) -> int:
        """How many tokens there have been."""
        return self.start + self.key.shape[2]

    def extended(self, key: Tensor, value: Tensor, seen: Tensor | None) -> NearState:
        """The state that also holds these tokens."""
        if seen is None:
            seen = torch.ones(key.shape[0], key.shape[2], dtype=torch.bool, device=key.device)
        return NearState(
            self.start,
            torch.cat([self.key, key], 2),
            torch.cat([self.value, value], 2),
            torch.cat([self.seen, seen], 1),
        )

    def trimmed(self, size: int, neighbours: int) -> NearState:
        """The state without what the next token's super-block and all after it cannot see."""
        start = max(self.start, (self.tokens // size - neighbours) * size)
        drop = start - self.start
        key, value, seen = self.key[:, :, drop:], self.value[:, :, drop:], self.seen[:, drop:]
        return NearState(start, key, value, seen)


def no_tokens(key: Float[Tensor, "B G t D"], value: Float[Tensor, "B G t E"]) -> NearState:
    """The state before the first token."""
    nothing = torch.ones(key.shape[0], 0, dtype=torch.bool, device=key.device)
    return NearState(0, key[:, :, :0], value[:, :, :0], nothing)


def near_attention(
    query: Float[Tensor, "B H t D"],
    state: NearState,
    *,
    size: int,
    neighbours: int,
    scale: float | None = None,
) -> Float[Tensor, "B H t E"]:
    """o_i = softmax attention over the keys j <= i that lie at most `neighbours` super-blocks back.

    The queries are those of the state's last t tokens. A query that sees no token gets 0. It is
    what `tiled_attention` gives at resolution 0 without sinks, all super-blocks at once.
    """
    length = query.shape[2]
    first = state.tokens - length
    if first // size == (state.tokens - 1) // size:
        skipped = max(0, (first // size - neighbours) * size - state.start)
        key, value = state.key[:, :, skipped:], state.value[:, :, skipped:]
        causal = _causal(length, key.shape[2], query.device)
        seen = causal & state.seen[:, None, None, skipped:]
        return _attention(query, key, value, seen, scale)
    return _by_block(query, state, first, size, neighbours, scale)


def _by_block(
    query: Tensor, state: NearState, first: int, size: int, neighbours: int, scale: float | None
) -> Float[Tensor, "B H t E"]:
    """Super-blocks as a part of the batch; what is missing of the first and last is padding."""
    length, block = query.shape[2], first // size
    blocks = (state.tokens - 1) // size - block + 1
    before, after = first - block * size, (block + blocks) * size - state.tokens
    lead = state.start - (block - neighbours) * size  # may be negative: keys no query sees
    query = pad(query, (0, 0, before, after)).unflatten(2, (blocks, size))

    def windows(x: Tensor) -> Tensor:
        cut = pad(x, (0, 0, lead, after)).unflatten(2, (blocks + neighbours, size))
        views = [cut[:, :, n : n + blocks] for n in range(neighbours + 1)]
        return torch.cat(views, 3).transpose(1, 2).flatten(0, 1)

    key, value = windows(state.key), windows(state.value)
    seen = windows(state.seen[:, None, :, None].to(torch.uint8))[..., 0].bool()
    seen = seen[:, :, None] & _causal(size, (neighbours + 1) * size, query.device)
    rows = query.transpose(1, 2).flatten(0, 1)
    out = _attention(rows, key, value, seen, scale)
    joined: Tensor = out.unflatten(0, (-1, blocks)).transpose(1, 2).flatten(2, 3)
    return joined[:, :, before : before + length]


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept serves training too
def _causal(queries: int, keys: int, device: torch.device) -> Bool[Tensor, "t s"]:
    """Which keys each query sees, when the last of both are the same token."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, seen: Tensor, scale: float | None
) -> Tensor:
    # A row that sees nothing would be 0 / 0: let it see everything, and drop its output.
    sighted = seen.any(-1, keepdim=True)
    out = scaled_dot_product_attention(
        query, key, value, attn_mask=seen | ~sighted, scale=scale, enable_gqa=True
    )
    return torch.where(sighted, out, 0.0)
