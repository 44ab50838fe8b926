"""One token at a time, with the least around it: what a generation loop holds."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from ..linear_attention import MemoryState
from ..linear_attention.memory import NativeFeatures
from ..linear_attention.stepper import AbstractStepper
from .field import Field
from .interface import splat_attention

_KINDS = ("diagonal", "scalar")


class SplatStepper(AbstractStepper):
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
        if state.values.shape[1:3] != (field.heads, field.features):
            raise ArgumentError(
                "state",
                f"{state.values.shape[1]} heads of {state.values.shape[2]} features",
                f"{field.heads} heads of {field.features} as the field has",
                "pass the state of a call with this field",
            )
        self._field = field
        prepared = field.prepared()
        features: NativeFeatures | str = f"torch evaluates splats of kind {prepared.kind!r}"
        if prepared.kind in _KINDS:
            features = NativeFeatures(prepared.kind, constant=int(field.has_background))
        scale = field.width**-0.5 if scale is None else scale
        super().__init__(state, features, prepared.tensors, width=field.width, scale=scale)

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
        return self._take(query, key, value, gate, decay)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, **given: Any
    ) -> tuple[Tensor, MemoryState]:
        found: tuple[Tensor, MemoryState] = splat_attention(query, key, value, self._field, **given)
        return found
