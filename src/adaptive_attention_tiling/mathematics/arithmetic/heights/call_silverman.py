"""Canonical heights of maps of the line (Call and Silverman), place by place.

For F = (F_0, F_1) coprime integral forms of degree d >= 2 and coprime integers (X, Z) of x,

    h(x) = G_inf(X, Z) - sum_n d^-(n+1) log g_n,   h(f(x)) = d h(x),

where g_n is the common factor that F brings in at step n; it divides the resultant, so that only
bad primes take part. Source: Call and Silverman, Canonical heights on varieties with morphisms,
Compositio Math. 89 (1993), and Silverman, The Arithmetic of Dynamical Systems, sections 3.4, 5.9.
"""

from __future__ import annotations

import math
from fractions import Fraction

from ....errors import ArgumentError
from ..places import INFINITE_PLACE, Place
from ..primes import check_prime, factor, valuation
from ..rational import exact_rational
from ..rational_map import RationalMap, homogeneous
from .difference import is_preperiodic
from .integral_green import integral_green

# Below the last digit of a float64: d^-steps < 2^-64.
_DIGITS = 64


def call_silverman_height(system: RationalMap, point: int | Fraction | None) -> float:
    """h_f(x) = lim d^-n h(f^n(x)), in nats; exactly 0 just for preperiodic points.

    Raises:
        ArgumentError: for maps of degree 1.
    """
    _check_degree(system)
    if is_preperiodic(system, point):
        return 0.0
    x, z = homogeneous(point)
    height = integral_green(system.numerator, system.denominator, x, z)
    for prime in factor(system.resultant):
        height -= float(_common_factors(system, x, z, prime)) * math.log(prime)
    return height


def finite_green(system: RationalMap, point: int | Fraction, prime: int) -> Fraction:
    """The r in G_p(x, 1) = r log p, where G_p = lim d^-n log |F^n|_p.

    For polynomials F is scaled to F_1 = Z^d, so that this is lim d^-n log max(1, |f^n(x)|_p), and
    r is exact where x escapes; an orbit that has not escaped after n steps, d^n >= 2^64, is taken
    as bounded, r = 0. For other maps the sum over bad primes is cut after as many steps. At
    primes of good reduction r = max(0, -v_p(x)).

    Raises:
        ArgumentError: for p that is no prime, maps of degree 1 and the point at infinity.
    """
    _check_degree(system)
    check_prime("prime", prime)
    x, z = homogeneous(exact_rational("point", point))
    common = _common_factors(system, x, z, prime)
    return valuation(z, prime) - common + _affine_shift(system, prime)


def call_silverman_local_heights(system: RationalMap, point: int | Fraction) -> dict[Place, float]:
    """G_v(x, 1) at "infinity" and at each prime where it is not 0; their sum is the height.

    For polynomials each of them is >= 0: the rate at which x escapes at this place.
    """
    _check_degree(system)
    value = exact_rational("point", point)
    x, z = value.numerator, value.denominator
    affine = math.log(_affine_scale(system)) / (system.degree - 1)
    at_infinity = integral_green(system.numerator, system.denominator, x, z) - math.log(z) - affine
    heights: dict[Place, float] = {INFINITE_PLACE: at_infinity}
    for prime in sorted(factor(system.resultant).keys() | factor(z).keys()):
        local = finite_green(system, value, prime)
        if local:
            heights[prime] = float(local) * math.log(prime)
    return heights


def _common_factors(system: RationalMap, x: int, z: int, prime: int) -> Fraction:
    """sum_n d^-(n+1) v_p(g_n) along the orbit of coprime (X, Z), from digits modulo p^k."""
    bad = valuation(system.resultant, prime)
    if not bad:
        return Fraction(0)
    steps = _steps(system)
    digits = bad * (steps + 2) + 2
    # What the sum is for a polynomial's bounded orbit, where G_p(x, 1) = 0.
    bounded = valuation(z, prime) + _affine_shift(system, prime) if z else Fraction(0)
    total, weight = Fraction(0), Fraction(1, system.degree)
    for _ in range(steps):
        constant = _factor_from_here_on(system, x, z, prime)
        if constant is not None:
            return total + constant * weight * Fraction(system.degree, system.degree - 1)
        x, z = system.form(x, z)
        common = min(_order(x, prime, digits), _order(z, prime, digits))
        total += common * weight
        weight /= system.degree
        digits -= common
        x, z = (number // prime**common % prime**digits for number in (x, z))
    return bounded if system.is_polynomial else total


def _factor_from_here_on(system: RationalMap, x: int, z: int, prime: int) -> int | None:
    """v_p(g_n) of all steps to come, where a polynomial's orbit is seen to escape or to stay.

    With |x| > 1 so large that the leading term is the largest of f(x), it is v_p(p_d), and the
    next point is as large or larger. With |x| <= 1 and p-integral coefficients, it is 0.
    """
    if not system.is_polynomial:
        return None
    *lower, leading = (valuation(p, prime) if p else math.inf for p in system.numerator)
    scale, size = valuation(system.denominator[0], prime), _order(z, prime)
    if size == 0:
        return 0 if scale == 0 else None
    d = system.degree
    dominated = all(v + (d - i) * size > leading for i, v in enumerate(lower))
    return int(leading) if dominated and scale + (d - 1) * size >= leading else None


def _steps(system: RationalMap) -> int:
    return math.ceil(_DIGITS / math.log2(system.degree))


def _order(number: int, prime: int, bound: int = 2**62) -> int:
    return min(bound, valuation(number, prime)) if number else bound


def _affine_scale(system: RationalMap) -> int:
    """D in F_1 = D Z^d of a polynomial; 1 for other maps."""
    return abs(system.denominator[0]) if system.is_polynomial else 1


def _affine_shift(system: RationalMap, prime: int) -> Fraction:
    return Fraction(valuation(_affine_scale(system), prime), system.degree - 1)


def _check_degree(system: RationalMap) -> None:
    if system.degree < 2:
        raise ArgumentError(
            "system", f"degree {system.degree}", "degree 2 or more", "ask for the Weil height"
        )
