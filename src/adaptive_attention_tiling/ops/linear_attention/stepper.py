"""What steppers of all memories share: a state that takes one token a call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...backends import native
from ...errors import UnsupportedError
from ..arguments import Explanation
from .memory import NativeFeatures
from .native_step import NativeStep
from .state import MemoryState


class AbstractStepper(ABC):
    """A memory, its window and its sinks; in place by compiled kernels, or by ordinary calls.

    Args:
        state: of an earlier call, made with rollback_limit=0. It is copied.
        features: how kernels evaluate them, or why they cannot.
        parameters: tensors of the features, see `native.KINDS`; taken as they are now.
        width: numbers of a key. scale: of logits in the window and of sinks.

    Raises:
        UnsupportedError: a state that can be taken back.
    """

    def __init__(
        self,
        state: MemoryState,
        features: NativeFeatures | str,
        parameters: Sequence[Tensor] = (),
        *,
        width: int,
        scale: float,
    ) -> None:
        if state.rollback_limit:
            raise UnsupportedError(
                "state: its last tokens can be taken back, and a step in place cannot. Fix: begin "
                "with rollback_limit=0 and keep state() instead, or make ordinary calls."
            )
        self._given, self._scale = state, scale
        self._fast: NativeStep | None = None
        choice = native.choice()
        if isinstance(features, str):
            self._reason = f"ordinary calls: {features}"
        elif state.values.device.type != "cpu":
            self._reason = f"ordinary calls: the state is on {state.values.device}"
        elif choice.library is None:
            self._reason = f"ordinary calls: {choice.reason}"
        else:
            self._reason = f"in place, compiled for {choice.library.instruction_set}"
            how = features.kind, parameters, features.constant, features.background
            with torch.no_grad():
                self._fast = NativeStep(state, *how, width=width, scale=scale)

    def state(self) -> MemoryState:
        """The state after all steps; later steps do not change it."""
        return self._given if self._fast is None else self._fast.state()

    def explain(self) -> Explanation:
        """Whether steps are "native" and in place or ordinary calls, and why."""
        return Explanation("parallel" if self._fast is None else "native", self._reason)

    @abstractmethod
    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, **given: Any
    ) -> tuple[Tensor, MemoryState]:
        """The ordinary call."""

    def _take(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        gate: Tensor | None,
        decay: Tensor | None,
    ) -> Tensor:
        """Ordinary calls: outputs [B, R*H, 1, E], from a state that replaces the one before."""
        out, self._given = self._attend(
            query,
            key,
            value,
            is_causal=True,
            scale=self._scale,
            enable_gqa=True,
            gate=gate,
            decay=decay,
            window=self._given.window,
            sinks=self._given.sinks,
            initial_state=self._given,
            return_state=True,
        )
        return out
