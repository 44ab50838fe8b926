"""Explicit Runge-Kutta integration of ordinary differential equations, with gradients.

Source: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I (1993): tables II.1.1
and II.1.2 (fixed steps), table II.5.2 (Dormand and Prince), section II.4 (step size control).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError

State = TypeVar("State", Tensor, tuple[Tensor, ...])
_Tensors = tuple[Tensor, ...]
_Slope = Callable[[Tensor, _Tensors], _Tensors]

_SAFETY, _LEAST_FACTOR, _LARGEST_FACTOR = 0.9, 0.2, 5.0
_LEAST_SHARE = 1e-14  # of an interval: smaller steps are lost in the rounding of times


@dataclass(frozen=True)
class Tableau:
    """A method: stages k_i = f(t + c_i h, y + h sum_j a_ij k_j), result y + h sum_i b_i k_i.

    Args:
        order: p, of an error h^(p + 1) a step.
        nodes: the c_i.
        coefficients: the rows a_i, row i with i entries.
        weights: the b_i.
        error_weights: what estimates a step's error as h sum_i e_i k_i; empty if nothing does. Then
            the last stage is the slope at the result, which serves as the next step's first.
    """

    order: int
    nodes: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    error_weights: tuple[float, ...] = ()


_PRINCE_WEIGHTS = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)

METHODS = {
    "euler": Tableau(1, (0.0,), ((),), (1.0,)),
    "midpoint": Tableau(2, (0.0, 0.5), ((), (0.5,)), (0.0, 1.0)),
    "rk4": Tableau(
        4,
        (0.0, 0.5, 0.5, 1.0),
        ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ),
    "dormand_prince": Tableau(
        5,
        (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
        (
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            _PRINCE_WEIGHTS,
        ),
        (*_PRINCE_WEIGHTS, 0.0),
        (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
    ),
}


def integrate(
    field: Callable[[Tensor, State], State],
    state: State,
    times: Float[Tensor, " t"],
    *,
    method: str = "dormand_prince",
    steps: int | None = None,
    relative_tolerance: float = 1e-8,
    absolute_tolerance: float = 1e-10,
    max_steps: int = 10_000,
) -> State:
    """The solution of dy/dt = field(t, y), y(times[0]) = state, at each of the times.

    Gradients go through the steps, to the state, to whatever the field depends on and to the times;
    sizes of steps chosen by the error estimate count as constants. One size serves a whole batch:
    it is so small that no entry's estimate exceeds

        absolute_tolerance + relative_tolerance |y|.

    Args:
        field: of a time (a tensor without axes) and a state; gives the shapes of the state.
        state: a tensor, or a tuple of tensors, of any shapes.
        times: rising or falling, [t].
        method: "euler", "midpoint", "rk4" or "dormand_prince", of order 1, 2, 4 and 5.
        steps: of equal size between neighbouring times; None chooses sizes by the error estimate,
            which "dormand_prince" has.
        relative_tolerance: > 0.
        absolute_tolerance: >= 0; 0 where no entry of the state is ever near 0.
        max_steps: most of these between neighbouring times, refused ones among them.

    Returns:
        [t, *s] for a state [*s], or a tuple of these; the first entry is the state itself.

    Raises:
        ArgumentError: also where max_steps do not suffice, as before a singularity.
    """
    tableau = _checked(times, method, steps, max_steps)
    single, current = not isinstance(state, tuple), _parts(state)
    _check_numbers(current, relative_tolerance, absolute_tolerance)

    def slope(t: Tensor, y: _Tensors) -> _Tensors:
        return _parts(field(t, y[0] if single else y))  # type: ignore[arg-type]

    found = [current]
    for start, end in pairwise(times):
        if steps is not None:
            for size, at in _equal_steps(start, end, steps):
                current = _step(tableau, slope, at, size, current, slope(at, current))[0]
        else:
            tolerances = relative_tolerance, absolute_tolerance
            current = _controlled(tableau, slope, start, end, current, tolerances, max_steps)
        found.append(current)
    stacked = tuple(torch.stack(parts) for parts in zip(*found, strict=True))
    return stacked[0] if single else stacked  # type: ignore[return-value]


def _parts(state: Tensor | _Tensors) -> _Tensors:
    return (state,) if isinstance(state, Tensor) else state


def _equal_steps(start: Tensor, end: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    size = (end - start) / steps
    for number in range(steps):
        yield size, start + number * size


def _step(
    tableau: Tableau, slope: _Slope, at: Tensor, size: Tensor, state: _Tensors, first: _Tensors
) -> tuple[_Tensors, list[_Tensors]]:
    """The state after one step, and the slopes of its stages."""
    slopes = [first]
    rows = zip(tableau.nodes[1:], tableau.coefficients[1:], strict=True)
    for node, row in rows:
        slopes.append(slope(at + node * size, _moved(state, size, row, slopes)))
    return _moved(state, size, tableau.weights, slopes), slopes


def _moved(
    state: _Tensors, size: Tensor, weights: tuple[float, ...], slopes: list[_Tensors]
) -> _Tensors:
    """y + h sum_i w_i k_i, in the dtype of y."""
    return tuple(
        y + size.to(y) * total for y, total in zip(state, _combined(weights, slopes), strict=True)
    )


def _combined(weights: tuple[float, ...], slopes: list[_Tensors]) -> _Tensors:
    """sum_i w_i k_i."""
    scaled = [
        tuple(weight * part for part in slope)
        for weight, slope in zip(weights, slopes, strict=False)
        if weight
    ]
    return tuple(sum(parts[1:], start=parts[0]) for parts in zip(*scaled, strict=True))


def _controlled(
    tableau: Tableau,
    slope: _Slope,
    start: Tensor,
    end: Tensor,
    state: _Tensors,
    tolerances: tuple[float, float],
    max_steps: int,
) -> _Tensors:
    """The state at `end`, by steps as large as the tolerances allow.

    Steps are counted in shares of the interval, as numbers, so that times keep their gradients.
    """
    done, first = 0.0, slope(start, state)
    share = _first_share(state, first, end - start, tolerances)
    taken = 0
    while taken < max_steps and share > _LEAST_SHARE:
        taken, share = taken + 1, min(share, 1.0 - done)
        size = (end - start) * share
        after, slopes = _step(tableau, slope, start + (end - start) * done, size, state, first)
        error = _error(tableau, size, slopes, state, after, tolerances)
        factor = _LARGEST_FACTOR if error == 0 else _SAFETY * error ** (-1 / tableau.order)
        if error <= 1:
            state, first = after, slopes[-1]
            if share == 1.0 - done:
                return state
            done += share
        share *= min(_LARGEST_FACTOR, max(_LEAST_FACTOR, factor))
    reached = float((start + (end - start) * done).detach())
    raise ArgumentError(
        "max_steps",
        f"{taken} steps that end at time {reached:.6g}",
        f"enough of them to reach {float(end.detach()):.6g}",
        "stop before a singularity, loosen the tolerances or allow more steps",
    )


def _error(
    tableau: Tableau,
    size: Tensor,
    slopes: list[_Tensors],
    before: _Tensors,
    after: _Tensors,
    tolerances: tuple[float, float],
) -> float:
    """The largest estimate over what is tolerated; infinite where something is not finite."""
    relative, absolute = tolerances
    largest = 0.0
    for part, old, new in zip(_combined(tableau.error_weights, slopes), before, after, strict=True):
        if part.numel() == 0:
            continue
        tolerated = absolute + relative * torch.maximum(old.detach().abs(), new.detach().abs())
        over = float(((size.detach().to(part) * part.detach()).abs() / tolerated).max())
        largest = max(largest, over) if math.isfinite(over) else math.inf
    return largest


def _first_share(
    state: _Tensors, slope: _Tensors, interval: Tensor, tolerances: tuple[float, float]
) -> float:
    """A first step that moves the state by about a hundredth of itself."""
    relative, absolute = tolerances
    shares = [1.0]
    for y, k in zip(state, slope, strict=True):
        if y.numel() == 0:
            continue
        moved = float((interval.detach().to(k) * k.detach()).abs().max())
        extent = max(float(y.detach().abs().max()), absolute / relative)
        if moved > 0:
            shares.append(0.01 * extent / moved)
    return min(shares)


def _checked(times: Tensor, method: str, steps: int | None, max_steps: int) -> Tableau:
    if method not in METHODS:
        raise ArgumentError("method", method, f"one of {', '.join(METHODS)}", "choose one of these")
    if times.dim() != 1 or len(times) == 0 or not times.is_floating_point():
        raise ArgumentError(
            "times", f"{times.dtype} {list(times.shape)}", "floating [t], t >= 1", "pass the times"
        )
    gaps = times.detach().diff()
    if not (bool((gaps > 0).all()) or bool((gaps < 0).all())):
        raise ArgumentError("times", times.tolist(), "rising or falling", "sort the times")
    tableau = METHODS[method]
    if steps is None and not tableau.error_weights:
        raise ArgumentError("steps", None, "an integer >= 1", f"{method} estimates no error")
    if steps is not None and steps < 1:
        raise ArgumentError("steps", steps, "an integer >= 1", "pass steps=100")
    if max_steps < 1:
        raise ArgumentError("max_steps", max_steps, "an integer >= 1", "pass max_steps=10_000")
    return tableau


def _check_numbers(state: _Tensors, relative: float, absolute: float) -> None:
    for part in state:
        if not (part.is_floating_point() or part.is_complex()):
            raise ArgumentError("state", part.dtype, "floating or complex", "pass state.double()")
    if not relative > 0:
        raise ArgumentError("relative_tolerance", relative, "a number > 0", "pass 1e-8")
    if not absolute >= 0:
        raise ArgumentError("absolute_tolerance", absolute, "a number >= 0", "pass 1e-10")
