"""Theorem 3.1, "geodesics are paths of optimal information transfer": what is true of it.

1. Shortest. No path is shorter than the distance; the path of least energy reaches it as n^-2, n
   the number of its segments, at constant speed.
2. The theorem's reading. On an information manifold ds^2 / 2 is, to second order, the
   Kullback-Leibler divergence of neighbours. "Computational constraint" is read as: n steps.
   Their total divergence is at least d^2 / (2 n) up to higher orders, and equal steps along the
   geodesic reach that.
3. False as written. A geodesic is only locally shortest: the long way round a great circle is
   one. An arc of length L has floor(L / pi) directions, for L no multiple of pi, in which it
   becomes shorter (Morse).
4. On univariate normal and on categorical distributions every geodesic *is* shortest: the first
   have negative curvature (Hadamard), the second are a convex part of a sphere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from ...errors import ArgumentError
from .paths import energy, least_path, perturbed, segment_lengths, straight
from .power_law import fitted_exponent
from .solvable import SPHERE, SolvableManifold

SEGMENTS = (4, 8, 16, 32, 64)
STEPS = (1, 2, 4, 8, 16, 32, 64)
ARCS = (0.5, 0.9, 1.1, 1.5, 2.5)
"""Lengths of great arcs, in units of pi."""


@dataclass(frozen=True, kw_only=True)
class ShortestPath:
    """The path of least energy on one manifold, at several numbers of segments.

    lengths          of that path, one for each of `segments`
    order            a where length - distance falls as segments^-a
    speed_spread     (longest - shortest segment) / their mean, at the last of `segments`
    started_at       length of the path at which that search began
    shortest_rival   least length of `rivals` random changes of the result, over the distance
    """

    manifold: str
    distance: float
    segments: tuple[int, ...]
    lengths: tuple[float, ...]
    order: float
    speed_spread: float
    started_at: float
    rivals: int
    shortest_rival: float


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """sum KL over the steps of a path, times 2 n / d^2: the geodesic's tends to 1.

    geodesic  equal steps along it
    line      equal steps along the chart's straight line
    least     the n - 1 points in between chosen so as to make the sum least
    """

    steps: int
    geodesic: float
    line: float
    least: float


@dataclass(frozen=True, kw_only=True)
class GreatArc:
    """An arc of the equator of the unit sphere: a geodesic, whatever its length.

    slope    largest derivative of its energy by a coordinate of an inner point; 0 at a geodesic
    index    directions in which its energy falls to second order
    changed  its length after a change by at most 0.1 in the best of them; None without any
    """

    length: float
    distance: float
    slope: float
    index: int
    changed: float | None


def shortest_path(
    manifold: SolvableManifold,
    *,
    segments: Sequence[int] = SEGMENTS,
    rivals: int = 200,
    seed: int = 0,
) -> ShortestPath:
    """Search for the shortest path from a random one, and for a shorter one around it."""
    generator = torch.Generator().manual_seed(seed)
    distance = float(manifold.distance(*manifold.ends()))
    lengths = []
    for number in segments:
        begun = perturbed(straight(manifold, number), 0.3, generator)
        path = least_path(lambda x: energy(manifold, x), begun)
        parts = segment_lengths(manifold, path)
        lengths.append(float(parts.sum()))
    sizes = (0.003 * 10 ** (2 * n / rivals) for n in range(rivals))
    around = [perturbed(path, size, generator) for size in sizes]
    return ShortestPath(
        manifold=manifold.name,
        distance=distance,
        segments=tuple(segments),
        lengths=tuple(lengths),
        order=-fitted_exponent(segments, [length - distance for length in lengths]),
        speed_spread=float((parts.max() - parts.min()) / parts.mean()),
        started_at=float(segment_lengths(manifold, begun).sum()),
        rivals=rivals,
        shortest_rival=min(float(segment_lengths(manifold, x).sum()) for x in around) / distance,
    )


def step_costs(manifold: SolvableManifold, *, steps: Sequence[int] = STEPS) -> tuple[StepCost, ...]:
    """What n steps cost on a manifold of distributions; n must divide the largest one."""
    divergence = manifold.divergence
    if divergence is None:
        raise ArgumentError(
            "manifold", manifold.name, "distributions with a divergence", "use GAUSSIANS"
        )

    def total(path: Tensor) -> Tensor:
        return divergence(path[:-1], path[1:]).sum()

    finest = straight(manifold, max(steps))
    geodesic = least_path(lambda x: energy(manifold, x), finest)
    square = float(manifold.distance(*manifold.ends())) ** 2
    costs = []
    for n in steps:
        path, line = (x[:: max(steps) // n] for x in (geodesic, finest))
        least = least_path(total, path) if n > 1 else path
        one, two, three = (2 * n / square * float(total(x)) for x in (path, line, least))
        costs.append(StepCost(steps=n, geodesic=one, line=two, least=three))
    return tuple(costs)


def great_arc(half_turns: float, *, segments: int = 32) -> GreatArc:
    """The arc of the equator of length `half_turns` * pi, and whether it is shortest."""
    length = half_turns * math.pi
    t = torch.linspace(0, 1, segments + 1, dtype=torch.float64)
    arc = torch.stack((torch.full_like(t, math.pi / 2), length * t), 1)

    def changed_by(inner: Tensor) -> Tensor:
        change = inner.view(segments - 1, 2)
        return arc + torch.nn.functional.pad(change, (0, 0, 1, 1))

    def cost(inner: Tensor) -> Tensor:
        return energy(SPHERE, changed_by(inner))

    still = torch.zeros(2 * (segments - 1), dtype=torch.float64)
    values, directions = torch.linalg.eigh(hessian(cost, still))
    best = directions[:, 0] * 0.1 / directions[:, 0].abs().max()
    index = int((values < -1e-9 * values.abs().max()).sum())
    return GreatArc(
        length=length,
        distance=float(SPHERE.distance(arc[0], arc[-1])),
        slope=float(jacobian(cost, still).abs().max()),
        index=index,
        changed=float(segment_lengths(SPHERE, changed_by(best)).sum()) if index else None,
    )
