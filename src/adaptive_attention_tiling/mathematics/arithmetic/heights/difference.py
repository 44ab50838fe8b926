"""How far one step of a map can move the height of a rational point from d times it."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from ....errors import ArgumentError
from ..rational_map import LinePoint, RationalMap, determinant, homogeneous


def height_bounds(system: RationalMap) -> tuple[float, float]:
    """(L, U) with -L <= h(f(x)) - d h(x) <= U for every x in P^1(Q).

    U is the log of the larger sum of absolute coefficients. L comes from the integral identities
    A F_0 + B F_1 = e X^(2d-1) and A' F_0 + B' F_1 = e Z^(2d-1), which the Sylvester matrix gives:
    common factors divide e, so that L is the log of the larger sum of |A| and |B|.
    Source: Silverman, The Arithmetic of Dynamical Systems, theorem 3.11.
    """
    upper = max(sum(map(abs, row)) for row in (system.numerator, system.denominator))
    return math.log(lower_bound_factor(system)), math.log(upper)


@lru_cache(maxsize=256)
def lower_bound_factor(system: RationalMap) -> int:
    """e^L of `height_bounds`, an integer."""
    matrix = system.sylvester_matrix()
    last = len(matrix) - 1
    combinations = [_combination(matrix, place) for place in (0, last)]
    scale = math.lcm(*(value.denominator for row in combinations for value in row))
    return max(int(sum(abs(value * scale) for value in row)) for row in combinations)


def is_preperiodic(system: RationalMap, point: int | Fraction | None) -> bool:
    """Whether the orbit of a rational point is finite; decided exactly, degree 2 or more.

    An orbit that once has h > L/(d - 1) grows for ever after; one that never has repeats, since
    there are only finitely many points below (Northcott).
    """
    return preperiod(system, point) is not None


def preperiod(system: RationalMap, point: int | Fraction | None) -> tuple[int, int] | None:
    """(tail, period) of a preperiodic point: f^(tail + period)(x) = f^tail(x), both least.

    None where the orbit is infinite.

    Raises:
        ArgumentError: for maps of degree 1, whose orbits no height bounds.
    """
    if system.degree < 2:
        raise ArgumentError("system", "degree 1", "degree 2 or more", "iterate it yourself")
    # h > L/(d - 1) just where H^(d-1) > e^L.
    limit = lower_bound_factor(system)
    seen: dict[LinePoint, int] = {}
    x, z = homogeneous(point)
    current: LinePoint = Fraction(x, z) if z else None
    while current not in seen:
        x, z = homogeneous(current)
        if max(abs(x), abs(z)) ** (system.degree - 1) > limit:
            return None
        seen[current] = len(seen)
        current = system(current)
    tail = seen[current]
    return tail, len(seen) - tail


def _combination(matrix: list[list[int]], place: int) -> list[Fraction]:
    """The rational row c with c M = unit vector at `place`, by Cramer's rule."""
    whole = determinant(matrix)
    minors = []
    for left_out in range(len(matrix)):
        rest = [row[:place] + row[place + 1 :] for i, row in enumerate(matrix) if i != left_out]
        minors.append(Fraction((-1) ** (left_out + place) * determinant(rest), whole))
    return minors
