"""Iterated maps on tensors: orbits and escape, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ....errors import ArgumentError

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evolution:
    """An orbit that is held where it left the ball.

    Args:
        states: [steps + 1, *b, n].
        escape: [*b] int64, the first k with |x_k| > radius; -1 where there is none.
    """

    states: Float[Tensor, "steps1 *b n"]
    escape: Int[Tensor, "*b"]


def orbit(system: Map, point: Float[Tensor, "*s"], steps: int) -> Float[Tensor, steps1 * s]:
    """(x, f(x), ..., f^steps(x)) on a new first axis, with gradients through every step.

    Raises:
        ArgumentError: for negative steps, and a map that changes the shape.
    """
    _check_steps(steps)
    states = [point]
    for _ in range(steps):
        states.append(_image(system, states[-1]))
    return torch.stack(states)


def evolve(system: Map, point: Float[Tensor, "*b n"], steps: int, radius: float) -> Evolution:
    """The orbit, stopped for each of the batch where it first has |x_k| > radius.

    What has escaped is held, so that nothing overflows and its gradient is that of the step at
    which it left.
    """
    _check_steps(steps)
    if not radius > 0:
        raise ArgumentError("radius", radius, "a number > 0", "pass the radius of escape")
    escape = torch.full(point.shape[:-1], -1, dtype=torch.int64, device=point.device)
    states, state = [], point
    for step in range(steps + 1):
        if step:
            state = torch.where((escape >= 0)[..., None], state, _image(system, state))
        outside = (state.detach().norm(dim=-1) > radius) & (escape < 0)
        escape = torch.where(outside, step, escape)
        states.append(state)
    return Evolution(torch.stack(states), escape)


def escape_steps(
    system: Map, point: Float[Tensor, "*b n"], steps: int, radius: float
) -> Int[Tensor, "*b"]:
    """The first k with |f^k(x)| > radius, or -1 where no k <= steps has."""
    with torch.no_grad():
        return evolve(system, point, steps, radius).escape


def _image(system: Map, state: Tensor) -> Tensor:
    image = system(state)
    if image.shape != state.shape:
        raise ArgumentError(
            "system", f"shape {list(image.shape)}", f"{list(state.shape)}", "return as many numbers"
        )
    return image


def _check_steps(steps: int) -> None:
    if steps < 0:
        raise ArgumentError("steps", steps, "more steps", "pass steps=100")
