"""One implicit step of the resolution field: a convex problem within bounds, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from ...errors import CorrectnessError
from ...mathematics.tridiagonal import solve_tridiagonal
from .energy import AbstractEnergy

_ITERATIONS = 100
_HALVINGS = 60
# A Newton step that moves no resolution by more, or promises less of the terms of G, is the last.
_SMALL_STEP = 1e-12
_ROUNDING = 1e-15


@dataclass(frozen=True, kw_only=True)
class Proximal:
    """Least G(x) = sum_i h_i [(x_i - start_i)^2 / (2 dt) + e_i(x_i)] + 1/2 sum_i tie_i
    (x_{i+1} - x_i)^2 within the bounds; G is strictly convex.

    start, h = lengths: [*n, M]; tie: [*n, M-1].
    """

    start: Tensor
    energy: AbstractEnergy
    lengths: Tensor
    dt: float
    tie: Tensor
    minimum: float

    def terms(self, x: Float[Tensor, "*n M"]) -> Float[Tensor, "*n k"]:
        """What G(x) is the sum of."""
        moved = (x - self.start).square() / (2 * self.dt) + self.energy.value(x)
        tied = 0.5 * self.tie * x.diff(dim=-1).square()
        return torch.cat([self.lengths * moved, tied], -1)

    def slope(self, x: Float[Tensor, "*n M"]) -> Float[Tensor, "*n M"]:
        """dG/dx."""
        moved = (x - self.start) / self.dt + self.energy.slope(x)
        flux = self.tie * x.diff(dim=-1)
        away = pad(flux, (1, 0)) - pad(flux, (0, 1))
        return self.lengths * moved + away

    def curvature(self, x: Float[Tensor, "*n M"]) -> Float[Tensor, "*n M"]:
        """The diagonal of the second derivative, of which -tie lies beside."""
        own = self.lengths * (1 / self.dt + self.energy.curvature(x))
        return own + pad(self.tie, (1, 0)) + pad(self.tie, (0, 1))

    def inside(self, x: Tensor) -> Tensor:
        """The nearest values within the bounds."""
        return x.clamp(self.minimum, 1.0)

    def held(self, x: Tensor, slope: Tensor, margin: Tensor | float) -> Bool[Tensor, "*n M"]:
        """Whether a value lies within `margin` of a bound that G pushes it against."""
        low = (x <= self.minimum + margin) & (slope > 0)
        return low | ((x >= 1 - margin) & (slope < 0))

    def newton(self, x: Tensor, slope: Tensor, held: Tensor) -> Float[Tensor, "*n M"]:
        """Newton's step in the values that are not held; each held one has a step of its own."""
        beside = -self.tie.masked_fill(held[..., 1:] | held[..., :-1], 0.0)
        return solve_tridiagonal(self.curvature(x), beside, -slope)


@torch.no_grad()
def descend(problem: Proximal) -> Float[Tensor, "*n M"]:
    """The minimiser of G, starting at `start`: no iteration raises G.

    Newton's method projected on the bounds with Armijo's rule along the projected path. Source:
    Bertsekas, "Projected Newton methods for optimization problems with simple constraints", 1982.
    """
    x = problem.start
    for _ in range(_ITERATIONS):
        slope, terms = problem.slope(x), problem.terms(x)
        distance = (x - problem.inside(x - slope / problem.curvature(x))).abs()
        margin = distance.amax(-1, keepdim=True).clamp(max=1e-3)
        held = problem.held(x, slope, margin)
        step = problem.newton(x, slope, held)
        moved = problem.inside(x + step) - x
        promised = -(slope * torch.where(held, moved, step)).sum(-1)
        done = moved.abs().amax(-1) <= _SMALL_STEP
        done |= promised <= _ROUNDING * terms.abs().sum(-1)
        if bool(done.all()):
            return x
        x = _search(problem, x, step, held, slope, done)
    raise CorrectnessError(f"the implicit step did not converge in {_ITERATIONS} iterations")


def _search(
    problem: Proximal, x: Tensor, step: Tensor, held: Tensor, slope: Tensor, done: Tensor
) -> Tensor:
    """Halve the step of each row until G falls by 1e-4 of what the slope promises."""
    terms = problem.terms(x)
    before, slack = terms.sum(-1), _ROUNDING * terms.abs().sum(-1)
    share = torch.where(done, 0.0, 1.0)[..., None].to(x)
    for _ in range(_HALVINGS):
        tried = problem.inside(x + share * step)
        promised = (slope * torch.where(held, tried - x, share * step)).sum(-1)
        good = problem.terms(tried).sum(-1) <= before + 1e-4 * promised + slack
        if bool(good.all()):
            return tried
        share = torch.where(good[..., None], share, 0.5 * share)
    raise CorrectnessError(f"no descent along Newton's step in {_HALVINGS} halvings")


def polish(problem: Proximal, x: Float[Tensor, "*n M"]) -> Float[Tensor, "*n M"]:
    """One more step of Newton's, which carries the first derivatives of the minimiser x.

    Where dG/dx(x, theta) = 0, x(theta) - J^-1 dG/dx(x, theta) with x and J held constant has the
    derivative -J^-1 d^2G/dx dtheta of the implicit function theorem; values at a bound have none.
    """
    slope = problem.slope(x)
    with torch.no_grad():
        held = problem.held(x, slope, 1e-9)
        diagonal = problem.curvature(x)
        beside = -problem.tie.masked_fill(held[..., 1:] | held[..., :-1], 0.0)
        bound = torch.where(x < 0.5 * (1 + problem.minimum), problem.minimum, 1.0).to(x)
    moved = solve_tridiagonal(diagonal, beside, -slope.masked_fill(held, 0.0))
    return torch.where(held, bound, problem.inside(x + moved))
