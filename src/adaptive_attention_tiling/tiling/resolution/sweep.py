"""One implicit step of the causal field: a forward sweep of problems in one unknown."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import CorrectnessError
from .energy import AbstractEnergy

_ITERATIONS = 200
_SMALL_STEP = 1e-14


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """For each tile the x_i that minimises, given x_{i-1},

        h_i [(x_i - start_i)^2 / (2 dt) + e_i(x_i)] + 1/2 tie_i (x_i - x_{i-1})^2

    within the bounds. start, h = lengths, tie: [*n, M], tie_i to the tile before; before: [*n], the
    resolution before the first tile. Each x_{i-1} is read as rounded to `dtype`, which is all that
    a later piece of the sequence can know of it.
    """

    start: Tensor
    energy: AbstractEnergy
    lengths: Tensor
    dt: float
    tie: Tensor
    before: Tensor
    minimum: float
    dtype: torch.dtype

    def solve(self) -> Float[Tensor, "*n M"]:
        """The minimisers, which carry their first derivatives."""
        with torch.no_grad():
            x, last = [], self.before
            for i in range(self.start.shape[-1]):
                x.append(self._relax(i, last))
                last = self._rounded(x[-1])
            found = torch.stack(x, -1)
        return self._with_derivatives(found) if torch.is_grad_enabled() else found

    def _rounded(self, x: Tensor) -> Tensor:
        return x.to(self.dtype).to(x)

    def _relax(self, i: int, before: Tensor) -> Tensor:
        """Newton's method for one tile, halving an interval around the root where it leaves it."""
        start, tie = self.start[..., i], self.tie[..., i]
        energy = self.energy.map(lambda values: values[..., i])
        spring = self.lengths[..., i] / self.dt
        length, stiff = self.lengths[..., i], spring + tie
        pull = spring * start + tie * before
        x = start
        # Not known to enclose the root until they are values that were tried.
        low, high = torch.full_like(x, self.minimum - 1), torch.full_like(x, 2.0)
        for _ in range(_ITERATIONS):
            slope = stiff * x - pull + length * energy.slope(x)
            low, high = torch.where(slope <= 0, x, low), torch.where(slope >= 0, x, high)
            tried = x - slope / (stiff + length * energy.curvature(x))
            tried = torch.where((tried < low) | (tried > high), 0.5 * (low + high), tried)
            tried = tried.clamp(self.minimum, 1.0)
            small = bool(((tried - x).abs() <= _SMALL_STEP).all())
            x = tried
            if small:
                return x
        raise CorrectnessError(f"tile {i} did not converge in {_ITERATIONS} iterations")

    def _with_derivatives(self, x: Tensor) -> Tensor:
        """x, with the derivatives of the implicit function theorem.

        Where the slopes g(x, theta) vanish, J dx = -dg; J has its diagonal and, below it, -tie.
        """
        earlier = torch.cat([self.before[..., None], self._rounded(x[..., :-1])], -1)
        moved = (x - self.start) / self.dt + self.energy.slope(x)
        slope = self.lengths * moved + self.tie * (x - earlier)
        with torch.no_grad():
            held = ((x <= self.minimum) & (slope > 0)) | ((x >= 1.0) & (slope < 0))
            rate = (self.lengths * (1 / self.dt + self.energy.curvature(x)) + self.tie).reciprocal()
            rate = rate.masked_fill(held, 0.0)
            share = self.tie * rate
        change, changes = torch.zeros_like(self.before), []
        for right, factor in zip((-slope * rate).unbind(-1), share.unbind(-1), strict=True):
            change = right + factor * change
            changes.append(change)
        correction = torch.stack(changes, -1)
        # Of no value itself: what a later piece of the sequence reads is what was read here.
        return x + (correction - correction.detach())
