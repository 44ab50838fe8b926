"""Theorem 3.2, "the resolution field converges to a local minimum of E while it stays smooth".

    dR/dt = -grad E(R) + lambda Laplacian(R)    is the descent of    F(R) = E(R) + lambda D(R),

D(R) = 1/2 int |grad R|^2 the roughness. So:

1. True: F never increases; a strictly convex E gives one limit, whatever the start, and a quadratic
   one with weight w comes closer by 1 / (1 + w dt) with every implicit step.
2. False as written: that limit minimises F, not E. It is a minimum of E only where lambda is 0 or
   the target is flat.
3. "Stays smooth" can only mean bounded: D <= F(start) / lambda as long as E >= 0. From a flat
   start towards a target that is not, the field grows rougher.
4. "A local minimum" needs more than descent. With two wells there are several limits, which one
   depends on the start, and a start on the ridge between them stays there: it is stationary, and
   a saddle. Bounded R alone does give a least F, as [R_min, 1] is compact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ...tiling.resolution import AbstractEnergy, QuadraticEnergy, ResolutionField

TIME_STEPS = (0.1, 1.0, 10.0)
SMOOTHINGS = (0.0, 0.1, 1.0, 10.0)
TIES = (0.0, 0.01, 0.03, 0.3)
STARTS = (("low", 0.4), ("high", 0.7), ("ridge", 0.55))
_WAVE = 4
_WEIGHT = 1.0
_MEAN, _SWING = 0.5, 0.3


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """A field on its way to the known limit of a quadratic energy.

    errors     max_i |R_i - limit_i|, at the start and after each step
    energies   F at the same times
    rate       the last ratio of two errors; 1 / (1 + w dt) is expected
    rise       largest rise of F in a step, over F at the start
    roughness  largest D on the way, over F(start) / lambda
    """

    time_step: float
    errors: tuple[float, ...]
    energies: tuple[float, ...]
    rate: float
    expected_rate: float
    rise: float
    roughness: float


@dataclass(frozen=True, kw_only=True)
class Compromise:
    """Where a field with a quadratic energy ends, and where E alone has its minimum.

    slope_of_f, slope_of_e   largest derivative there
    energy                   E there; the minimum of E is 0
    roughness_start, _end    D of the flat start, and there
    """

    diffusion: float
    slope_of_f: float
    slope_of_e: float
    energy: float
    roughness_start: float
    roughness_end: float


@dataclass(frozen=True, kw_only=True)
class Rest:
    """Where a field with two wells comes to rest.

    slope      largest derivative of F; 0 where stationary
    curvature  least eigenvalue of F's second derivative: negative at a saddle
    """

    start: str
    mean: float
    energy: float
    slope: float
    curvature: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many limits random starts reach; worst_slope: the largest derivative of F at any."""

    diffusion: float
    starts: int
    limits: int
    worst_slope: float


@dataclass(frozen=True)
class DoubleWell(AbstractEnergy):
    """e_i(R) = stiffness_i (R - low)^2 (R - high)^2 / 4.

    Not convex: e'' >= -stiffness (high - low)^2 / 4 in the middle, so a step of the field is a
    convex problem for dt < 4 / (stiffness (high - low)^2) only.
    """

    stiffness: Tensor
    low: float = 0.25
    high: float = 0.85

    def value(self, resolution: Tensor) -> Tensor:
        return 0.25 * self.stiffness * self._product(resolution).square()

    def slope(self, resolution: Tensor) -> Tensor:
        return self.stiffness * self._product(resolution) * (resolution - self.middle)

    def curvature(self, resolution: Tensor) -> Tensor:
        away = (resolution - self.middle).square()
        return self.stiffness * (2 * away + self._product(resolution))

    def map(self, function: Callable[[Tensor], Tensor]) -> DoubleWell:
        return DoubleWell(function(self.stiffness), self.low, self.high)

    @property
    def middle(self) -> float:
        """The ridge between the wells."""
        return 0.5 * (self.low + self.high)

    def _product(self, resolution: Tensor) -> Tensor:
        return (resolution - self.low) * (resolution - self.high)


def mode(tiles: int, number: int) -> Float[Tensor, " M"]:
    """cos(pi k (i + 1/2) / M): an eigenvector of the Laplacian without flux through the ends."""
    i = torch.arange(tiles, dtype=torch.float64)
    return (math.pi * number * (i + 0.5) / tiles).cos()


def stiffness_of(tiles: int, number: int) -> float:
    """Minus its eigenvalue, 2 - 2 cos(pi k / M)."""
    return 2 - 2 * math.cos(math.pi * number / tiles)


