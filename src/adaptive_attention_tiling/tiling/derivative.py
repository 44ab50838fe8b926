"""How fast states move with their own positions, where both are continuous."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError

StatesOf = Callable[[Tensor], Tensor]
"""A differentiable function from positions [*b, T] to states [*b, T, C]."""

_SIGN_SEED = 0


class Motion(NamedTuple):
    """States [*b, T, C] and their derivatives by position [*b, T, C]."""

    states: Tensor
    rates: Tensor


def diagonal_derivative(
    states: StatesOf | Float[Tensor, "*b T C"],
    positions: Float[Tensor, "*b T"],
    *,
    pointwise: bool = True,
) -> Motion:
    """d s_t / d p_t of every token, by automatic differentiation.

    Only the diagonal of the Jacobian is meant: how s_t moves with p_t while all other positions
    stay. Differentiable again, in positions and in whatever else the states depend on.

    Args:
        states: a function of positions, or its result, which must still carry the graph to
            `positions`. Either way a direction costs two reverse passes, whatever C.
        pointwise: s_t depends on p_t alone. Then one direction gives the whole diagonal, and a
            second one, of random signs, checks the promise. False takes T directions, one a token.

    Raises:
        ArgumentError: where `pointwise` is promised and another position moves a state.
    """
    if isinstance(states, Tensor):
        return Motion(states, _rates(states, positions, pointwise))
    values = states(positions)
    with torch.enable_grad():
        leaf = positions if positions.requires_grad else positions.detach().requires_grad_()
        rates = _rates(states(leaf), leaf, pointwise)
    # Without this, the graph to the leaf made here would come along.
    return Motion(values, rates if values.requires_grad else rates.detach())


def _rates(states: Tensor, positions: Tensor, pointwise: bool) -> Tensor:
    push = _pushing(states, positions)
    if not pointwise:
        rows = [push(unit)[..., t, :] for t, unit in enumerate(_units(positions))]
        return torch.stack(rows, -2)
    rates = push(torch.ones_like(positions))
    _check_pointwise(push, positions, rates)
    return rates


def _pushing(states: Tensor, positions: Tensor) -> StatesOf:
    """What multiplies a direction u [*b, T] by the Jacobian J.

    J^T v is linear in v, so that its derivative by v along u is J u.
    """
    _check_shape(states, positions)
    pulled = None
    if states.requires_grad and positions.requires_grad:
        cotangent = torch.zeros_like(states, requires_grad=True)
        (pulled,) = torch.autograd.grad(
            states, positions, cotangent, create_graph=True, allow_unused=True
        )
    if pulled is None:
        raise ArgumentError(
            "states",
            "no graph to positions",
            "states computed from positions that require a gradient",
            "call positions.requires_grad_() first, or pass the function",
        )

    def push(direction: Tensor) -> Tensor:
        (pushed,) = torch.autograd.grad(pulled, cotangent, direction, create_graph=True)
        return pushed

    return push


def _units(positions: Tensor) -> Tensor:
    """One direction a token: [T, *b, T], moving that token's position in every row."""
    length = positions.shape[-1]
    eye = torch.eye(length, dtype=positions.dtype, device=positions.device)
    return eye.view(length, *(1,) * (positions.dim() - 1), length).expand(-1, *positions.shape)


@torch.no_grad()
def _check_pointwise(push: StatesOf, positions: Tensor, rates: Tensor) -> None:
    generator = torch.Generator().manual_seed(_SIGN_SEED)
    signs = 2 * torch.randint(0, 2, positions.shape, generator=generator) - 1
    signs = signs.to(positions)
    probed = push(signs)
    gap = (probed * signs[..., None] - rates).abs().max()
    if bool(gap > 1e-4 * rates.abs().max()):
        raise ArgumentError(
            "states",
            f"derivatives that change by {gap.item():.2g} when other positions move",
            "each state to depend on its own position alone",
            "pass pointwise=False, which takes one pass a token",
        )


def _check_shape(states: Tensor, positions: Tensor) -> None:
    if states.dim() != positions.dim() + 1 or states.shape[:-1] != positions.shape:
        raise ArgumentError(
            "states",
            f"shape {list(states.shape)}",
            f"{[*positions.shape, 'C']} for positions {list(positions.shape)}",
            "give every position one state",
        )
