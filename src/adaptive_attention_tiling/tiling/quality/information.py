"""Information density: how fast the states of a tile move, a channel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .part import QualityPart, checked


def information_density(gradient: Float[Tensor, "*b T C"]) -> QualityPart:
    """ID = mean over tokens of |grad s_t|^2 / C, and ID / (1 + ID).

    Source: chapter 3.3.1, which claims [0, 1] of the raw figure; it has no upper bound.

    Args:
        gradient: of the states by position, such as their differences.
    """
    gradient = checked("gradient", gradient, "T C", signed=True)
    raw = gradient.square().mean((-2, -1))
    huge = torch.isinf(raw)
    finite = torch.where(huge, 0, raw)
    return QualityPart(raw, torch.where(huge, 1, finite / (1 + finite)))
