"""Degrees of maps from tori to spheres, and the second Chern number of the Dirac model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import ArgumentError

_CHUNK_POINTS = 2**16
_LARGEST_DEFECT = 0.1
_LEAST_LENGTH = 1e-9


@dataclass(frozen=True)
class MapDegree:
    """value: the integer; defect: how far the sum over the grid is from it."""

    value: int
    defect: float


def map_degree(
    vector: Callable[[Float[Tensor, "*b n"]], Float[Tensor, "*b n+1"]],
    dimension: int,
    points: int = 24,
) -> MapDegree:
    """deg(d/|d|) = 1 / vol(S^n) sum_k (2 pi / N)^n det[d, d_1 d, .., d_n d] / |d|^(n+1).

    d: T^n -> R^(n+1) without zeros, of period 2 pi in each angle. The sum over N^n points of a
    smooth periodic function converges faster than any power of 1/N. A Hamiltonian of two bands
    d . sigma has C = -deg(d/|d|) in its lower band, in the convention of chern_number.

    Args:
        vector: d, from points [*b, n].
        dimension: n.
        points: N, along each angle.

    Raises:
        ArgumentError: d is 0 at a point of the grid, or the sum is 0.1 or more from all integers.
    """
    if dimension < 1 or points < 3:
        raise ArgumentError("points", points, "3 or more, of one angle or more", "pass points=24")
    axes = [2 * math.pi * torch.arange(points, dtype=torch.float64) / points] * dimension
    grid = torch.cartesian_prod(*axes).reshape(-1, dimension)
    lengths = vector(grid).detach().norm(dim=-1)
    if not float(lengths.min()) > _LEAST_LENGTH * float(lengths.max()):
        raise ArgumentError(
            "vector", "a zero on the grid, or NaN", "no zeros", "the gap closes there"
        )
    values = torch.cat([_density(vector, part) for part in grid.split(_CHUNK_POINTS)])
    total = float(values.sum()) * (2 * math.pi / points) ** dimension / _sphere_volume(dimension)
    if not math.isfinite(total) or abs(total - round(total)) >= _LARGEST_DEFECT:
        raise ArgumentError(
            "points",
            f"{points}, at which the degree is {total:.3g}",
            "a sum within 0.1 of an integer",
            f"pass points={2 * points}; if that does not help, d has a zero",
        )
    return MapDegree(round(total), abs(total - round(total)))


def dirac_second_chern_number(mass: float) -> int:
    """C_2 = 1/2 sum_(n=0)^4 (-1)^n binom(4, n) sgn(m + 4 - 2 n), of the 4-D Dirac model at c = 1.

    The masses at the sixteen points k_i in {0, pi} change sign at m = -4, -2, 0, 2, 4. It is the
    degree of `dirac_vector` (Qi, Hughes and Zhang, PRB 78, 195424, 2008, equations 63 to 67).
    """
    if mass in (-4, -2, 0, 2, 4):
        raise ArgumentError("mass", mass, "a mass at which no gap closes", "move off -4, -2, .., 4")
    signs = [1 if mass + 4 - 2 * n > 0 else -1 for n in range(5)]
    return (signs[0] - 4 * signs[1] + 6 * signs[2] - 4 * signs[3] + signs[4]) // 2


def _density(vector: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """det[d, d_1 d, .., d_n d] / |d|^(n+1)."""
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        values = vector(points)
        slopes = [
            torch.autograd.grad(part.sum(), points, retain_graph=True)[0]
            for part in values.unbind(-1)
        ]
    here = values.detach()
    frame = torch.cat([here[..., None], torch.stack(slopes, -2)], -1)
    density: Tensor = torch.linalg.det(frame) / here.norm(dim=-1).pow(here.shape[-1])
    return density


def _sphere_volume(dimension: int) -> float:
    half: float = (dimension + 1) / 2
    return 2.0 * math.pow(math.pi, half) / math.gamma(half)
