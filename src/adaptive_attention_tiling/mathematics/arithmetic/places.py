"""The places of Q: its absolute values, and the product formula that binds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from .primes import check_prime, factor, valuation
from .rational import exact_rational, log_of_rational

Place = int | Literal["infinity"]
INFINITE_PLACE: Literal["infinity"] = "infinity"


def absolute_value(number: int | Fraction, place: Place) -> Fraction:
    """|x|_v, exactly: the usual one at "infinity", p^(-v_p(x)) at a prime p; |0|_v = 0.

    By Ostrowski's theorem these are all the absolute values of Q up to powers
    (Koblitz, p-adic Numbers, theorem I.1).

    Raises:
        ArgumentError: for a place that is neither a prime nor "infinity".
    """
    value = exact_rational("number", number)
    if place == INFINITE_PLACE:
        return abs(value)
    check_prime("place", place)
    return Fraction(place) ** -valuation(value, place) if value else value


def log_absolute_value(number: int | Fraction, place: Place) -> float:
    """log |x|_v in nats; -inf for x = 0."""
    value = exact_rational("number", number)
    if value == 0:
        return -math.inf
    if place == INFINITE_PLACE:
        return log_of_rational(value)
    check_prime("place", place)
    return -valuation(value, place) * math.log(place)


def places_of(numbers: Sequence[int | Fraction]) -> list[Place]:
    """ "infinity" and the primes at which some of the nonzero numbers is no unit, in order."""
    primes: set[int] = set()
    for number in numbers:
        value = exact_rational("numbers", number)
        if value:
            primes |= factor(value.numerator).keys() | factor(value.denominator).keys()
    return [INFINITE_PLACE, *sorted(primes)]


def product_over_places(number: int | Fraction) -> Fraction:
    """prod_v |x|_v over all places, which is 1 for every x other than 0 (product formula)."""
    return math.prod(
        (absolute_value(number, place) for place in places_of([number])), start=Fraction(1)
    )
