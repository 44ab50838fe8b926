"""Laws of flows: energy that never rises, a maximum principle, existence to a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.dynamics import MetricFlow, RotationalFlow, flow_singularities
from .blow_up import blow_up_time
from .maximum_principle import Operator, nested_ranges, operator_signs
from .recording import Flow, GeometricState, recorded
from .report import LawReport, at_place, judged, summarised

_ENERGY = "energy never rises: E(t + dt) <= E(t)"


@dataclass(frozen=True, kw_only=True)
class FlowValidation:
    """Laws of a flow, at the states where it is looked at.

    A flow is states [t, ...]; (times [t], states), with states in a tensor or a list; (step,
    start), a function from one state to the next with where it begins; or a RotationalFlow,
    MetricFlow, HamiltonianFlow or GeodesicFlow, whose states have a name for each part (volume and
    curvature of a metric) or are pairs. Only a tensor can be asked for a maximum.

    Args:
        steps: of a step function.
        step_size: of time between states that have no times.
        rise: of energy that is allowed in a step, as a share of |E|; 32 roundings at least.
        absolute_rise: more of it, in a step, for energies whose terms cancel.
        batched: call the energy once, with all states [t, ...], for [t] or [t, *b].
        overshoot: of a maximum that is allowed, as a share of the spread of start and source.
        source: what a field relaxes to, as E of u' = A u + c (E - u), of its shape or one for all
            of a batch; None is 0 where the rows of the operator have negative sums, and nothing
            otherwise.
        space_axes: of a state, over which its maximum is taken; None takes all. A batch that is
            taken for space hides a member that leaves its own range for another's.
        size: of a state, what must stay bounded to exist: curvature, of a geometric flow. None
            takes the largest |entry|, and the curvature of a recorded flow of metrics.
        largest_size: beyond which a state counts as gone, in units of max(1, that of the start).
    """

    steps: int = 1000
    step_size: float = 1.0
    rise: float = 1e-14
    absolute_rise: float = 0.0
    batched: bool = False
    overshoot: float = 1e-12
    source: Tensor | None = None
    space_axes: tuple[int, ...] | None = None
    size: Callable[[Any], Tensor | float] | None = None
    largest_size: float = 1e12

    def __post_init__(self) -> None:
        if not 0 < self.step_size < math.inf:
            raise ArgumentError("step_size", self.step_size, "a number > 0", "pass step_size=0.1")
        for name in ("rise", "absolute_rise", "overshoot"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ArgumentError(name, getattr(self, name), "a number >= 0", f"pass {name}=0")
        if not self.largest_size > 1:
            raise ArgumentError("largest_size", self.largest_size, "a number > 1", "pass 1e12")

    def check_energy_monotonicity(
        self, flow: Flow, energy_functional: Callable[[Any], Tensor | float]
    ) -> LawReport:
        """No step raises the energy by more than a share of it, nor any member of a batch.

        Nor do many steps: above the lowest energy so far, n steps later, it may lie by sqrt(n) as
        much, as rounding does that knows no direction.

        Args:
            flow: of a kind above, with two states or more.
            energy_functional: E of a state, a number or [*b].
        """
        states = (state for _, state in recorded(flow, self.step_size, self.steps))
        if not callable(energy_functional):
            raise ArgumentError(
                "energy_functional", type(energy_functional).__name__, "a function of a state",
                "pass E(u)",
            )  # fmt: skip
        with torch.no_grad():
            if self.batched:
                found = list(_number(energy_functional(_stacked(states))))
            else:
                found = [_number(energy_functional(state)) for state in states]
        if not all(energy.is_floating_point() for energy in found):
            raise ArgumentError(
                "energy_functional", found[0].dtype, "real numbers", "return a float or a tensor"
            )
        energies = torch.stack(found)
        share = max(self.rise, 32 * torch.finfo(energies.dtype).eps)
        energies = energies.double()
        size = torch.maximum(energies[1:].abs(), energies[:-1].abs())
        allowed = share * size + self.absolute_rise
        lowest, place = energies.cummin(0)
        since = torch.arange(1, len(energies)).to(place).reshape(-1, *(1,) * (place.dim() - 1))
        since = since - place[:-1]
        where = at_place("step", energies[1:].shape)
        told = "what happens between states, and from other starts"
        return summarised(
            judged(
                energies.diff(dim=0), law=_ENERGY, quantity="rise of energy in a step",
                upper=allowed, where=where, not_shown=told,
            ),
            judged(
                energies[1:] - lowest[:-1], law=_ENERGY, quantity="energy above its lowest so far",
                upper=allowed * since.sqrt(), where=where, not_shown=told,
            ),
        )  # fmt: skip

    def verify_maximum_principle(self, flow: Flow, operator: Operator | None = None) -> LawReport:
        """Every state lies within the range of the one before it, joined with the source's.

        Args:
            flow: whose states are tensors, [*b, *space].
            operator: A of u' = A u + ..., whose signs are looked at first: the matrix [n, n] of the
                flattened state, or a function of a state whose Jacobian at the start it is, of at
                most 2048 unknowns. None looks at states only.

        Source: Protter and Weinberger, Maximum Principles in Differential Equations (1984), section
        3.1; Varga, Matrix Iterative Analysis (1962), section 8.2, for the signs.
        """
        states = recorded(flow, self.step_size, self.steps)
        _, start = next(states)
        if not isinstance(start, Tensor) or not start.is_floating_point() or not start.numel():
            raise ArgumentError(
                "flow", f"states of type {type(start).__name__}", "real tensors, not empty",
                "record the field itself",
            )  # fmt: skip
        source, parts = self.source, []
        if operator is not None:
            signs, leaks = operator_signs(operator, start)
            parts.append(signs)
            if leaks and source is None:
                source = torch.zeros(())
        return summarised(
            nested_ranges(
                start, (state for _, state in states), source, self.space_axes, self.overshoot
            ),
            *parts,
        )

    def check_long_time_existence(self, flow: Flow, time_horizon: float) -> LawReport:
        """The state stays finite and bounded to the horizon, and the recording goes as far.

        A flow is over at the first state that is not finite or larger than `largest_size`; at the
        zero of a line through the last eight 1 / size, if that comes before the next state; or
        where its steps raise an ArgumentError. A recording that ends too early does not pass, and
        is told together with that zero.

        Args:
            flow: of a kind above; a step function takes as many steps as the horizon asks for.
            time_horizon: > 0 and after the start, in the flow's times.
        """
        if not 0 < time_horizon < math.inf:
            raise ArgumentError("time_horizon", time_horizon, "a number > 0", "pass 1.0")
        steps = math.ceil(time_horizon / self.step_size * (1 - 1e-12))
        end, cases, why = self._end(flow, steps, time_horizon)
        return LawReport(
            law=f"the flow exists to time {time_horizon:g}", quantity="time when it ends or was "
            "last seen", measured=end, lower=time_horizon * (1 - 1e-12), where=why, cases=cases,
            not_shown="later times, other starts, and what grows between two states",
        )  # fmt: skip

    def all(
        self,
        flow: Flow,
        energy_functional: Callable[[Any], Tensor | float] | None = None,
        operator: Operator | None = None,
        time_horizon: float | None = None,
    ) -> list[LawReport]:
        """Each law of the class for which there is something to judge."""
        found = []
        if energy_functional is not None:
            found.append(self.check_energy_monotonicity(flow, energy_functional))
        if operator is not None or self.source is not None:
            found.append(self.verify_maximum_principle(flow, operator))
        if time_horizon is not None:
            found.append(self.check_long_time_existence(flow, time_horizon))
        if not found:
            raise ArgumentError(
                "energy_functional", None, "one of energy_functional, operator, time_horizon",
                "name a law to judge by",
            )  # fmt: skip
        return found

    def _end(self, flow: Flow, steps: int, horizon: float) -> tuple[float, int, str]:
        """When the flow is over or the recording ends, states seen, and why."""
        times: list[float] = []
        sizes: list[float] = []
        for time, state in _until_refused(recorded(flow, self.step_size, steps)):
            size, number = math.nan if state is None else self._size_of(state), len(times)
            most = self.largest_size * max(1.0, sizes[0]) if sizes else math.inf
            zero = blow_up_time(times, sizes)
            if zero is not None and times[-1] < zero <= min(time, horizon):
                return zero, number, f"where 1 / size comes to 0, after step {number - 1}"
            if not (math.isfinite(size) and size <= most):
                why = "refused" if state is None else f"of size {size:.3g}"
                return times[-1] if times else 0.0, number + 1, f"before step {number}, {why}"
            times.append(time)
            sizes.append(size)
            if len(times) == 1 and time >= horizon:
                raise ArgumentError(
                    "time_horizon", horizon, f"a time after the start at {time:g}", "look later"
                )
            if time >= horizon * (1 - 1e-12):
                return time, len(times), f"at step {number}, of size {size:.3g}"
        zero = _foretold(flow, times, sizes)
        if zero is not None and times[-1] < zero < horizon:
            return zero, len(times), f"where 1 / size comes to 0, last seen at {times[-1]:g}"
        return times[-1], len(times), "at the last state of the recording"

    def _size_of(self, state: Any) -> float:
        if self.size is not None:
            size = _number(self.size(state)).double().abs()
        else:
            parts = state.curvature if isinstance(state, GeometricState) else state
            tensors = parts if isinstance(parts, tuple | list) else [parts]
            if not all(isinstance(part, Tensor) and part.numel() for part in tensors):
                raise ArgumentError(
                    "size", None, "a function of states that are not tensors", "pass size=..."
                )
            size = torch.stack([part.detach().abs().double().max() for part in tensors])
        return float(size.max())


def _until_refused(
    states: Iterator[tuple[float, Any]],
) -> Iterator[tuple[float, Any]]:
    """States, and None in the place of one that its step refuses to make."""
    before, last, seen = 0.0, 0.0, 0
    while True:
        try:
            entry = next(states, None)
        except ArgumentError:
            # The first step says whether the function takes such states at all.
            if seen < 2:
                raise
            yield 2 * last - before, None
            return
        if entry is None:
            return
        before, last, seen = last, entry[0], seen + 1
        yield entry


def _foretold(flow: Flow, times: list[float], sizes: list[float]) -> float | None:
    """The singular time that a recording runs into."""
    if isinstance(flow, RotationalFlow | MetricFlow):
        found = flow_singularities(flow, max(4 * sizes[0], 1e-300))
        return found[0].time if found else None
    return blow_up_time(times, sizes)


def _stacked(states: Iterator[Any]) -> Tensor:
    # Steps may work in place and return one tensor again and again.
    found = [state.clone() if isinstance(state, Tensor) else state for state in states]
    if not all(isinstance(state, Tensor) for state in found):
        raise ArgumentError(
            "batched", True, "states that are tensors", "pass FlowValidation(batched=False)"
        )
    return torch.stack(found)


def _number(value: Tensor | float) -> Tensor:
    """A tensor as it is; a number in double precision, which it has."""
    if isinstance(value, Tensor):
        return value.detach()
    return torch.tensor(value, dtype=torch.float64)
