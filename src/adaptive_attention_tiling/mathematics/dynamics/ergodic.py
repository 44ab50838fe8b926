"""Averages along orbits: Lyapunov exponents, Birkhoff sums, the dimension of an attractor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

StateMap = Callable[[Tensor], Tensor]


def lyapunov_exponents(
    step: StateMap, state: Float[Tensor, "*b d"], steps: int, warm_up: int = 100
) -> Float[Tensor, "*b d"]:
    """lim (1/t) ln |singular values of D(f^t)|, largest first, in nats a step, one row an orbit.

        Q_{t+1} R_{t+1} = Df(x_t) Q_t,    lambda_i = (1/t) sum ln R_t,ii

    Df Q comes from forward mode automatic differentiation, Q R from Gram and Schmidt. The sum of
    all is the mean of ln |det Df|; -inf where Df is singular. Differentiable in what f closes over,
    through every step: keep such runs short.

    Args:
        step: f, [*b, d] -> [*b, d] for any batch axes, each state on its own.
        state: where each orbit starts.
        steps: t, counted after `warm_up` steps that turn the frame and reach the attractor.

    Raises:
        ArgumentError: steps < 1, or an orbit that leaves the finite numbers.

    Source: Benettin, Galgani, Giorgilli and Strelcyn (1980); Eckmann and Ruelle, Rev. Mod. Phys.
    57 (1985), section V.
    """
    _check_orbit(state, steps, warm_up)
    width = state.shape[-1]
    eye = torch.eye(width, dtype=state.dtype, device=state.device)
    # Vectors of the frame lie along the first axis.
    frame = eye.view(width, *(1,) * (state.dim() - 1), width).expand(width, *state.shape)
    total = torch.zeros_like(state)
    for number in range(warm_up + steps):
        # Forward mode writes to what it is given: no shared memory.
        found = torch.func.jvp(step, (state.expand_as(frame).contiguous(),), (frame.contiguous(),))
        state = found[0][0]
        frame, lengths = _orthonormal(found[1])
        if number >= warm_up:
            total = total + lengths.log()
    _check_finite(state)
    return (total / steps).sort(-1, descending=True).values


def birkhoff_average(
    step: StateMap,
    observable: Callable[[Tensor], Tensor],
    state: Float[Tensor, "*b d"],
    steps: int,
    warm_up: int = 100,
) -> Tensor:
    """(1/t) sum_{k < t} g(f^k(x)); for almost all x the space average, if f is ergodic.

    Args:
        step: f, [*b, d] -> [*b, d].
        observable: g, of the batch of states.
        state: x; `warm_up` steps go before what is counted.

    Source: Birkhoff (1931).
    """
    _check_orbit(state, steps, warm_up)
    for _ in range(warm_up):
        state = step(state)
    total = observable(state)
    for _ in range(steps - 1):
        state = step(state)
        total = total + observable(state)
    _check_finite(state)
    return total / steps


def kaplan_yorke_dimension(exponents: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
    """k + (lambda_1 + ... + lambda_k) / |lambda_{k+1}|, k the most with a sum >= 0; d if all are.

    Args:
        exponents: largest first.

    Source: Kaplan and Yorke (1979).
    """
    sums = exponents.cumsum(-1)
    whole = (sums >= 0).long().cummin(-1).values.sum(-1)
    padded = torch.cat([torch.zeros_like(sums[..., :1]), sums], -1)
    reached = padded.gather(-1, whole[..., None])[..., 0]
    place = whole.clamp(max=exponents.shape[-1] - 1)[..., None]
    following = exponents.gather(-1, place)[..., 0]
    share = reached / torch.where(following < 0, -following, torch.ones_like(following))
    return whole + torch.where(whole < exponents.shape[-1], share, torch.zeros_like(share))


def _orthonormal(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The frame of vectors [d, *b, d] and the diagonal of R, [*b, d], by Gram and Schmidt."""
    frame: list[Tensor] = []
    lengths = []
    for vector in vectors:
        for unit in frame:
            vector = vector - (unit * vector).sum(-1, keepdim=True) * unit
        length = vector.norm(dim=-1, keepdim=True)
        # What a singular Jacobian has taken away stays 0.
        frame.append(vector / torch.where(length > 0, length, torch.ones_like(length)))
        lengths.append(length)
    return torch.stack(frame), torch.cat(lengths, -1)


def _check_orbit(state: Tensor, steps: int, warm_up: int) -> None:
    if state.dim() < 1 or not state.is_floating_point():
        raise ArgumentError(
            "state", f"{state.dtype} {list(state.shape)}", "floating [..., d]", "pass start states"
        )
    for name, number, least in (("steps", steps, 1), ("warm_up", warm_up, 0)):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ArgumentError(name, number, f"an integer >= {least}", f"pass {name}={100}")


def _check_finite(state: Tensor) -> None:
    if not bool(state.isfinite().all()):
        raise ArgumentError(
            "state", "an orbit that leaves the finite numbers", "bounded orbits",
            "start inside the basin of the attractor",
        )  # fmt: skip
