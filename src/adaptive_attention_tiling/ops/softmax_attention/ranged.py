"""Softmax attention in which each query sees one range of the keys.

Query i, at the place i + offset among the keys, sees

    causal:     i + offset - window <  j  <=  i + offset
    otherwise:  |i + offset - j| < window

where no window means one without end.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import UnsupportedError
from ..arguments import Explanation, check_implementation
from .native import native_ranges, softmax_ranges
from .partial import EMPTY, Partial, partial_attention

IMPLEMENTATIONS = ("native", "eager")

_BLOCK = 128


class Range(NamedTuple):
    """Query i sees keys i + lower <= j < i + upper; None for no limit on that side."""

    lower: int | None
    upper: int | None


def visible_range(*, offset: int, window: int | None, is_causal: bool) -> Range:
    """The range of keys that the arguments of `ranged_attention` describe."""
    lower = None if window is None else offset - window + 1
    if is_causal:
        return Range(lower, offset + 1)
    return Range(lower, None if window is None else offset + window)


def ranged_attention(
    query: Float[Tensor, "B H R T D"],
    key: Float[Tensor, "B H S D"],
    value: Float[Tensor, "B H S E"],
    *,
    scale: float,
    offset: int = 0,
    window: int | None = None,
    is_causal: bool = True,
    bias: Float[Tensor, "B S"] | Float[Tensor, "B H S"] | None = None,
    implementation: str | None = None,
) -> Partial:
    """Attention of R query heads for each key head over the keys that each query sees.

    `bias` is added to the logits of a key for all queries; -inf hides it. A query that sees
    nothing gets out = 0 and lse = EMPTY. Cost and memory are proportional to the visible pairs.
    `implementation` is "native" (compiled kernels, not twice differentiable), "eager" (torch, any
    device) or None to choose; `explain_ranged_attention` tells the choice.

    Returns:
        out [B, H, R, T, E] and lse [B, H, R, T].

    Raises:
        UnsupportedError: "native" is pinned and cannot run.
    """
    seen = visible_range(offset=offset, window=window, is_causal=is_causal)
    chosen = explain_ranged_attention(query, key, value, bias, implementation=implementation)
    if chosen.implementation == "eager":
        return eager_ranged_attention(query * scale, key, value, bias, seen)
    if bias is not None:
        bias = (bias[:, None] if bias.dim() == 2 else bias).expand(key.shape[:3])
    group = query.shape[1:3]
    out, lse = softmax_ranges(query.flatten(1, 2), key, value, bias, scale, *seen)
    return Partial(out.unflatten(1, group), lse.unflatten(1, group))


def window_attention(
    query: Float[Tensor, "B H R T D"],
    key: Float[Tensor, "B H S D"],
    value: Float[Tensor, "B H S E"],
    visible: Bool[Tensor, "B H S"] | None = None,
    *,
    window: int,
    scale: float,
    implementation: str | None = None,
) -> Partial:
    """Attention of T queries over the last W keys up to their own; S = W + T.

    The keys begin W slots before the first query, so that query i sees slots i < j <= i + W of
    those that are `visible`.
    """
    bias = None if visible is None else torch.where(visible, 0.0, EMPTY).to(key)
    return ranged_attention(
        query,
        key,
        value,
        scale=scale,
        offset=window,
        window=window,
        is_causal=True,
        bias=bias,
        implementation=implementation,
    )


def explain_ranged_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    *,
    implementation: str | None = None,
) -> Explanation:
    """Which implementation `ranged_attention` and `window_attention` take, and why."""
    check_implementation(implementation, IMPLEMENTATIONS)
    if implementation == "eager":
        return Explanation("eager", "pinned by the caller")
    missing = native_ranges(query, key, value, bias)
    if implementation is None:
        return Explanation("eager" if missing else "native", missing or "compiled kernels run here")
    if missing is not None:
        raise UnsupportedError(
            f"implementation: 'native' cannot run: {missing}. Fix: leave it out, or pin 'eager'."
        )
    return Explanation("native", "pinned by the caller")


def eager_ranged_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, seen: Range
) -> Partial:
    """`ranged_attention` of scaled queries in plain torch: a block of queries at a time."""
    length, keys = query.shape[3], key.shape[2]
    if bias is not None and bias.dim() == 2:
        bias = bias[:, None].expand(-1, key.shape[1], -1)
    size = _BLOCK if None in seen else max(_BLOCK, seen.upper - seen.lower)  # type: ignore[operator]
    if seen == Range(None, None):
        size = max(1, length)
    parts = []
    for start in range(0, max(1, length), size):
        stop = min(start + size, length)
        first = 0 if seen.lower is None else min(max(0, start + seen.lower), keys)
        last = keys if seen.upper is None else max(first, min(keys, stop - 1 + seen.upper))
        hidden = _hidden(range(start, stop), range(first, last), seen, like=key)
        if bias is not None:
            shown = bias[:, :, None, None, first:last]
            hidden = shown if hidden is None else shown + hidden
        piece = query[:, :, :, start:stop]
        parts.append(_shared(piece, key[:, :, first:last], value[:, :, first:last], hidden))
    if len(parts) == 1:
        return parts[0]
    return Partial(torch.cat([p.out for p in parts], 3), torch.cat([p.lse for p in parts], 3))


def _hidden(queries: range, keys: range, seen: Range, *, like: Tensor) -> Tensor | None:
    """[t, s]: 0 where a query sees a key, else -inf; None where all see all."""
    lower, upper = seen
    before = lower is None or queries.stop - 1 + lower <= keys.start
    if before and (upper is None or queries.start + upper >= keys.stop):
        return None
    i = torch.arange(queries.start, queries.stop, device=like.device)[:, None]
    j = torch.arange(keys.start, keys.stop, device=like.device)
    shown = torch.ones(len(queries), len(keys), dtype=torch.bool, device=like.device)
    if lower is not None:
        shown &= j >= i + lower
    if upper is not None:
        shown &= j < i + upper
    return torch.where(shown, 0.0, EMPTY).to(like)


def _shared(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Partial:
    """Queries [B, H, R, t, D] over keys [B, H, s, D] that R query heads share."""
    batch, heads, group, length, _ = query.shape
    if bias is not None:
        bias = bias.expand(batch, heads, 1, length, -1).flatten(0, 1)
    part = partial_attention(
        query.flatten(0, 1),
        key[:, :, None].expand(-1, -1, group, -1, -1).flatten(0, 1),
        value[:, :, None].expand(-1, -1, group, -1, -1).flatten(0, 1),
        bias=bias,
    )
    return Partial(part.out.unflatten(0, (batch, heads)), part.lse.unflatten(0, (batch, heads)))
