"""Weil heights: how many digits it takes to write a number or a point down.

All heights are logarithmic, in nats, and absolute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from ....errors import ArgumentError
from ..mahler_measure import log_mahler_measure, primitive_part
from ..places import INFINITE_PLACE, Place
from ..primes import factor, valuation
from ..rational import exact_rational, log_of_rational


def rational_height(number: int | Fraction) -> float:
    """h(a/b) = log max(|a|, |b|) in lowest terms; h(0) = 0.

    Source: Silverman, The Arithmetic of Dynamical Systems, section 3.1.
    """
    return math.log(multiplicative_height(number))


def multiplicative_height(number: int | Fraction) -> int:
    """H(a/b) = max(|a|, |b|), exactly."""
    value = exact_rational("number", number)
    return max(abs(value.numerator), value.denominator)


def projective_height(point: Sequence[int | Fraction]) -> float:
    """h([x_0 : ... : x_n]) = log max |a_i| for the coprime integers a_i of the same point.

    Raises:
        ArgumentError: where all coordinates are 0.
    """
    return math.log(max(abs(number) for number in coprime_coordinates(point)))


def coprime_coordinates(point: Sequence[int | Fraction]) -> list[int]:
    """The integers of greatest common divisor 1 that name the same projective point.

    Denominators are cleared and the common divisor taken out; signs stay as they are.
    """
    values = _checked_point(point)
    scale = math.lcm(*(value.denominator for value in values))
    integers = [int(value * scale) for value in values]
    common = math.gcd(*integers)
    return [number // common for number in integers]


def local_heights(point: Sequence[int | Fraction]) -> dict[Place, float]:
    """h_v = log max_i |x_i|_v at "infinity" and at each prime where it is not 0.

    Their sum is the height of the point. Another scaling c x moves each by log |c|_v, and the
    sum by nothing, since prod_v |c|_v = 1.
    """
    values = _checked_point(point)
    largest = max(abs(value) for value in values)
    heights: dict[Place, float] = {INFINITE_PLACE: log_of_rational(largest)}
    denominators = math.lcm(*(value.denominator for value in values))
    numerators = math.gcd(*(value.numerator for value in values))
    for prime in sorted(factor(denominators).keys() | factor(numerators).keys()):
        least = min(valuation(value, prime) for value in values if value)
        if least:
            heights[prime] = -least * math.log(prime)
    return heights


def algebraic_height(minimal_polynomial: Sequence[int]) -> float:
    """h(alpha) = log M(f) / deg f for f the minimal polynomial of alpha over Z.

    M is Mahler's measure (Waldschmidt, Diophantine Approximation on Linear Algebraic Groups,
    lemma 3.10). A common factor of the coefficients is taken out first. For f that is no
    minimal polynomial this is the mean height of its roots.

    Args:
        minimal_polynomial: integers from the constant coefficient up.
    """
    primitive = primitive_part(minimal_polynomial)
    if len(primitive) < 2:
        raise ArgumentError(
            "minimal_polynomial", primitive, "degree 1 or more", "pass [-1, -1, 1] for phi"
        )
    return log_mahler_measure(primitive) / (len(primitive) - 1)


def rationals_of_height(bound: int) -> Iterator[Fraction]:
    """The finitely many rationals with H(x) <= bound (Northcott), in order of H; 0 comes first."""
    yield Fraction(0)
    for height in range(1, bound + 1):
        for other in range(1, height + 1):
            if math.gcd(height, other) == 1:
                for value in {Fraction(other, height), Fraction(height, other)}:
                    yield value
                    yield -value


def count_rationals(bound: int) -> int:
    """#{x in Q : H(x) <= B} = 4 (phi(1) + ... + phi(B)) - 1, of which 12 B^2/pi^2 is the leading
    term (Schanuel, Bull. Soc. Math. France 107, 1979)."""
    if bound < 1:
        return 0
    totients = list(range(bound + 1))
    for number in range(2, bound + 1):
        if totients[number] == number:
            for multiple in range(number, bound + 1, number):
                totients[multiple] -= totients[multiple] // number
    return 4 * sum(totients) - 1


def _checked_point(point: Sequence[int | Fraction]) -> list[Fraction]:
    values = [exact_rational("point", value) for value in point]
    if not any(values):
        raise ArgumentError(
            "point",
            f"{[str(value) for value in values]}",
            "some coordinate other than 0",
            "no projective point has all coordinates 0",
        )
    return values
