"""Adeles of Q, cut to finitely many places and digits, and the rationals among them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...errors import ArgumentError
from .p_adic import PAdic
from .primes import check_prime
from .rational import exact_rational


@dataclass(frozen=True)
class Adele:
    """(x_inf, x_p, x_q, ...): one number at each place, added and multiplied place by place.

    Only the listed primes are looked at; at all others an adele is an integer of Z_p, of which
    nothing is kept. Source: Cassels and Froehlich, Algebraic Number Theory, chapter II.14.

    Args:
        real: x_inf, exactly.
        finite: x_p for some primes p, each to its own precision.
    """

    real: Fraction
    finite: Mapping[int, PAdic]

    def __post_init__(self) -> None:
        exact_rational("real", self.real)
        for prime, part in self.finite.items():
            check_prime("finite", prime)
            if part.prime != prime:
                raise ArgumentError(
                    "finite",
                    f"a {part.prime}-adic number at {prime}",
                    f"{prime}-adic",
                    "fix the key",
                )

    @classmethod
    def of(cls, number: int | Fraction, primes: Sequence[int], precision: int) -> Adele:
        """A rational at every place: the diagonal embedding."""
        value = exact_rational("number", number)
        return cls(value, {prime: PAdic.of(value, prime, precision) for prime in primes})

    def __add__(self, other: Adele) -> Adele:
        return Adele(self.real + other.real, {p: a + b for p, a, b in self._pairs(other)})

    def __mul__(self, other: Adele) -> Adele:
        return Adele(self.real * other.real, {p: a * b for p, a, b in self._pairs(other)})

    def __neg__(self) -> Adele:
        return Adele(-self.real, {p: -a for p, a in self.finite.items()})

    def norm(self) -> Fraction:
        """prod_v |x_v|_v over the listed places: 1 for rationals made of their primes alone."""
        sizes = (part.absolute_value() for part in self.finite.values())
        return math.prod(sizes, start=abs(self.real))

    def nearest_rational(self) -> Fraction:
        """The rational x with x = x_p to the stated digits at every p, |x - x_inf| least, and no
        other prime in its denominator.

        Strong approximation: such numbers are the coset c + M Z of the solutions at the finite
        places, M = prod_p p^(N_p), so that x_inf is met to M/2 (Cassels and Froehlich, II.15).
        Halves are rounded down.
        """
        modulus = math.prod(
            (Fraction(p) ** a.precision for p, a in self.finite.items()), start=Fraction(1)
        )
        centre = solve_congruences(list(self.finite.values()))
        return centre + modulus * math.ceil((self.real - centre) / modulus - Fraction(1, 2))

    def _pairs(self, other: Adele) -> list[tuple[int, PAdic, PAdic]]:
        if self.finite.keys() != other.finite.keys():
            raise ArgumentError(
                "other", sorted(other.finite), f"the primes {sorted(self.finite)}", "list the same"
            )
        return [(p, a, other.finite[p]) for p, a in self.finite.items()]


def solve_congruences(parts: Sequence[PAdic]) -> Fraction:
    """The x in Z[1/p, 1/q, ...] with x = x_p + O(p^N_p) at each place, 0 <= x < prod p^N_p.

    The Chinese remainder theorem, after denominators are cleared.

    Raises:
        ArgumentError: for a prime that comes twice.
    """
    primes = [part.prime for part in parts]
    if len(set(primes)) < len(primes):
        raise ArgumentError("parts", primes, "each prime once", "give one number a prime")
    scale = math.prod(
        (Fraction(p.prime) ** max(0, -min(p.valuation, p.precision)) for p in parts),
        start=Fraction(1),
    )
    total, modulus = 0, 1
    for part in parts:
        scaled = PAdic.of(
            part.lift() * scale, part.prime, part.precision + _power(scale, part.prime)
        )
        size = part.prime**scaled.precision
        missing = (int(scaled.lift()) - total) * pow(modulus, -1, size) % size
        total, modulus = total + modulus * missing, modulus * size
    return total / scale


def rational_reconstruction(residue: int, modulus: int) -> Fraction | None:
    """The one a/b = residue modulo m with |a|, b <= sqrt(m/2) and b prime to m, or None.

    The remainders of Euclid's algorithm, stopped half-way (Wang, SYMSAC 1981; Cohen, 4.9).
    """
    if modulus < 2:
        raise ArgumentError("modulus", modulus, "2 or more", "multiply more primes")
    bound = math.isqrt(modulus // 2)
    before, remainder = modulus, residue % modulus
    previous, cofactor = 0, 1
    while remainder > bound:
        quotient = before // remainder
        before, remainder = remainder, before - quotient * remainder
        previous, cofactor = cofactor, previous - quotient * cofactor
    if cofactor == 0 or abs(cofactor) > bound or math.gcd(cofactor, modulus) != 1:
        return None
    return Fraction(remainder, cofactor)


def _power(scale: Fraction, prime: int) -> int:
    count, number = 0, scale.numerator
    while number % prime == 0:
        number, count = number // prime, count + 1
    return count