def _problem(tiles: int, diffusion: float) -> tuple[ResolutionField, QuadraticEnergy, Tensor]:
    """A field, an energy drawn to a wave, and the limit: the same wave, but flatter."""
    wave, ones = mode(tiles, _WAVE), torch.ones(tiles, dtype=torch.float64)
    field = ResolutionField(diffusion=diffusion, minimum=1 / 16)
    flattened = _WEIGHT / (_WEIGHT + diffusion * stiffness_of(tiles, _WAVE))
    energy = QuadraticEnergy(_MEAN + _SWING * wave, _WEIGHT * ones)
    return field, energy, _MEAN + flattened * _SWING * wave


def roughness(resolution: Float[Tensor, " M"]) -> float:
    """D(R) = 1/2 sum_i (R_{i+1} - R_i)^2, for tiles of length 1."""
    return 0.5 * float(resolution.diff().square().sum())


def relaxation(
    time_step: float, *, tiles: int = 16, diffusion: float = 4.0, least: float = 1e-8
) -> Relaxation:
    """Steps from a flat field until the error is below `least`, at most 1,000."""
    field, energy, limit = _problem(tiles, diffusion)
    fields = [torch.full_like(limit, 0.9)]
    while len(fields) <= 1000 and float((fields[-1] - limit).abs().max()) > least:
        fields.append(field.step(fields[-1], energy, time_step))
    errors = [float((one - limit).abs().max()) for one in fields]
    energies = [float(field.total_energy(one, energy)) for one in fields]
    return Relaxation(
        time_step=time_step,
        errors=tuple(errors),
        energies=tuple(energies),
        rate=errors[-1] / errors[-2],
        expected_rate=1 / (1 + _WEIGHT * time_step),
        rise=max(0.0, *(b - a for a, b in pairwise(energies))) / energies[0],
        roughness=max(roughness(one) for one in fields) / (energies[0] / diffusion),
    )


def compromise(diffusion: float, *, tiles: int = 16) -> Compromise:
    """The limit of the field from a flat start."""
    field, energy, _ = _problem(tiles, diffusion)
    start = torch.full((tiles,), _MEAN, dtype=torch.float64)
    end = settled(field, energy, start, 100.0)
    return Compromise(
        diffusion=diffusion,
        slope_of_f=_slope(field, energy, end),
        slope_of_e=float(energy.slope(end).abs().max()),
        energy=float(energy.value(end).sum()),
        roughness_start=roughness(start),
        roughness_end=roughness(end),
    )


def settled(
    field: ResolutionField, energy: AbstractEnergy, start: Float[Tensor, " M"], time_step: float
) -> Float[Tensor, " M"]:
    """The field once a step moves it by less than 1e-11, or after 2,000 steps."""
    resolution = start
    for _ in range(2000):
        moved = field.step(resolution, energy, time_step)
        still = float((moved - resolution).abs().max()) < 1e-11
        resolution = moved
        if still:
            break
    return resolution


def _slope(field: ResolutionField, energy: AbstractEnergy, resolution: Tensor) -> float:
    """The largest |dF/dR_i|, for fields inside the bounds."""
    at = resolution.detach().requires_grad_()
    (slope,) = torch.autograd.grad(field.total_energy(at, energy).sum(), at)
    return float(slope.abs().max())


def rest(start: str, value: float, *, tiles: int = 16, diffusion: float = 0.03) -> Rest:
    """Let a flat field of the given value fall into a well of `DoubleWell`."""
    field = ResolutionField(diffusion=diffusion, minimum=1 / 16)
    energy = DoubleWell(torch.ones(tiles, dtype=torch.float64))
    flat = torch.full((tiles,), value, dtype=torch.float64)
    end = settled(field, energy, flat, 5.0)
    second = torch.autograd.functional.hessian(lambda x: field.total_energy(x, energy), end)
    return Rest(
        start=start,
        mean=float(end.mean()),
        energy=float(field.total_energy(end, energy)),
        slope=_slope(field, energy, end),
        curvature=float(torch.linalg.eigvalsh(second)[0]),
    )


def limits(diffusion: float, *, tiles: int = 6, starts: int = 64, seed: int = 0) -> Limits:
    """Count the limits of `DoubleWell` from random starts; those within 1e-4 are one."""
    generator = torch.Generator().manual_seed(seed)
    field = ResolutionField(diffusion=diffusion, minimum=1 / 16)
    energy = DoubleWell(torch.ones(starts, tiles, dtype=torch.float64))
    begun = torch.rand(starts, tiles, dtype=torch.float64, generator=generator)
    ends = settled(field, energy, 0.2 + 0.7 * begun, 5.0)
    return Limits(
        diffusion=diffusion,
        starts=starts,
        limits=len({tuple(row) for row in (ends * 1e4).round().long().tolist()}),
        worst_slope=_slope(field, energy, ends),
    )
