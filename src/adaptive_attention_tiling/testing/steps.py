"""Texts that a memory reads in ordinary calls or in steps in place, which must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..ops.linear_attention import MemoryState
from .compare import assert_close

_TENSORS = ("values", "mass", "level", "key", "value", "gate", "sink_key", "sink_value", "length")


class Stepper(Protocol):
    def step(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        gate: Tensor | None = None,
        decay: Tensor | None = None,
    ) -> Tensor: ...


class SteppedText:
    """Tokens of which any stretch can be read by ordinary calls or in steps.

    Args:
        attend: the ordinary call: query, key, value, and settings by name.
        tokens: query, key and value of all tokens; the time axis is the third.
        gate, decay: [B, H, T], or None. window, sinks: of the ordinary call.
    """

    def __init__(
        self,
        attend: Callable[..., Any],
        tokens: Sequence[Tensor],
        gate: Tensor | None = None,
        decay: Tensor | None = None,
        *,
        window: int = 0,
        sinks: int = 0,
    ) -> None:
        self.attend, self.tokens = attend, list(tokens)
        self.gate, self.decay = gate, decay
        self.near = {"window": window, "sinks": sinks}

    def cut(self, start: int, stop: int) -> tuple[list[Tensor], list[Tensor | None]]:
        """query, key, value; gate, decay."""
        rates = [None if t is None else t[:, :, start:stop] for t in (self.gate, self.decay)]
        return [t[:, :, start:stop] for t in self.tokens], rates

    @torch.no_grad()
    def read(self, start: int, stop: int, state: MemoryState | None = None, **settings: Any) -> Any:
        """Output and state of one ordinary call."""
        tokens, (gate, decay) = self.cut(start, stop)
        settings = {**self.near, "initial_state": state, "return_state": True, **settings}
        return self.attend(
            *tokens, is_causal=True, enable_gqa=True, gate=gate, decay=decay, **settings
        )

    @torch.no_grad()
    def step(self, stepper: Stepper, start: int, stop: int) -> Tensor:
        """Outputs of as many steps as there are tokens."""
        outs = []
        for t in range(start, stop):
            tokens, rates = self.cut(t, t + 1)
            outs.append(stepper.step(*tokens, *rates))
        return torch.cat(outs, 2)


def assert_same_memory(found: MemoryState, wanted: MemoryState) -> None:
    """Require states that hold the same, by `assert_close`; -inf only where the other has it."""
    for name in _TENSORS:
        got, expected = getattr(found, name), getattr(wanted, name)
        assert_close(got, expected, what=name)
    if (found.window, found.sinks) != (wanted.window, wanted.sinks):
        raise AssertionError(
            f"window and sinks: {found.window}, {found.sinks} beside "
            f"{wanted.window}, {wanted.sinks}"
        )
