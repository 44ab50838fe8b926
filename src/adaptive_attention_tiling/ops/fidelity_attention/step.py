"""One token at a time, with the least around it: what a generation loop holds."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Inexact
from torch import Tensor

from ...errors import ArgumentError
from ..linear_attention import MemoryState
from ..linear_attention.stepper import AbstractStepper
from .interface import (
    BACKGROUND,
    as_numbers,
    check_background,
    check_qubits,
    fidelity_attention,
    native_features,
)
from .kernel import FidelityKernel


class FidelityStepper(AbstractStepper):
    """A memory of fidelities, its window and its sinks, that take one token a call.

        stepper = FidelityStepper(state)              # after a prefill with return_state=True
        out = stepper.step(query, key, value)         # [B, H, 1, E], as often as need be
        state = stepper.state()                       # to go on with ordinary calls

    `step` computes what `fidelity_attention` does with one new token, and writes to what it holds
    instead of making a new state. Without compiled kernels it makes ordinary calls; `explain`
    tells, and so it does for qubits. The number of features of the state tells whether amplitudes
    are real or complex.

    Args:
        state: of an earlier call, made with rollback_limit=0. It is copied.
        background, qubits: those of the earlier call.
        scale: of the softmax logits in the window and of sinks; 1 / sqrt(m) if None.

    Raises:
        ArgumentError: a state that no call with this background returns.
        UnsupportedError: a state that can be taken back.
    """

    def __init__(
        self,
        state: MemoryState,
        *,
        background: float = BACKGROUND,
        scale: float | None = None,
        qubits: int = 0,
    ) -> None:
        kernel = self._kernel = _kernel_of(state, background, qubits)
        scale = kernel.dimension**-0.5 if scale is None else scale
        features = "features of qubits" if qubits else native_features(kernel)
        super().__init__(state, features, width=state.key.shape[-1], scale=scale)

    def step(
        self,
        query: Inexact[Tensor, "B R*G 1 m"],
        key: Inexact[Tensor, "B G 1 m"],
        value: Float[Tensor, "B G 1 E"],
        gate: Float[Tensor, "B G 1"] | None = None,
        decay: Float[Tensor, "B G 1"] | None = None,
    ) -> Float[Tensor, "B R*G 1 E"]:
        """Read one token, and answer its query; arguments as `fidelity_attention` has them.

        Raises:
            ArgumentError: what does not fit the state, by name.
            UnsupportedError: a gradient is asked for of steps in place.
        """
        self._check(query, key)
        if self._fast is None:
            return self._take(query, key, value, gate, decay)
        if self._kernel.is_complex:
            query, key = as_numbers(query), as_numbers(key)
        return self._fast.step(query, key, value, gate, decay)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, **given: Any
    ) -> tuple[Tensor, MemoryState]:
        found: tuple[Tensor, MemoryState] = fidelity_attention(
            query,
            key,
            value,
            background=self._kernel.background,
            qubits=self._kernel.qubits,
            **given,
        )
        return found

    def _check(self, query: Tensor, key: Tensor) -> None:
        is_complex, heads = self._kernel.is_complex, self._given.values.shape[1]
        if query.is_complex() is not is_complex or key.is_complex() is not is_complex:
            raise ArgumentError(
                "query, key",
                f"{query.dtype} and {key.dtype}",
                f"{'complex' if is_complex else 'real'} amplitudes, as the state has read",
                "pass states of the kind that the earlier call had",
            )
        if key.dim() > 1 and key.shape[1] != heads:
            raise ArgumentError(
                "key", f"{key.shape[1]} heads", f"{heads} as the state has", "check the heads"
            )


def _kernel_of(state: MemoryState, background: float, qubits: int) -> FidelityKernel:
    """The kernel that has as many features as the state; m^2 and m (m + 1) / 2 are never close."""
    check_background(background)
    check_qubits(qubits, state.key.shape[-1], is_complex=False)
    numbers, features = state.key.shape[-1], state.values.shape[2]
    real = FidelityKernel(numbers, False, float(background), qubits)
    over_complex = FidelityKernel(numbers // 2, True, float(background))
    if features == real.features:
        return real
    if not qubits and numbers % 2 == 0 and features == over_complex.features:
        return over_complex
    raise ArgumentError(
        "state",
        f"{features} features of {numbers} numbers",
        f"{real.features}, or {over_complex.features} if complex, with background {background}",
        "pass the state of a call of fidelity_attention, and the background of that call",
    )
