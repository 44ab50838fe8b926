"""Rationals as vectors of valuations: multiplication becomes addition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...errors import ArgumentError
from .primes import check_prime, factor, valuation
from .rational import exact_rational


@dataclass(frozen=True)
class PrimeVector:
    """+-prod_i p_i^(e_i), as a sign and the exponents over the primes of a base.

    The group of such numbers is {1, -1} x Z^k. The order of divisibility makes it a lattice:
    `gcd` and `lcm` are the least and the largest exponent at each prime.

    Args:
        base: the `PrimeBase` whose primes the exponents belong to.
        sign: 1 or -1.
        exponents: one integer a prime.
    """

    base: PrimeBase
    sign: int
    exponents: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.sign not in (1, -1) or len(self.exponents) != len(self.base.primes):
            raise ArgumentError(
                "exponents",
                f"sign {self.sign}, {len(self.exponents)} exponents",
                f"sign 1 or -1 and {len(self.base.primes)} exponents",
                "ask PrimeBase.vector for the vector of a rational",
            )

    def value(self) -> Fraction:
        """The rational number."""
        pairs = zip(self.base.primes, self.exponents, strict=True)
        return math.prod((Fraction(p) ** e for p, e in pairs), start=Fraction(self.sign))

    def height(self) -> float:
        """Weil's height, max(sum of e_i log p_i over e_i > 0, the same of -e_i over e_i < 0)."""
        logs = [e * math.log(p) for p, e in zip(self.base.primes, self.exponents, strict=True)]
        return max(math.fsum(x for x in logs if x > 0), -math.fsum(x for x in logs if x < 0))

    def gcd(self, other: PrimeVector) -> PrimeVector:
        """The least exponent at each prime, with sign 1."""
        return PrimeVector(self.base, 1, tuple(map(min, self._pairs(other))))

    def lcm(self, other: PrimeVector) -> PrimeVector:
        """The largest exponent at each prime, with sign 1."""
        return PrimeVector(self.base, 1, tuple(map(max, self._pairs(other))))

    def divides(self, other: PrimeVector) -> bool:
        """Whether other / self is an integer."""
        return all(mine <= theirs for mine, theirs in self._pairs(other))

    def __mul__(self, other: PrimeVector) -> PrimeVector:
        sums = tuple(map(sum, self._pairs(other)))
        return PrimeVector(self.base, self.sign * other.sign, sums)

    def __pow__(self, power: int) -> PrimeVector:
        return PrimeVector(
            self.base, self.sign ** abs(power), tuple(power * e for e in self.exponents)
        )

    def __truediv__(self, other: PrimeVector) -> PrimeVector:
        return self * other**-1

    def _pairs(self, other: PrimeVector) -> list[tuple[int, int]]:
        if self.base != other.base:
            raise ArgumentError(
                "other", f"base {other.base.primes}", f"{self.base.primes}", "use one base"
            )
        return list(zip(self.exponents, other.exponents, strict=True))


@dataclass(frozen=True)
class PrimeBase:
    """A finite set of primes, in increasing order; numbers made of them are its S-units.

    Raises:
        ArgumentError: for composite numbers, each told with a factor, and primes given twice.
    """

    primes: tuple[int, ...]

    def __init__(self, primes: Sequence[int]) -> None:
        for prime in primes:
            check_prime("primes", prime)
        if len(set(primes)) < len(primes):
            raise ArgumentError("primes", list(primes), "each prime once", "leave copies out")
        object.__setattr__(self, "primes", tuple(sorted(primes)))

    @classmethod
    def of(cls, *numbers: int | Fraction) -> PrimeBase:
        """The primes of some nonzero rationals."""
        values = [exact_rational("numbers", number) for number in numbers]
        parts = [part for value in values for part in (value.numerator, value.denominator)]
        return cls(sorted({prime for part in parts for prime in factor(part)}))

    def vector(self, number: int | Fraction) -> PrimeVector:
        """The sign and valuations of a rational.

        Raises:
            ArgumentError: for 0, and for numbers with a prime outside of the base.
        """
        value = exact_rational("number", number)
        if value == 0:
            raise ArgumentError("number", 0, "a number other than 0", "0 has no valuations")
        found = PrimeVector(
            self, 1 if value > 0 else -1, tuple(valuation(value, p) for p in self.primes)
        )
        rest = value / found.value()
        if rest != 1:
            raise ArgumentError(
                "number",
                f"{value}, with {rest} left over",
                f"a product of powers of {list(self.primes)}",
                "add its primes with PrimeBase.of",
            )
        return found

    def relations(self, numbers: Sequence[int | Fraction]) -> int:
        """How many independent multiplicative relations prod x_i^(m_i) = +-1 the numbers have.

        Their count less the rank of their valuations, by exact elimination.
        """
        rows = [[Fraction(e) for e in self.vector(x).exponents] for x in numbers]
        return len(rows) - _rank(rows)


def _rank(rows: list[list[Fraction]]) -> int:
    rank = 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for row in rows[rank + 1 :]:
            ratio = row[column] / rows[rank][column]
            row[:] = [x - ratio * y for x, y in zip(row, rows[rank], strict=True)]
        rank += 1
    return rank
