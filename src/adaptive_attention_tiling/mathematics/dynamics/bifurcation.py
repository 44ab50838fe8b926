"""Branches of solutions of F(u, lambda) = 0 and the folds on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError, CorrectnessError

Residual = Callable[[Tensor, Tensor], Tensor]

_NEWTON_STEPS = 20
_LEAST_STEP = 1e-10


@dataclass(frozen=True)
class Branch:
    """Points along a curve of solutions.

    Args:
        states: u, [k, n].
        parameters: lambda, [k].
        tangents: (du, dlambda) of unit length, [k, n + 1], in the direction of travel.
    """

    states: Float[Tensor, "k n"]
    parameters: Float[Tensor, " k"]
    tangents: Float[Tensor, "k m"]

    def folds(self) -> list[int]:
        """The k between which and k + 1 lambda turns back."""
        along = self.tangents[:, -1]
        return (along[:-1] * along[1:] < 0).nonzero()[:, 0].tolist()


@dataclass(frozen=True)
class Fold:
    """A point where lambda turns back: F = 0, F_u v = 0, |v| = 1.

    Args:
        state: u, [n].
        parameter: lambda, [].
        null_vector: v, [n].
        residual: the largest entry of the three equations that is left.
    """

    state: Float[Tensor, " n"]
    parameter: Float[Tensor, ""]
    null_vector: Float[Tensor, " n"]
    residual: float


def continued(
    residual: Residual,
    state: Float[Tensor, " n"],
    parameter: float,
    *,
    step: float,
    steps: int,
    direction: int = 1,
    tolerance: float = 1e-10,
) -> Branch:
    """Pseudo-arclength continuation of F(u, lambda) = 0 from a guess at one point.

    With unit tangent (du, dl) at (u0, l0), each point solves

        F(u, l) = 0,    du . (u - u0) + dl (l - l0) = step,

    by Newton's method with Jacobians from autograd; a step that fails is halved. The length is
    Euclid's in (u, lambda): scale u by 1/sqrt(n) where it samples a function.

    Args:
        residual: F, ([n], []) -> [n].
        state, parameter: a guess; lambda is kept while u is corrected.
        step: the length of a step.
        steps: how many.
        direction: 1 starts towards larger lambda, -1 towards smaller.
        tolerance: of the largest entry of F.

    Raises:
        ArgumentError: no solution near the guess; a step, count or direction that makes no sense.
        CorrectnessError: steps shrink below 1e-10 without a solution.

    Source: Keller (1977); Allgower and Georg, Numerical Continuation Methods (1990), chapter 2.
    """
    if step <= 0 or steps < 1 or direction not in (1, -1):
        raise ArgumentError(
            "step", (step, steps, direction), "step > 0, steps >= 1, direction 1 or -1",
            "pass step=0.1, steps=50, direction=1",
        )  # fmt: skip
    level = torch.zeros(len(state) + 1, dtype=state.dtype, device=state.device)
    level[-1] = 1
    start = torch.cat([state, state.new_tensor([parameter])])
    point = _corrected(residual, start, level, float(start[-1].detach()), tolerance)
    if point is None:
        raise ArgumentError(
            "state", "a guess from which Newton's method fails", "a state near a solution",
            "start nearer, or at another parameter",
        )  # fmt: skip
    tangent = _tangent(residual, point, direction * level)
    points, tangents = [point], [tangent]
    for _ in range(steps):
        length, following = step, None
        while following is None:
            if length < _LEAST_STEP:
                raise CorrectnessError(
                    f"continuation stops at lambda = {float(point[-1].detach()):.6g}"
                )
            target = float((tangent @ point).detach()) + length
            following = _corrected(residual, point + length * tangent, tangent, target, tolerance)
            length /= 2
        point = following
        tangent = _tangent(residual, point, tangent)
        points.append(point)
        tangents.append(tangent)
    path = torch.stack(points)
    return Branch(path[:, :-1], path[:, -1], torch.stack(tangents))


def fold_point(
    residual: Residual,
    state: Float[Tensor, " n"],
    parameter: float,
    *,
    tolerance: float = 1e-9,
) -> Fold:
    """The fold nearest to a guess, by Newton's method on the system of Moore and Spence,

        F(u, l) = 0,    F_u(u, l) v = 0,    c . v = 1,

    which is regular at a simple fold; c is the guess at v. Jacobians come from autograd.

    Args:
        residual: F, ([n], []) -> [n]; twice differentiable.
        state, parameter: near the fold, such as a point of `continued` by its `folds()`.
        tolerance: of the largest entry of the system, relative to 1 + |F_u|'s largest entry.

    Raises:
        ArgumentError: Newton's method finds no fold from there.

    Source: Moore and Spence, SIAM J. Numer. Anal. 17 (1980).
    """
    size = len(state)
    guess = state.new_tensor(parameter)
    jacobian = torch.func.jacrev(residual)(state, guess)
    _, _, right = torch.linalg.svd(jacobian)
    chosen = right[-1]
    unknown = torch.cat([state, chosen, guess[None]])

    def system(point: Tensor) -> Tensor:
        u, v, parameter = point[:size], point[size:-1], point[-1]
        found = torch.func.jvp(lambda x: residual(x, parameter), (u,), (v,))
        value, slope = found[0], found[1]
        return torch.cat([value, slope, (chosen @ v - 1)[None]])

    scale = 1 + float(jacobian.detach().abs().max())
    for _ in range(_NEWTON_STEPS):
        value = system(unknown)
        off = float(value.detach().abs().max())
        if not math.isfinite(off) or off <= 1e-3 * tolerance * scale:
            break
        correction, failed = torch.linalg.solve_ex(torch.func.jacfwd(system)(unknown), value)
        if int(failed):
            break
        unknown = unknown - correction
    off = float(system(unknown).detach().abs().max())
    if not off <= tolerance * scale:
        raise ArgumentError(
            "state", f"a guess that leaves {off:.3g}", f"a fold to {tolerance * scale:.3g}",
            "start nearer to a point where lambda turns back",
        )  # fmt: skip
    vector = unknown[size:-1]
    return Fold(unknown[:size], unknown[-1], vector / vector.norm(), off)


def _bordered(residual: Residual, point: Tensor, row: Tensor) -> Tensor:
    """[[F_u, F_l], [row]]."""
    by_state, by_parameter = torch.func.jacrev(residual, argnums=(0, 1))(point[:-1], point[-1])
    above = torch.cat([by_state, by_parameter[:, None]], 1)
    return torch.cat([above, row[None]])


def _corrected(
    residual: Residual, point: Tensor, row: Tensor, target: float, tolerance: float
) -> Tensor | None:
    """The solution of F = 0, row . point = target near a point, or None."""
    for _ in range(_NEWTON_STEPS):
        value = torch.cat([residual(point[:-1], point[-1]), (row @ point - target)[None]])
        off = float(value.detach().abs().max())
        if not math.isfinite(off):
            return None
        if off <= tolerance:
            return point
        matrix = _bordered(residual, point, row)
        correction, failed = torch.linalg.solve_ex(matrix, value)
        if int(failed):
            return None
        point = point - correction
    return None


def _tangent(residual: Residual, point: Tensor, before: Tensor) -> Tensor:
    """The unit tangent with a positive product with the one before."""
    end = torch.zeros_like(point)
    end[-1] = 1
    tangent: Tensor = torch.linalg.solve(_bordered(residual, point, before), end)
    length: Tensor = tangent.norm()
    return tangent / length
