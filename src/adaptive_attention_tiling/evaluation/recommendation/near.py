"""Which keys a query reads exactly because they are near, or the first ones."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def near_keys(
    rows: Int[Tensor, " r"],
    columns: Int[Tensor, " S"],
    window: int,
    sinks: int,
    *,
    is_causal: bool,
) -> Bool[Tensor, "r S"]:
    """True where |i - j| < window or j < sinks, of the keys j that query i may see."""
    gap = rows[:, None] - columns
    near = (gap.abs() < window) | (columns < sinks)
    return near & (gap >= 0) if is_causal else near


def has_far_keys(
    rows: Int[Tensor, " r"], tokens: int, window: int, sinks: int, *, is_causal: bool
) -> Bool[Tensor, " r"]:
    """Whether a query sees any key of a text that is not near."""
    before = rows - window >= sinks
    if is_causal:
        return before
    return before | ((rows + window).clamp_min(sinks) < tokens)


def mean_near_keys(tokens: int, window: int, sinks: int, *, is_causal: bool) -> float:
    """How many keys are near to a query, on average over all queries of a text."""
    rows = torch.arange(tokens)
    first = (rows - window + 1).clamp_min(0)
    last = rows if is_causal else (rows + window - 1).clamp_max(tokens - 1)
    return float((last - first + 1 + first.clamp_max(sinks)).double().mean())


def mean_visible_keys(tokens: int, *, is_causal: bool) -> float:
    """How many keys a query may see: (T + 1) / 2 if causal, else T."""
    return (tokens + 1) / 2 if is_causal else float(tokens)
