"""What causal resolvent attention carries from token to token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ArgumentError


@dataclass(frozen=True)
class ResolventState:
    """All keys [B, H, S, D] and outputs [B, H, S, E] so far; `seen` [B, S] is False for padding."""

    key: Tensor
    output: Tensor
    seen: Tensor | None = None


def check_resolvent_state(state: ResolventState, key: Tensor, value: Tensor) -> None:
    """Raise an ArgumentError unless tokens of these keys and values, one head each, can follow."""
    if not isinstance(state, ResolventState):
        raise ArgumentError(
            "initial_state", type(state).__name__, "a ResolventState", "pass what a call returned"
        )
    length = state.key.shape[2]
    for name, held, new in (("key", state.key, key), ("output", state.output, value)):
        expected = (*new.shape[:2], length, new.shape[3])
        if held.shape != expected or held.dtype != new.dtype or held.device != new.device:
            raise ArgumentError(
                "initial_state",
                f"{name} {held.dtype} {list(held.shape)} on {held.device}",
                f"{new.dtype} {list(expected)} on {new.device}",
                "continue with the heads and the dtype that it began with",
            )
    seen = state.seen
    if seen is not None and (seen.dtype != torch.bool or seen.shape != (key.shape[0], length)):
        raise ArgumentError(
            "initial_state", f"seen {seen.dtype} {list(seen.shape)}",
            f"torch.bool {[key.shape[0], length]}", "pass what a call returned",
        )  # fmt: skip
