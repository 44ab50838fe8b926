"""Steps that keep the symplectic form: energy errors of Hamilton's equations that do not grow.

For H = T(p) + V(q) with velocity T'(p) and force -V'(q), a step is a chain

    p += h a_0 force(q);  q += h b_1 velocity(p);  p += h a_1 force(q);  ...

Source: Hairer, Lubich and Wanner, Geometric Numerical Integration (2006), sections I.3.1, II.4 and
VI.4; Yoshida, Construction of higher order symplectic integrators (1990).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

Map = Callable[[Tensor], Tensor]

_ITERATIONS = 100


@dataclass(frozen=True)
class Splitting:
    """A chain of kicks of the momentum and drifts of the position.

    Args:
        order: p, of an error h^(p + 1) a step.
        kicks: the a_i, one more than drifts; `drifts`: the b_i. Both add up to 1.
    """

    order: int
    kicks: tuple[float, ...]
    drifts: tuple[float, ...]


_OUTER = 1 / (2 - 2 ** (1 / 3))
_INNER = 1 - 2 * _OUTER
_BETWEEN = (_OUTER + _INNER) / 2

SPLITTINGS = {
    "symplectic_euler": Splitting(1, (1.0, 0.0), (1.0,)),
    "leapfrog": Splitting(2, (0.5, 0.5), (1.0,)),
    "yoshida4": Splitting(
        4, (_OUTER / 2, _BETWEEN, _BETWEEN, _OUTER / 2), (_OUTER, _INNER, _OUTER)
    ),
}


@cache
def stability_reach(method: str) -> float:
    """The least h omega at which steps of a harmonic oscillator grow: |tr M(h omega)| = 2.

    2 for leapfrog and symplectic Euler, 1.5734 for Yoshida's fourth order.
    """
    splitting = SPLITTINGS[method]

    def is_bounded(h: float) -> bool:
        # M on (q, p), a kick p -= h a q and a drift q += h b p at a time.
        rows = [[1.0, 0.0], [0.0, 1.0]]
        for kick, drift in zip(splitting.kicks, (*splitting.drifts, 0.0), strict=True):
            rows[1] = [y - h * kick * x for x, y in zip(*rows, strict=True)]
            rows[0] = [x + h * drift * y for x, y in zip(*rows, strict=True)]
        return abs(rows[0][0] + rows[1][1]) <= 2 + 1e-12

    low = 0.0
    while is_bounded(low + 0.01):
        low += 0.01
    high = low + 0.01
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if is_bounded(middle) else (low, middle)
    return low


class Orbit(NamedTuple):
    """positions and momenta [t, *b, n], of the start and after each step."""

    positions: Tensor
    momenta: Tensor


def split_orbit(
    velocity: Map,
    force: Map,
    position: Float[Tensor, "*b n"],
    momentum: Float[Tensor, "*b n"],
    *,
    step: float,
    steps: int,
    method: str = "leapfrog",
) -> Orbit:
    """`steps` equal steps of a splitting, with gradients.

    One force a drift: the last kick of a step and the first one of the next share theirs.

    Args:
        velocity: T'(p), [*b, n] to [*b, n]. `force`: -V'(q).
        method: "symplectic_euler" (momentum first), "leapfrog" or "yoshida4", of order 1, 2, 4.
    """
    if method not in SPLITTINGS:
        raise ArgumentError("method", repr(method), f"one of {sorted(SPLITTINGS)}", "use leapfrog")
    check_steps(step, steps)
    splitting = SPLITTINGS[method]
    positions, momenta = [position], [momentum]
    push = force(position)
    for _ in range(steps):
        momentum = momentum + step * splitting.kicks[0] * push
        for drift, kick in zip(splitting.drifts, splitting.kicks[1:], strict=True):
            position = position + step * drift * velocity(momentum)
            push = force(position)
            if kick:
                momentum = momentum + step * kick * push
        positions.append(position)
        momenta.append(momentum)
    return Orbit(torch.stack(positions), torch.stack(momenta))


def implicit_midpoint_orbit(
    field: Map, state: Float[Tensor, "*b n"], *, step: float, steps: int, tolerance: float = 1e-14
) -> Float[Tensor, "t *b n"]:
    """z' = z + h f((z + z') / 2), of order 2, for any field; keeps quadratic invariants exactly.

    Each step is solved by iteration, with gradients through it.

    Args:
        field: f, [*b, n] to [*b, n]; J grad H for Hamilton's equations.
        tolerance: of the last iteration's change, in units of max(1, |z|); float32 needs 1e-6.

    Raises:
        ArgumentError: the iteration does not settle, as for steps h |f'| >= 2.
    """
    check_steps(step, steps)
    found = [state]
    for _ in range(steps):
        state = _midpoint_step(field, state, step, tolerance)
        found.append(state)
    return torch.stack(found)


def _midpoint_step(field: Map, state: Tensor, step: float, tolerance: float) -> Tensor:
    following = state + step * field(state)
    for _ in range(_ITERATIONS):
        before = following
        following = state + step * field((state + before) / 2)
        change = (following - before).detach().abs().max()
        if not bool(change > tolerance * following.detach().abs().max().clamp_min(1)):
            break
    if not bool(change <= tolerance * following.detach().abs().max().clamp_min(1)):
        raise ArgumentError(
            "step", step, "one whose implicit equation can be iterated", "take a smaller step"
        )
    return following


def check_steps(step: float, steps: int) -> None:
    """Raise an ArgumentError unless a step is finite and not 0 and their number is >= 0."""
    if not (step == step and abs(step) < float("inf")) or step == 0:
        raise ArgumentError("step", step, "a finite number other than 0", "pass step=0.01")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ArgumentError("steps", steps, "an integer >= 0", "pass steps=100")
