"""How fast perturbations of a pattern grow: linearised along its flow, and as they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.dynamics import PatternDynamics, SemilinearFlow
from ...mathematics.runge_kutta import integrate

Dynamics = PatternDynamics | SemilinearFlow | Callable[[Tensor], Tensor]


def checked_fields(pattern: Tensor, perturbation: Tensor) -> tuple[Tensor, Tensor]:
    """The pattern and its perturbation, detached.

    Raises:
        ArgumentError: other than two finite tensors of one shape, the second not 0.
    """
    for name, field in (("pattern", pattern), ("perturbation", perturbation)):
        real = isinstance(field, Tensor) and field.is_floating_point() and field.numel()
        if not real or not bool(field.isfinite().all()):
            got = list(field.shape) if isinstance(field, Tensor) else type(field).__name__
            raise ArgumentError(name, got, "a tensor of finite real numbers", "pass a field")
    if perturbation.shape != pattern.shape or not bool((perturbation != 0).any()):
        raise ArgumentError(
            "perturbation", list(perturbation.shape), f"other than 0, {list(pattern.shape)}",
            "pass a like field",
        )  # fmt: skip
    return pattern.detach(), perturbation.detach()


def time_map(dynamics: Dynamics | None, time: float, step: float) -> Callable[[Tensor], Tensor]:
    """The state after a time, of the state: by the system's own steps, or by rk4 of a rate."""
    if not 0 < time < math.inf:
        raise ArgumentError("time", time, "a number > 0", "pass time=1.0")
    if isinstance(dynamics, PatternDynamics):
        own = dynamics
        flow, method, step = own.flow(), own.method, own.step
    elif isinstance(dynamics, SemilinearFlow):
        flow, method = dynamics, "etdrk4"
    elif callable(dynamics):
        return lambda u: _integrated(dynamics, u, time, _count(time, step))
    else:
        raise ArgumentError(
            "dynamics", type(dynamics).__name__,
            "a PatternDynamics, a SemilinearFlow, or u' as a function of u",
            "pass PatternValidation(dynamics=...)",
        )  # fmt: skip
    count = _count(time, step)
    return lambda u: flow.evolve(u, step=time / count, steps=count, method=method)


def linear_rate(
    advance: Callable[[Tensor], Tensor], pattern: Tensor, change: Tensor, time: float, rounds: int
) -> float:
    """ln(|v after| / |v|) / time of v' = Df v, after some rounds of the time, over the last half.

    Further rounds turn v towards the direction that grows most, as in the power method.
    """
    logs, change = [], change / torch.linalg.vector_norm(change)
    for _ in range(rounds):
        with torch.no_grad():
            change = torch.func.jvp(advance, (pattern,), (change,))[1].detach()
        size = float(torch.linalg.vector_norm(change))
        if not 0 < size < math.inf:
            return -math.inf if size == 0 else math.nan
        logs.append(math.log(size))
        change = change / size
    last = logs[rounds // 2 :]
    return sum(last) / (len(last) * time)


def check_rate_converged(rate: float, finer: float, step: float) -> None:
    """Raise an ArgumentError unless half of the step has the same rate, to a twentieth."""
    if abs(rate - finer) > 0.05 * max(abs(rate), abs(finer)) + 1e-6:
        raise ArgumentError(
            "step", f"{step}, a rate of {rate:.3g}", f"{finer:.3g}, as with half of it",
            "pass PatternValidation(step=...) that the integrator can take",
        )  # fmt: skip


def full_rate(
    advance: Callable[[Tensor], Tensor], pattern: Tensor, end: Tensor, change: Tensor, time: float
) -> float:
    """ln(|u after - end| / |u - pattern|) / time, u the pattern with the perturbation.

    Of the first difference 64 roundings of the pattern are none of its doing.
    """
    rounding = 64 * torch.finfo(pattern.dtype).eps * torch.linalg.vector_norm(pattern)
    with torch.no_grad():
        apart = torch.linalg.vector_norm(advance(pattern + change) - end)
        apart = torch.where(apart > rounding, apart - rounding, 0 * apart)
    before = torch.linalg.vector_norm(change)
    return float((apart / before).log()) / time


def _count(time: float, step: float) -> int:
    if not 0 < step < math.inf:
        raise ArgumentError("step", step, "a number > 0", "pass step=0.1")
    return max(1, math.ceil(time / step * (1 - 1e-12)))


def _integrated(rate: Callable[[Tensor], Tensor], state: Tensor, time: float, count: int) -> Tensor:
    times = torch.tensor([0.0, time], dtype=torch.float64, device=state.device)
    return integrate(lambda _, u: rate(u), state, times, method="rk4", steps=count)[-1]
