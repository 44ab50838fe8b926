"""Rational numbers as callers give them."""

from __future__ import annotations

import math
from fractions import Fraction

from ...errors import ArgumentError


def exact_rational(name: str, value: object) -> Fraction:
    """The Fraction of an int or Fraction; floats are refused, since they seldom are what they show.

    Raises:
        ArgumentError: for anything else, naming the argument.
    """
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        raise ArgumentError(
            name, f"{value!r}", "an int or a Fraction", "pass Fraction(numerator, denominator)"
        )
    return Fraction(value)


def log_of_rational(value: Fraction) -> float:
    """log |x| in nats, to the last digit or so, however long numerator and denominator are."""
    numerator, denominator = abs(value.numerator), value.denominator
    shift = numerator.bit_length() - denominator.bit_length()
    if abs(shift) < 1000:
        return math.log(numerator / denominator)
    return math.log(numerator) - math.log(denominator)
