"""Pattern stability: how little an attention pattern changes from one time to the next."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .part import QualityPart, checked


def pattern_stability(
    previous: Float[Tensor, "*b T S"], current: Float[Tensor, "*b T S"]
) -> QualityPart:
    """PS = 1 - |A_t - A_{t-1}|_F / |A_t|_F, clipped to [0, 1].

    1 where nothing changes, an empty pattern included. The raw figure has no lower bound: it is
    negative where the change outweighs the pattern, and -inf where the pattern vanishes.

    Source: chapter 3.3.1, which claims [0, 1] without the clip.

    Args:
        previous, current: attention weights >= 0 at times t - 1 and t.
    """
    previous = checked("previous", previous, "T S")
    current = checked("current", current, "T S")
    if previous.shape != current.shape:
        raise ArgumentError(
            "previous",
            f"shape {list(previous.shape)}",
            f"{list(current.shape)} as current has",
            "compare patterns of the same tokens",
        )
    # The figure has no unit; in units of the largest entry nothing overflows.
    unit = torch.maximum(previous, current).detach().amax((-2, -1), keepdim=True)
    unit = torch.where(unit > 0, unit, 1)
    previous, current = previous / unit, current / unit
    change = torch.linalg.vector_norm(current - previous, dim=(-2, -1))
    size = torch.linalg.vector_norm(current, dim=(-2, -1))
    present = size > 0
    ratio = change / torch.where(present, size, 1)
    vanished = torch.where(change > 0, -torch.inf, 1.0).to(ratio)
    raw = torch.where(present, 1 - ratio, vanished)
    return QualityPart(raw, raw.clamp(0, 1))
