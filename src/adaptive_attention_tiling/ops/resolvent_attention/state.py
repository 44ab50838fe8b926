"""What causal resolvent attention carries from token to token."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ResolventState:
    """All keys [B, H, S, D] and outputs [B, H, S, E] so far; `seen` [B, S] is False for padding."""

    key: Tensor
    output: Tensor
    seen: Tensor | None = None
