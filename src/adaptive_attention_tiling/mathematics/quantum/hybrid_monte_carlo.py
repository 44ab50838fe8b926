"""Draws with weight e^(-S) of a differentiable action, by Hamilton's equations of S + p^2 / 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

Action = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class SampledChains:
    """What independent chains went through.

    Args:
        states: [chains, draws, *s].
        acceptance: the fraction of moves that were taken.
        energy_change: dH of every move, taken or not, [chains, draws]. <e^(-dH)> = 1 in a chain
            that has reached its distribution.
    """

    states: Float[Tensor, "chains n *s"]
    acceptance: float
    energy_change: Float[Tensor, "chains n"]


def hybrid_monte_carlo(
    action: Action,
    start: Float[Tensor, "*c"],
    step: float | Float[Tensor, "*s"],
    *,
    draws: int = 200,
    burn_in: int = 50,
    leapfrog_steps: int = 10,
    generator: torch.Generator | None = None,
) -> SampledChains:
    """Chains whose states come with density e^(-S).

    A move draws momenta, follows dx/dt = p, dp/dt = -dS/dx by leapfrog steps, which keep volume and
    can be turned around, and is taken with probability min(1, e^(-dH)), H = S + p^2 / 2. Steps of
    any length give the right distribution; long ones are refused often.

    Args:
        action: S of states [chains, *s], gives [chains].
        start: one state for each chain, [chains, *s].
        step: of a leapfrog step, give or take a fifth; below 2 over the root of S's largest second
            derivative. A tensor has one for each direction.
        draws: moves kept of each chain.
        burn_in: moves left out before.
        leapfrog_steps: of one move.
        generator: of random numbers.

    Duane, Kennedy, Pendleton and Roweth, Hybrid Monte Carlo (1987); Neal, MCMC using Hamiltonian
    dynamics (2011), section 3.
    """
    for name, value in {"draws": draws, "leapfrog_steps": leapfrog_steps}.items():
        if value < 1:
            raise ArgumentError(name, value, "at least 1", f"pass {name}=16")
    length = torch.as_tensor(step)
    if burn_in < 0 or not bool(((length > 0) & length.isfinite()).all()):
        raise ArgumentError("step", f"{step} after {burn_in}", "step > 0, burn_in >= 0", "pass 0.1")
    if not start.numel() or start.dim() < 1 or not start.is_floating_point():
        raise ArgumentError(
            "start", f"{start.dtype} {list(start.shape)}", "floating [chains, ...]", "one a chain"
        )
    with torch.no_grad():
        first = action(start)
    if first.shape != start.shape[:1] or not bool(first.isfinite().all()):
        raise ArgumentError(
            "action", f"{list(first.shape)}, or not finite", "one number a chain", "start elsewhere"
        )
    state, kept, changes = start.detach(), [], []
    accepted, wide = 0.0, (slice(None),) + (None,) * (start.dim() - 1)
    for move in range(burn_in + draws):
        momentum = torch.randn(state.shape, dtype=state.dtype, generator=generator)
        jitter = float(torch.rand((), generator=generator)) * 0.4 + 0.8
        proposal, change = _move(action, state, momentum, step * jitter, leapfrog_steps)
        chance = torch.rand(len(state), dtype=state.dtype, generator=generator)
        taken = chance < torch.exp(-change)
        state = torch.where(taken[wide], proposal, state)
        if move >= burn_in:
            kept.append(state)
            changes.append(change)
            accepted += float(taken.to(state.dtype).mean()) / draws
    return SampledChains(torch.stack(kept, 1), accepted, torch.stack(changes, 1))


def _move(
    action: Action, state: Tensor, momentum: Tensor, step: float | Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The state after some leapfrog steps, and by how much H has grown."""
    energy, force = _force(action, state)
    before = energy + _kinetic(momentum)
    momentum = momentum + step / 2 * force
    for k in range(count):
        state = state + step * momentum
        energy, force = _force(action, state)
        momentum = momentum + (step if k < count - 1 else step / 2) * force
    return state, energy + _kinetic(momentum) - before


def _kinetic(momentum: Tensor) -> Tensor:
    return momentum.square().reshape(len(momentum), -1).sum(-1) / 2


def _force(action: Action, state: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        moving = state.detach().requires_grad_()
        energy = action(moving)
        (slope,) = torch.autograd.grad(energy.sum(), moving)
    return energy.detach(), -slope
