"""Paths through a chart: length, energy, and the path that costs least between two points.

A path is a polygon of n + 1 points, and its figures are integrals along it:

    L = int sqrt(g(x', x')) dt,    E = int g(x', x') dt,    E >= L^2 (Cauchy-Schwarz),

with equality at constant speed. They are integrals of a path that exists, not sums over its
points, so no polygon can be shorter than the distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .solvable import SolvableManifold

# Gauss-Legendre nodes and weights on [0, 1]; exact for polynomials of degree 7.
_NODES = (0.0694318442029737, 0.3300094782075719, 0.6699905217924281, 0.9305681557970263)
_WEIGHTS = (0.1739274225687269, 0.3260725774312731, 0.3260725774312731, 0.1739274225687269)


def straight(manifold: SolvableManifold, segments: int) -> Float[Tensor, "points d"]:
    """The chart's straight line between the manifold's two points."""
    start, end = manifold.ends()
    t = torch.linspace(0, 1, segments + 1, dtype=start.dtype)[:, None]
    return start + t * (end - start)


def perturbed(
    path: Float[Tensor, "points d"], size: float, generator: torch.Generator
) -> Float[Tensor, "points d"]:
    """`path` with a random smooth change of about `size` in every coordinate; its ends stay."""
    waves = _waves(len(path) - 1)[:, :4]
    change = torch.randn(waves.shape[1], path.shape[1], dtype=path.dtype, generator=generator)
    return path + size * waves @ change


def segment_lengths(
    manifold: SolvableManifold, path: Float[Tensor, "points d"]
) -> Float[Tensor, " segments"]:
    """The length of every segment of a polygon in the chart."""
    return _integral(path, lambda x, v: manifold.square(x, v).sqrt())


def energy(manifold: SolvableManifold, path: Float[Tensor, "points d"]) -> Float[Tensor, ""]:
    """int g(x', x') dt over t in [0, 1], with equal time for each segment."""
    return _integral(path, manifold.square).sum() * (len(path) - 1)


def _integral(path: Tensor, density: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    step = path[1:] - path[:-1]
    total = torch.zeros_like(step[:, 0])
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        total = total + weight * density(path[:-1] + node * step, step)
    return total


def least_path(
    cost: Callable[[Tensor], Tensor], path: Float[Tensor, "points d"]
) -> Float[Tensor, "points d"]:
    """The path of least `cost` that a descent (L-BFGS) from `path` finds; its ends stay."""
    waves = _waves(len(path) - 1)
    amount = torch.zeros(waves.shape[1], path.shape[1], dtype=path.dtype, requires_grad=True)
    search = torch.optim.LBFGS(
        [amount],
        max_iter=400,
        tolerance_grad=1e-11,
        tolerance_change=1e-15,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def evaluate() -> float:
        search.zero_grad()
        value = cost(path + waves @ amount)
        value.backward()
        return float(value.detach())

    search.step(evaluate)
    return (path + waves @ amount).detach()


def _waves(segments: int) -> Float[Tensor, "points waves"]:
    """sin(k pi t) / k: along these the energy is about equally curved, at any number of points."""
    t = torch.linspace(0, 1, segments + 1, dtype=torch.float64)[:, None]
    k = torch.arange(1, segments, dtype=torch.float64)
    waves = (k * math.pi * t).sin() / k
    waves[-1] = 0.0
    return waves
