"""Gates whose logarithm the attention ops take: what to forget, what to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ..errors import ArgumentError

Decay = Literal["none", "head", "splat"]


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """What a memory of fixed size forgets and writes.

    Args:
        decay: forget as each token says: by one factor a head, or, in a splat field, by one a
            splat.
        retention: the factors at the start, spread from the first to the second over the heads,
            or over the splats of each head.
        write: weigh each key by a factor in (0, 1) that its token gives, one half at the start.
    """

    decay: Decay = "none"
    retention: tuple[float, float] = (0.5, 0.99)
    write: bool = False

    def __post_init__(self) -> None:
        if self.decay not in ("none", "head", "splat"):
            raise ArgumentError(
                "decay", repr(self.decay), "none, head or splat", "check the spelling"
            )
        low, high = self.retention
        if not 0.0 < low <= high < 1.0:
            raise ArgumentError(
                "retention", self.retention, "0 < shortest <= longest < 1", "try (0.5, 0.99)"
            )


NO_GATES = GateConfig()


class LogGate(nn.Linear):
    """log sigmoid(w x + b), at most 0, one for each entry of `opened`.

    `opened` says where the gates start: b is set so that sigmoid(b) = opened. Training leaves
    weight decay off these parameters, because decay would pull every gate to one half.
    """

    def __init__(self, width: int, opened: Float[Tensor, " gates"]) -> None:
        super().__init__(width, opened.numel())
        with torch.no_grad():
            self.bias.copy_(torch.logit(opened))

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T gates"]:
        return logsigmoid(super().forward(x))


class MemoryGates(nn.Module):
    """The decay and the write gate of a memory with `heads` heads, as the ops take them.

    `features`: of the memory, the background included; needed for decay by splat.
    """

    def __init__(
        self, config: GateConfig, width: int, heads: int, features: int | None = None
    ) -> None:
        super().__init__()
        if config.decay == "splat" and features is None:
            raise ArgumentError(
                "decay", "'splat'", "none or head: this memory has no splats", "use decay='head'"
            )
        self.heads = heads
        self.by_splat = config.decay == "splat"
        self.decay: LogGate | None = None
        if features is not None and self.by_splat:
            self.decay = LogGate(width, spread(config.retention, features).repeat(heads))
        elif config.decay == "head":
            self.decay = LogGate(width, spread(config.retention, heads))
        self.write = LogGate(width, torch.full((heads,), 0.5)) if config.write else None

    def forward(self, x: Float[Tensor, "B T C"]) -> tuple[Tensor | None, Tensor | None]:
        """Log decay [B, H, T] or [B, H, T, F], and log gate [B, H, T]."""
        decay = gate = None
        if self.decay is not None:
            decay = self.decay(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            decay = decay if self.by_splat else decay[..., 0]
        if self.write is not None:
            gate = self.write(x).transpose(1, 2)
        return decay, gate


def spread(between: tuple[float, float], gates: int) -> Float[Tensor, " gates"]:
    """Retentions from the shorter to the longer memory, in equal steps of their logit.

    A single gate starts in the middle.
    """
    ends = torch.logit(torch.tensor(between, dtype=torch.float64))
    if gates == 1:
        return torch.sigmoid(ends.mean(0, keepdim=True))
    share = torch.linspace(0.0, 1.0, gates, dtype=torch.float64)
    return torch.sigmoid(torch.lerp(ends[0], ends[1], share))
