"""Truncated polynomial rings over Q: the even cohomology in which characteristic classes live."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ....errors import ArgumentError

Rational = int | Fraction
Monomial = tuple[int, ...]


@dataclass(frozen=True)
class RationalRing:
    """Q[x_1, .., x_r] / (x_i^(h_i + 1)), with the integral of its top monomial.

    Args:
        names: of the generators.
        degrees: of each in cohomology, positive and even.
        heights: h_i >= 1, the highest power of each that is not 0.
        volume: the integral of x_1^h_1 .. x_r^h_r over the manifold.
    """

    names: tuple[str, ...]
    degrees: tuple[int, ...]
    heights: tuple[int, ...]
    volume: Rational = 1

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.degrees) == len(self.heights):
            raise ArgumentError(
                "names", self.names, "as many as degrees and heights", "name each generator"
            )
        if any(d < 2 or d % 2 for d in self.degrees) or any(h < 1 for h in self.heights):
            raise ArgumentError(
                "degrees, heights",
                f"{self.degrees}, {self.heights}",
                "even degrees >= 2 and heights >= 1",
                "leave out generators that vanish",
            )

    @property
    def top(self) -> int:
        """The degree of the top monomial, which is the manifold's dimension."""
        return sum(d * h for d, h in zip(self.degrees, self.heights, strict=True))

    def constant(self, value: Rational) -> RationalClass:
        """A number as a class of degree 0."""
        return RationalClass(self, {(0,) * len(self.names): Fraction(value)})

    def generator(self, place: int = 0) -> RationalClass:
        """x_(place + 1)."""
        powers = [0] * len(self.names)
        powers[place] = 1
        return RationalClass(self, {tuple(powers): Fraction(1)})

    def tensor(self, other: RationalRing) -> RationalRing:
        """The ring of a product of manifolds; generators of `other` come last."""
        return RationalRing(
            self.names + other.names,
            self.degrees + other.degrees,
            self.heights + other.heights,
            Fraction(self.volume) * Fraction(other.volume),
        )

    def degree_of(self, powers: Monomial) -> int:
        """The degree of a monomial."""
        return sum(d * p for d, p in zip(self.degrees, powers, strict=True))


@dataclass(frozen=True)
class RationalClass:
    """A class with coefficients in Q, as powers of the generators -> coefficient."""

    ring: RationalRing
    terms: dict[Monomial, Fraction]

    def __post_init__(self) -> None:
        kept = {p: Fraction(c) for p, c in self.terms.items() if c and self._lives(p)}
        object.__setattr__(self, "terms", kept)

    def __add__(self, other: RationalClass | Rational) -> RationalClass:
        terms = dict(self.terms)
        for powers, value in self._same_ring(other).terms.items():
            terms[powers] = terms.get(powers, Fraction(0)) + value
        return RationalClass(self.ring, terms)

    def __mul__(self, other: RationalClass | Rational) -> RationalClass:
        terms: dict[Monomial, Fraction] = {}
        for p, a in self.terms.items():
            for q, b in self._same_ring(other).terms.items():
                powers = tuple(i + j for i, j in zip(p, q, strict=True))
                if self._lives(powers):
                    terms[powers] = terms.get(powers, Fraction(0)) + a * b
        return RationalClass(self.ring, terms)

    def __neg__(self) -> RationalClass:
        return self * -1

    def __sub__(self, other: RationalClass | Rational) -> RationalClass:
        return self + -self._same_ring(other)

    def __pow__(self, power: int) -> RationalClass:
        if power < 0:
            return self.inverse() ** -power
        product = self.ring.constant(1)
        for _ in range(power):
            product = product * self
        return product

    __radd__, __rmul__ = __add__, __mul__

    def __hash__(self) -> int:
        return hash((self.ring, frozenset(self.terms.items())))

    def part(self, degree: int) -> RationalClass:
        """The part of one degree in cohomology."""
        own = {p: c for p, c in self.terms.items() if self.ring.degree_of(p) == degree}
        return RationalClass(self.ring, own)

    def constant(self) -> Fraction:
        """The coefficient in degree 0."""
        return self.terms.get((0,) * len(self.ring.names), Fraction(0))

    def integral(self) -> Fraction:
        """Over the manifold; classes below the top degree integrate to 0."""
        return self.terms.get(self.ring.heights, Fraction(0)) * self.ring.volume

    def exp(self) -> RationalClass:
        """sum x^k / k!, of a class without constant."""
        self._check_constant(0, "exp")
        return self.series([Fraction(1, math.factorial(k)) for k in range(self.ring.top // 2 + 1)])

    def log(self) -> RationalClass:
        """sum -(1 - x)^k / k, of a class with constant 1."""
        self._check_constant(1, "log")
        top = self.ring.top // 2
        return -(1 - self).series([Fraction(0), *(Fraction(1, k) for k in range(1, top + 1))])

    def inverse(self) -> RationalClass:
        """1 / x, of a class whose constant is not 0."""
        constant = self.constant()
        if not constant:
            raise ArgumentError("class", "constant 0", "a constant that is not 0", "add one")
        rest = 1 - self * (1 / constant)
        return rest.series([Fraction(1)] * (self.ring.top // 2 + 1)) * (1 / constant)

    def series(self, coefficients: list[Fraction]) -> RationalClass:
        """sum_k a_k x^k, by Horner."""
        value = self.ring.constant(0)
        for coefficient in reversed(coefficients):
            value = value * self + coefficient
        return value

    def __rsub__(self, other: Rational) -> RationalClass:
        return -self + other

    def __str__(self) -> str:
        def told(powers: Monomial, value: Fraction) -> str:
            names = [
                name if power == 1 else f"{name}^{power}"
                for name, power in zip(self.ring.names, powers, strict=True)
                if power
            ]
            return " ".join([str(value)] * (value != 1 or not names) + names)

        ordered = sorted(self.terms.items(), key=lambda t: (self.ring.degree_of(t[0]), t[0]))
        return " + ".join(told(*term) for term in ordered) or "0"

    def _lives(self, powers: Monomial) -> bool:
        return all(p <= h for p, h in zip(powers, self.ring.heights, strict=True))

    def _same_ring(self, other: RationalClass | Rational) -> RationalClass:
        if not isinstance(other, RationalClass):
            return self.ring.constant(other)
        if other.ring != self.ring:
            raise ArgumentError(
                "class", f"of {other.ring}", f"of {self.ring}", "pull both back to the product"
            )
        return other

    def _check_constant(self, expected: int, name: str) -> None:
        if self.constant() != expected:
            raise ArgumentError(
                "class", f"constant {self.constant()}", f"{expected}", f"{name} needs it"
            )
