"""Hilbert symbols: at which places a x^2 + b y^2 = z^2 has solutions."""

from __future__ import annotations

from fractions import Fraction

from ...errors import ArgumentError
from .places import INFINITE_PLACE, Place, places_of
from .primes import check_prime, valuation
from .rational import exact_rational
from .residue_symbols import jacobi_symbol


def hilbert_symbol(first: int | Fraction, second: int | Fraction, place: Place) -> int:
    """(a, b)_v = 1 if a x^2 + b y^2 = z^2 has a solution other than 0 in Q_v, and else -1.

    With a = p^s u and b = p^t w, u and w units at p, and for odd p

        (a, b)_p = (-1)^(s t (p-1)/2) (u/p)^t (w/p)^s;
        (a, b)_2 = (-1)^(e(u) e(w) + s o(w) + t o(u)),  e(u) = (u-1)/2,  o(u) = (u^2-1)/8;

    (a, b)_inf = -1 just where both are negative.
    Source: Serre, A Course in Arithmetic, chapter III, theorem 1.

    Raises:
        ArgumentError: for a or b zero, and for a place neither "infinity" nor prime.
    """
    a, b = (_nonzero(name, value) for name, value in (("first", first), ("second", second)))
    if place == INFINITE_PLACE:
        return -1 if a < 0 and b < 0 else 1
    check_prime("place", place)
    s, t = valuation(a, place), valuation(b, place)
    u, w = (_unit_modulo(value, place) for value in (a, b))
    if place == 2:
        exponent = (u // 2) * (w // 2) + s * ((w * w - 1) // 8) + t * ((u * u - 1) // 8)
        return -1 if exponent % 2 else 1
    sign = -1 if s * t * (place // 2) % 2 else 1
    if t % 2:
        sign *= jacobi_symbol(u, place)
    return sign * jacobi_symbol(w, place) if s % 2 else sign


def hilbert_symbols(first: int | Fraction, second: int | Fraction) -> dict[Place, int]:
    """(a, b)_v at "infinity", at 2 and at each prime of a or b; at all others it is 1."""
    a, b = (_nonzero(name, value) for name, value in (("first", first), ("second", second)))
    return {place: hilbert_symbol(a, b, place) for place in places_of([a, b, 2])}


def product_of_hilbert_symbols(first: int | Fraction, second: int | Fraction) -> int:
    """prod_v (a, b)_v over all places, which is 1 (Hilbert; Serre, chapter III, theorem 3)."""
    product = 1
    for symbol in hilbert_symbols(first, second).values():
        product *= symbol
    return product


def _nonzero(name: str, value: int | Fraction) -> Fraction:
    number = exact_rational(name, value)
    if number == 0:
        raise ArgumentError(name, 0, "a number other than 0", "symbols are of nonzero numbers")
    return number


def _unit_modulo(value: Fraction, prime: int) -> int:
    """x p^(-v_p(x)) modulo p, or modulo 8 where p is 2."""
    modulus = 8 if prime == 2 else prime
    unit = value / Fraction(prime) ** valuation(value, prime)
    return unit.numerator * pow(unit.denominator, -1, modulus) % modulus
