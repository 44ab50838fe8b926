"""How fast heights grow along orbits of rational points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import torch

from ....errors import ArgumentError
from ..heights.weil import rational_height
from ..rational import exact_rational
from ..rational_map import LinePoint, RationalMap


def rational_orbit(
    system: RationalMap, point: int | Fraction | None, steps: int
) -> list[LinePoint]:
    """[x, f(x), ..., f^steps(x)] exactly; the digits of infinite orbits grow as d^n."""
    current: LinePoint = None if point is None else exact_rational("point", point)
    points = [current]
    for _ in range(steps):
        current = system(current)
        points.append(current)
    return points


def height_ratios(system: RationalMap, point: int | Fraction, steps: int) -> list[float]:
    """h(f^(n+1)(x)) / h(f^n(x)) for n < steps, which tends to d for infinite orbits.

    nan where the height before is 0, at the points 0, 1, -1 and infinity.
    """
    heights = [
        0.0 if x is None else rational_height(x) for x in rational_orbit(system, point, steps)
    ]
    return [after / before if before else math.nan for before, after in itertools.pairwise(heights)]


def arithmetic_degree(heights: Sequence[float]) -> float:
    """lim h(f^n(x))^(1/n), estimated from h(f^n(x)), n = 0, 1, ..., N.

    exp of the slope of log max(1, h) over the later half of the orbit, so that constants drop
    out. At most the dynamical degree, and equal to it for dense orbits in the cases known
    (Kawaguchi and Silverman, J. reine angew. Math. 713, 2016).

    Raises:
        ArgumentError: for fewer than four heights.
    """
    if len(heights) < 4:
        raise ArgumentError("heights", f"{len(heights)} of them", "four or more", "iterate longer")
    half = len(heights) // 2
    logs = torch.tensor([math.log(max(1.0, h)) for h in heights[half:]], dtype=torch.float64)
    time = torch.arange(len(logs), dtype=torch.float64)
    time = time - time.mean()
    return math.exp(float((time @ logs) / (time @ time)))


def monomial_image(matrix: Sequence[Sequence[int]], point: Sequence[Fraction]) -> list[Fraction]:
    """f(x)_i = prod_j x_j^(A_ij): the map of the torus that an integral matrix is.

    Raises:
        ArgumentError: for points off the torus and matrices of another width.
    """
    if any(len(row) != len(point) for row in matrix):
        raise ArgumentError("matrix", "another width", f"rows of {len(point)}", "fit the point")
    if not all(point):
        raise ArgumentError("point", "a coordinate 0", "nonzero coordinates", "stay on the torus")
    return [
        math.prod((x**power for x, power in zip(point, row, strict=True)), start=Fraction(1))
        for row in matrix
    ]


def monomial_dynamical_degree(matrix: Sequence[Sequence[int]]) -> float:
    """The spectral radius of A, the rate at which degrees of iterates grow: lim deg(f^n)^(1/n).

    Hasselblatt and Propp, Ergod. Th. & Dynam. Sys. 27 (2007), theorem 6.2.
    """
    values = torch.linalg.eigvals(torch.tensor(matrix, dtype=torch.float64))
    return float(values.abs().amax())
