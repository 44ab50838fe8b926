"""Rational maps of the projective line over Q, as pairs of coprime integral forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...errors import ArgumentError
from .rational import exact_rational

# A point of the projective line over Q: x, or None for infinity.
LinePoint = Fraction | None


@dataclass(frozen=True)
class RationalMap:
    """f(x) = (p_0 + ... + p_d x^d) / (q_0 + ... + q_d x^d), of degree d >= 1.

    Kept as integers without a common factor, both rows padded to d + 1:
    F(X, Z) = (sum_i p_i X^i Z^(d-i), sum_i q_i X^i Z^(d-i)).

    Args:
        numerator: p_0, p_1, ..., ints or Fractions, the constant one first.
        denominator: q_0, q_1, ...; (1,) makes f a polynomial.

    Raises:
        ArgumentError: for constants, and for rows with a common root.
    """

    numerator: tuple[int, ...]
    denominator: tuple[int, ...]

    def __init__(
        self, numerator: Sequence[int | Fraction], denominator: Sequence[int | Fraction] = (1,)
    ) -> None:
        rows = _integral(numerator, denominator)
        object.__setattr__(self, "numerator", rows[0])
        object.__setattr__(self, "denominator", rows[1])
        if self.degree < 1:
            raise ArgumentError("numerator", "a constant map", "degree >= 1", "add a power of x")
        if self.resultant == 0:
            raise ArgumentError(
                "denominator",
                f"a root in common: {self}",
                "rows without a common root",
                "cancel the common factor",
            )

    @property
    def degree(self) -> int:
        """d, the larger of the degrees of numerator and denominator."""
        return len(self.numerator) - 1

    @property
    def is_polynomial(self) -> bool:
        """Whether infinity is the only point that goes to infinity."""
        return not any(self.denominator[1:])

    @property
    def coefficients(self) -> tuple[Fraction, ...]:
        """a_0, ..., a_d of a polynomial.

        Raises:
            ArgumentError: for maps that are no polynomials.
        """
        if not self.is_polynomial:
            raise ArgumentError("map", f"{self}", "a polynomial", "leave the denominator out")
        return tuple(Fraction(p, self.denominator[0]) for p in self.numerator)

    @property
    def resultant(self) -> int:
        """Res(F), the determinant of `sylvester_matrix`: primes that divide it are bad."""
        return determinant(self.sylvester_matrix())

    def sylvester_matrix(self) -> list[list[int]]:
        """[2d, 2d]: the coefficients of X^j Z^(d-1-j) F_0 and X^j Z^(d-1-j) F_1, j < d."""
        d = self.degree
        return [
            [0] * j + list(row) + [0] * (d - 1 - j)
            for row in (self.numerator, self.denominator)
            for j in range(d)
        ]

    def __call__(self, point: int | Fraction | None) -> LinePoint:
        """f(x), with None for infinity."""
        x, z = self.form(*homogeneous(point))
        return Fraction(x, z) if z else None

    def form(self, x: int, z: int) -> tuple[int, int]:
        """F(X, Z), not reduced."""
        first = second = 0
        power = 1
        for p, q in zip(reversed(self.numerator), reversed(self.denominator), strict=True):
            first, second = first * x + p * power, second * x + q * power
            power *= z
        return first, second

    def __str__(self) -> str:
        return f"{list(self.numerator)} over {list(self.denominator)}"


def homogeneous(point: int | Fraction | None) -> tuple[int, int]:
    """The coprime integers (X, Z) of x = X/Z; (1, 0) for infinity."""
    if point is None:
        return 1, 0
    value = exact_rational("point", point)
    return value.numerator, value.denominator


def determinant(matrix: Sequence[Sequence[int]]) -> int:
    """The determinant of integers by Bareiss' elimination, in which every division is exact
    (Math. Comp. 22, 1968)."""
    rows = [list(row) for row in matrix]
    sign, previous = 1, 1
    for column in range(len(rows)):
        pivot = next((i for i in range(column, len(rows)) if rows[i][column]), None)
        if pivot is None:
            return 0
        if pivot != column:
            rows[column], rows[pivot], sign = rows[pivot], rows[column], -sign
        top = rows[column]
        for row in rows[column + 1 :]:
            for j in range(len(rows) - 1, column - 1, -1):
                row[j] = (row[j] * top[column] - row[column] * top[j]) // previous
        previous = top[column]
    return sign * previous


def _integral(
    numerator: Sequence[int | Fraction], denominator: Sequence[int | Fraction]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rows = [
        [exact_rational(name, value) for value in row]
        for name, row in (("numerator", numerator), ("denominator", denominator))
    ]
    for row in rows:
        while row and row[-1] == 0:
            row.pop()
    if not rows[1]:
        raise ArgumentError("denominator", "0", "a polynomial other than 0", "pass (1,)")
    width = max(map(len, rows))
    padded = [value for row in rows for value in row + [Fraction(0)] * (width - len(row))]
    scale = math.lcm(*(value.denominator for value in padded))
    integers = [int(value * scale) for value in padded]
    common = math.gcd(*integers)
    integers = [value // common for value in integers]
    return tuple(integers[:width]), tuple(integers[width:])
