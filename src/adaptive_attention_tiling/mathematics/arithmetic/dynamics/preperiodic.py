"""All the rational points whose orbits under a map are finite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from ....errors import ArgumentError
from ..heights.difference import lower_bound_factor, preperiod
from ..heights.weil import rationals_of_height
from ..primes import factor, valuation
from ..rational_map import LinePoint, RationalMap


def preperiodic_points(system: RationalMap, limit: int = 10**6) -> dict[LinePoint, tuple[int, int]]:
    """{x: (tail, period)} for every preperiodic x in P^1(Q), None (infinity) last.

    They are the points of canonical height 0, which are finitely many (Northcott). A polynomial's
    escape at no place: |x|_v <= R_v at each, which leaves multiples of one rational in an
    interval. Another map's have h(x) <= L/(d - 1) with L of `height_bounds`.

    Source: Silverman, The Arithmetic of Dynamical Systems, theorem 3.12.

    Args:
        system: a map of degree 2 or more.
        limit: how many candidates may be tried.

    Raises:
        ArgumentError: for maps of degree 1, and where there are more candidates than the limit.
    """
    if system.degree < 2:
        raise ArgumentError("system", "degree 1", "degree 2 or more", "iterate it yourself")
    candidates = _of_polynomial(system, limit) if system.is_polynomial else _of_map(system, limit)
    found: dict[LinePoint, tuple[int, int]] = {}
    for x in [*sorted(candidates), None]:
        kind = preperiod(system, x)
        if kind is not None:
            found[x] = kind
    return found


def _of_polynomial(system: RationalMap, limit: int) -> Iterator[Fraction]:
    """The rationals that are in reach at every place: |x| > R_v escapes.

    At infinity R = max(1, (1 + sum_(i<d) |a_i|) / |a_d|); at p the largest of
    |a_i/a_d|^(1/(d-i)) and |a_d|^(-1/(d-1)).
    """
    *lower, leading = system.coefficients
    radius = max(Fraction(1), (1 + sum(map(abs, lower))) / abs(leading))
    step = Fraction(1)
    d = system.degree
    for prime in factor(math.prod((a.numerator or 1) * a.denominator for a in system.coefficients)):
        top = valuation(leading, prime)
        orders = [Fraction(top, d - 1)]
        orders += [Fraction(top - valuation(a, prime), d - i) for i, a in enumerate(lower) if a]
        step *= Fraction(prime) ** -math.floor(max(orders))
    reach = math.floor(radius / step)
    _check_limit(2 * reach + 1, limit)
    return (step * number for number in range(-reach, reach + 1))


def _of_map(system: RationalMap, limit: int) -> Iterator[Fraction]:
    bound = math.floor(lower_bound_factor(system) ** (1 / (system.degree - 1)) * (1 + 1e-9))
    _check_limit(math.ceil(12 / math.pi**2 * bound**2), limit)
    return rationals_of_height(bound)


def _check_limit(count: int, limit: int) -> None:
    if count > limit:
        raise ArgumentError(
            "limit", limit, f"{count} or more for this map", "raise the limit, or simplify the map"
        )
