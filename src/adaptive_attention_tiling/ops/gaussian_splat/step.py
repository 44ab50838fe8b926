"""One token at a time, with the least around it: what a generation loop holds."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...backends import native
from ...errors import ArgumentError, UnsupportedError
from ..arguments import Explanation
from ..linear_attention import MemoryState
from ..linear_attention.native_step import NativeStep
from .field import Field
from .interface import splat_attention

_KINDS = ("diagonal", "scalar")


class SplatStepper:
    """A memory of splats, its window and its sinks, that take one token a call.

        stepper = SplatStepper(field, state)          # after a prefill with return_state=True
        out = stepper.step(query, key, value)         # [B, H, 1, E], as often as need be
        state = stepper.state()                       # to go on with ordinary calls

    `step` computes what `splat_attention` does with one new token, and writes to what it holds
    instead of making a new state. Without compiled kernels it makes ordinary calls; `explain`
    tells. The field is taken as it is now: make a new stepper when its parameters change.

    Args:
        field: as in `splat_attention`; with a background, and bounded.
        state: of an earlier call, made with rollback_limit=0. It is copied.
        scale: of the softmax logits in the window and of sinks; 1 / sqrt(D) if None.

    Raises:
        ArgumentError: a state of another field.
        UnsupportedError: a state that can be taken back; a field whose sums are kept as logarithms.
    """

    def __init__(self, field: Field, state: MemoryState, *, scale: float | None = None) -> None:
        if not (field.bounded and field.has_background):
            why = "no background" if field.bounded else "no bound"
            raise UnsupportedError(
                f"field: it has {why}, so its sums are kept as logarithms, which a step in place "
                "does not read. Fix: make ordinary calls, or give the field a background."
            )
        if state.rollback_limit:
            raise UnsupportedError(
                "state: its last tokens can be taken back, and a step in place cannot. Fix: begin "
                "with rollback_limit=0 and keep state() instead, or make ordinary calls."
            )
        if state.values.shape[1:3] != (field.heads, field.features):
            raise ArgumentError(
                "state",
                f"{state.values.shape[1]} heads of {state.values.shape[2]} features",
                f"{field.heads} heads of {field.features} as the field has",
                "pass the state of a call with this field",
            )
        self._field, self._given = field, state
        self._scale = field.width**-0.5 if scale is None else scale
        self._fast, self._reason = self._native_step()

    def step(
        self,
        query: Float[Tensor, "B R*H 1 D"],
        key: Float[Tensor, "B G 1 D"],
        value: Float[Tensor, "B G 1 E"],
        gate: Float[Tensor, "B H 1"] | None = None,
        decay: Float[Tensor, "B H 1"] | None = None,
    ) -> Float[Tensor, "B R*H 1 E"]:
        """Read one token, and answer its query; arguments as `splat_attention` has them.

        Raises:
            ArgumentError: what does not fit the field or the state, by name.
            UnsupportedError: a gradient is asked for; a decay for each splat.
        """
        if decay is not None and decay.dim() == 4:
            raise UnsupportedError(
                "decay: one for each splat needs sums in logarithms. Fix: make ordinary calls."
            )
        if self._fast is not None:
            return self._fast.step(query, key, value, gate, decay)
        out, self._given = splat_attention(
            query,
            key,
            value,
            self._field,
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

    def state(self) -> MemoryState:
        """The state after all steps; later steps do not change it."""
        return self._given if self._fast is None else self._fast.state()

    def explain(self) -> Explanation:
        """Whether steps are "native" and in place or ordinary calls, and why."""
        return Explanation("parallel" if self._fast is None else "native", self._reason)

    def _native_step(self) -> tuple[NativeStep | None, str]:
        prepared = self._field.prepared()
        choice = native.choice()
        if prepared.kind not in _KINDS:
            return None, f"ordinary calls: torch evaluates splats of kind {prepared.kind!r}"
        if self._given.values.device.type != "cpu":
            return None, f"ordinary calls: the state is on {self._given.values.device}"
        if choice.library is None:
            return None, f"ordinary calls: {choice.reason}"
        with torch.no_grad():
            fast = NativeStep(
                self._given,
                prepared.kind,
                prepared.tensors,
                int(self._field.has_background),
                0.0,
                width=self._field.width,
                scale=self._scale,
            )
        return fast, f"in place, compiled for {choice.library.instruction_set}"
