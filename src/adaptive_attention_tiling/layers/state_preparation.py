"""Which state of a quantum system a head's query or key is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from ..errors import ArgumentError
from ..mathematics.quantum import angle_amplitudes, phased_amplitudes


@dataclass(frozen=True, kw_only=True)
class StatePreparation:
    """How the numbers x that a head's projection gives become m amplitudes of a state.

        amplitude               psi_k = x_k, of any norm
        amplitude with phases   psi_k = x_k e^(i x_(m + k))
        angle                   the product over k of cos(x_k / 2) |0> + sin(x_k / 2) |1>
        angle with phases       the same with e^(i x_(n + k)) before |1>: points of Bloch spheres

    as `amplitude_state` and `angle_state` have it. Angles and phases are in radians.

    Args:
        kind: "amplitude", or "angle" for products of n qubits, m = 2^n.
        phases: of amplitudes or qubits, given by as many more numbers: the states are complex.
    """

    kind: Literal["amplitude", "angle"] = "amplitude"
    phases: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("amplitude", "angle"):
            raise ArgumentError("kind", repr(self.kind), "amplitude or angle", "check the spelling")

    @property
    def is_plain(self) -> bool:
        """Whether a state is the numbers as they are."""
        return self.kind == "amplitude" and not self.phases

    def numbers(self, state_width: int) -> int:
        """How many numbers a state of this many amplitudes takes.

        Raises:
            ArgumentError: no number of qubits has so many.
        """
        size = state_width
        if self.kind == "angle":
            size = state_width.bit_length() - 1
            if not 1 <= size <= 16 or state_width != 2**size:
                raise ArgumentError(
                    "state_width",
                    state_width,
                    "2^n amplitudes of 1 to 16 qubits for angle preparation",
                    "use 8 or 16, or kind='amplitude'",
                )
        return 2 * size if self.phases else size

    def states(self, x: Float[Tensor, "*b n"]) -> Inexact[Tensor, "*b m"]:
        """The amplitudes; of half precision they are float32 or complex64."""
        if self.is_plain:
            return x
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        size, phases = x, None
        if self.phases:
            size, phases = x.chunk(2, -1)
        if self.kind == "angle":
            return angle_amplitudes(size, phases)
        assert phases is not None
        return phased_amplitudes(size, phases)


AMPLITUDES = StatePreparation()
