"""Forces within bounds that steer a field towards a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

Advance = Callable[[Tensor, Tensor], Tensor]

_HALVINGS = 40
_ARMIJO = 1e-4


@dataclass(frozen=True)
class Box:
    """lower <= force <= upper, numbers or tensors that broadcast to the forces [t, *grid, s]."""

    lower: float | Tensor = -math.inf
    upper: float | Tensor = math.inf

    def project(self, forces: Tensor) -> Tensor:
        """The nearest forces inside."""
        low = torch.as_tensor(self.lower, dtype=forces.dtype, device=forces.device)
        high = torch.as_tensor(self.upper, dtype=forces.dtype, device=forces.device)
        return torch.minimum(torch.maximum(forces, low), high)


@dataclass(frozen=True)
class ControlSignal:
    """Forces that were found, and what they do.

    Args:
        forces: [t, *grid, s], one a step, constant during it.
        path: the fields, from the current one to that after the last step, [t + 1, *grid, s].
        objectives: of the forces after each iteration, never rising; the first is without forces.
        stationarity: the largest entry of P(c - grad J) - c, P the projection: 0 at a minimum.
    """

    forces: Float[Tensor, "t *grid s"]
    path: Float[Tensor, "u *grid s"]
    objectives: list[float]
    stationarity: float


def controlled(
    advance: Advance,
    current: Float[Tensor, "*grid s"],
    target: Float[Tensor, "*grid s"],
    *,
    steps: int,
    box: Box | None = None,
    effort: float = 1e-3,
    iterations: int = 200,
    tolerance: float = 1e-8,
) -> ControlSignal:
    """The forces c that minimise, inside a box and to first order,

        J(c) = mean (u_T - target)^2 / 2 + effort sum_t mean c_t^2 / 2,
        u_(t+1) = advance(u_t, c_t)

    by projected gradients with Barzilai and Borwein's steps and Armijo's test, with autograd
    through the flow. Where the flow is not linear the minimum may be a local one.

    Args:
        advance: one step of the flow, a field and a force of its shape to the next field.
        current, target: fields.
        steps: T.
        box: of the forces; none if None.
        effort: the price of forces, > 0.
        iterations: at most.
        tolerance: of the stationarity, where it ends.

    Raises:
        ArgumentError: shapes that differ, an empty box, an effort <= 0.

    Source: Bertsekas, Nonlinear Programming (1999), section 2.3; Barzilai and Borwein, IMA J.
    Numer. Anal. 8 (1988).
    """
    box = Box() if box is None else box
    forces = _checked(current, target, steps, box, effort)
    current, target = current.detach(), target.detach()

    def run(c: Tensor) -> Tensor:
        fields = [current]
        for force in c:
            fields.append(advance(fields[-1], force))
        return torch.stack(fields)

    def objective(c: Tensor) -> Tensor:
        missed = (run(c)[-1] - target).square().mean()
        return (missed + effort * c.square().mean(tuple(range(1, c.dim()))).sum()) / 2

    value, slope = _value_and_slope(objective, forces)
    objectives, size = [value], 1 / effort
    off = _stationarity(box, forces, slope)
    for _ in range(iterations):
        if off <= tolerance:
            break
        found = _descended(objective, box, forces, value, slope, size)
        if found is None:
            break
        moved = found - forces
        forces, before = found, slope
        value, slope = _value_and_slope(objective, forces)
        objectives.append(value)
        bend = float((moved * (slope - before)).sum())
        size = float(moved.square().sum()) / bend if bend > 0 else 1 / effort
        off = _stationarity(box, forces, slope)
    return ControlSignal(forces, run(forces).detach(), objectives, off)


def _value_and_slope(objective: Callable[[Tensor], Tensor], forces: Tensor) -> tuple[float, Tensor]:
    with torch.enable_grad():
        at = forces.detach().requires_grad_()
        value = objective(at)
        (slope,) = torch.autograd.grad(value, at)
    if not bool(value.isfinite()):
        raise ArgumentError("advance", "fields that are not finite", "numbers", "take short steps")
    # By entry the mean makes slopes small; this is the slope in the mean inner product.
    return float(value.detach()), slope * forces[0].numel()


def _descended(
    objective: Callable[[Tensor], Tensor],
    box: Box,
    forces: Tensor,
    value: float,
    slope: Tensor,
    size: float,
) -> Tensor | None:
    """Forces with a lower objective along the projected gradient, or None.

    Where a long step makes the flow run away its objective is no number, and refused as too high.
    """
    for _ in range(_HALVINGS):
        offered = box.project(forces - size * slope)
        gain = float((slope * (forces - offered)).sum()) / forces[0].numel()
        with torch.no_grad():
            reached = float(objective(offered))
        if reached <= value - _ARMIJO * gain and gain > 0:
            return offered
        size /= 2
    return None


def _stationarity(box: Box, forces: Tensor, slope: Tensor) -> float:
    return float((box.project(forces - slope) - forces).abs().max())


def _checked(current: Tensor, target: Tensor, steps: int, box: Box, effort: float) -> Tensor:
    """No force, or the nearest to it inside the box."""
    if current.shape != target.shape or not bool((current - target).isfinite().all()):
        raise ArgumentError(
            "target", list(target.shape), f"numbers {list(current.shape)}", "pass a like field"
        )
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ArgumentError("steps", steps, "an integer >= 1", "pass steps=20")
    if not 0 < effort < math.inf:
        raise ArgumentError("effort", effort, "a number > 0", "pass effort=1e-3")
    if bool((torch.as_tensor(box.lower) > torch.as_tensor(box.upper)).any()):
        raise ArgumentError("box", "lower > upper", "lower <= upper", "swap them")
    return box.project(current.detach().new_zeros(steps, *current.shape))
