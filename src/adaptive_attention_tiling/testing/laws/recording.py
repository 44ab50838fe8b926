"""The kinds of flows that laws accept, as times and states one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.dynamics import HamiltonianFlow, MetricFlow, RotationalFlow
from ...mathematics.geometry import GeodesicFlow

Flow = (
    Tensor
    | tuple[Tensor, Tensor | Sequence[Any]]
    | tuple[Callable[[Any], Any], Any]
    | RotationalFlow
    | MetricFlow
    | HamiltonianFlow
    | GeodesicFlow
)

_KINDS = (
    "states [t, ...], (times [t], states), (a step function, its start), or a RotationalFlow, "
    "MetricFlow, HamiltonianFlow or GeodesicFlow"
)


class GeometricState(NamedTuple):
    """One time of a flow of metrics.

    Args:
        shape: g_ij [*grid, n, n] of a MetricFlow; (psi [k], length) of a RotationalFlow.
        volume: of the space, [].
        curvature: the largest |K| of a plane, [].
    """

    shape: Tensor | tuple[Tensor, Tensor]
    volume: Tensor
    curvature: Tensor


def recorded(flow: Flow, step_size: float, steps: int) -> Iterator[tuple[float, Any]]:
    """Each time with its state; states of a step function are made one at a time and not kept.

    A state of a RotationalFlow or a MetricFlow is a `GeometricState`, of a HamiltonianFlow (q, p),
    of a GeodesicFlow (x, v).

    Args:
        flow: of a kind above.
        step_size: between states that have no times of their own.
        steps: of a step function.

    Raises:
        ArgumentError: another kind, fewer than two states, times that do not rise.
    """
    if isinstance(flow, Tensor) and flow.dim():
        return _listed([step_size * k for k in range(len(flow))], flow)
    if isinstance(flow, RotationalFlow | MetricFlow):
        if isinstance(flow, MetricFlow):
            shapes = list(flow.metrics)
        else:
            shapes = list(zip(flow.radii, flow.lengths, strict=True))
        parts = zip(shapes, flow.volumes, flow.curvatures, strict=True)
        return _listed(flow.times.tolist(), [GeometricState(*part) for part in parts])
    if isinstance(flow, HamiltonianFlow):
        states = list(zip(flow.positions, flow.momenta, strict=True))
        return _listed(flow.times.tolist(), states)
    if isinstance(flow, GeodesicFlow):
        pairs = list(zip(flow.positions, flow.velocities, strict=True))
        return _listed(flow.times.tolist(), pairs)
    if isinstance(flow, tuple) and len(flow) == 2:
        first, second = flow
        if isinstance(first, Tensor) and first.dim() == 1 and isinstance(second, Tensor | Sequence):
            return _listed(first.tolist(), second)
        if callable(first):
            return _stepped(first, second, step_size, steps)
    raise ArgumentError("flow", type(flow).__name__, _KINDS, "pass one of these")


def _listed(times: list[float], states: Tensor | Sequence[Any]) -> Iterator[tuple[float, Any]]:
    rising = all(before < after for before, after in pairwise(times))
    if len(states) < 2 or len(times) != len(states) or not rising:
        raise ArgumentError(
            "flow", f"{len(states)} states at {len(times)} times", "two or more, at rising times",
            "record the start and what follows",
        )  # fmt: skip
    return zip(times, (s.detach() if isinstance(s, Tensor) else s for s in states), strict=True)


def _stepped(
    step: Callable[[Any], Any], start: Any, step_size: float, steps: int
) -> Iterator[tuple[float, Any]]:
    if isinstance(steps, bool) or steps < 1:
        raise ArgumentError("steps", steps, "an integer >= 1", "pass steps=1000")

    def states() -> Iterator[tuple[float, Any]]:
        # A step may work in place, on what is still the caller's.
        state = start.clone() if isinstance(start, Tensor) else start
        yield 0.0, state
        for number in range(1, steps + 1):
            with torch.no_grad():
                state = step(state)
            yield number * step_size, state

    return states()
