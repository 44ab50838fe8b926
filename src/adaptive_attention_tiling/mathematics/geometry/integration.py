"""How the differential equations of geometry are solved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..runge_kutta import integrate

_Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Integration:
    """A choice of steps.

    Args:
        tolerance: of a step's error, relative and absolute, by Dormand and Prince's method; 1e-10,
            or 100 roundings of the dtype where that is more, if None.
        steps: so many equal ones between two times instead, by the method of order 4. Nothing is
            then decided by values, as `torch.func.vmap` and `torch.compile` need it.
        max_steps: most of these between two times.
    """

    tolerance: float | None = None
    steps: int | None = None
    max_steps: int = 2000

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ArgumentError(
                "tolerance", self.tolerance, "a number between 0 and 1", "pass tolerance=1e-10"
            )

    def tolerance_of(self, dtype: torch.dtype) -> float:
        """The tolerance that numbers of this dtype are given."""
        return self.tolerance or max(1e-10, 100 * torch.finfo(dtype).eps)

    def integrate(
        self,
        field: Callable[[Tensor, _Tensors], _Tensors],
        state: _Tensors,
        times: Float[Tensor, " t"],
    ) -> _Tensors:
        """The solution at the times, [t, *s] of each tensor [*s] of the state."""
        if self.steps is not None:
            return integrate(field, state, times, method="rk4", steps=self.steps)
        tolerance = self.tolerance_of(state[0].dtype)
        return integrate(
            field,
            state,
            times,
            relative_tolerance=tolerance,
            absolute_tolerance=tolerance,
            max_steps=self.max_steps,
        )


DEFAULT = Integration()


def unit_interval(like: Tensor) -> Float[Tensor, " 2"]:
    """The times 0 and 1, in the dtype and on the device of a tensor."""
    return torch.tensor([0.0, 1.0], dtype=like.dtype, device=like.device)
