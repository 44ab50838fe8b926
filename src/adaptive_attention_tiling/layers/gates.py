"""Gates whose logarithm the attention ops take: what to forget, what to write."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ..errors import ArgumentError


class LogGate(nn.Linear):
    """log sigmoid(w x + b), at most 0, one for each entry of `opened`.

    `opened` says where the gates start: b is set so that sigmoid(b) = opened. Training leaves
    weight decay off these parameters, because decay would pull every gate to one half.
    """

    def __init__(self, width: int, opened: Float[Tensor, " gates"]) -> None:
        super().__init__(width, opened.numel())
        with torch.no_grad():
            self.bias.copy_(torch.logit(opened))

    def forward(
        self, x: Float[Tensor, "B T C"], padding: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T gates"]:
        """`padding` is True for tokens; elsewhere the gate is open, and nothing is forgotten."""
        logarithm = logsigmoid(super().forward(x))
        return logarithm if padding is None else logarithm.masked_fill(~padding[..., None], 0.0)


def spread_retentions(
    gates: int, between: tuple[float, float] = (0.5, 0.99)
) -> Float[Tensor, " gates"]:
    """Retentions from the shorter to the longer memory, in equal steps of their logit.

    A single gate starts in the middle.
    """
    low, high = between
    if not 0.0 < low <= high < 1.0:
        raise ArgumentError(
            "retention", between, "0 < shortest <= longest < 1", "leave out the default (0.5, 0.99)"
        )
    ends = torch.logit(torch.tensor([low, high], dtype=torch.float64))
    if gates == 1:
        return torch.sigmoid(ends.mean(0, keepdim=True))
    share = torch.linspace(0.0, 1.0, gates, dtype=torch.float64)
    return torch.sigmoid(torch.lerp(ends[0], ends[1], share))
