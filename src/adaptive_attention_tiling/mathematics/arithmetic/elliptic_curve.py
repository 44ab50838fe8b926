"""Elliptic curves over Q in exact arithmetic: invariants, the group law, torsion, reduction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ...errors import ArgumentError
from .minimal_model import Substitution, reduced_invariants
from .primes import check_prime, valuation
from .rational import exact_rational
from .residue_symbols import jacobi_symbol

Point = tuple[Fraction, Fraction] | None
INFINITY: Point = None

Reduction = Literal["good", "split multiplicative", "nonsplit multiplicative", "additive"]

# No rational torsion point has another order (Mazur, 1977): 1 to 10, and 12.
_LARGEST_TORSION_ORDER = 12


@dataclass(frozen=True)
class EllipticCurve:
    """y^2 + a1 x y + a3 y = x^3 + a2 x^2 + a4 x + a6 over Q.

    Points are pairs (x, y) of Fractions, or INFINITY (None) for O, the neutral element.
    Source: Silverman, The Arithmetic of Elliptic Curves, chapter III, sections 1 and 2.

    Args:
        a1, a2, a3, a4, a6: ints or Fractions.

    Raises:
        ArgumentError: for a singular curve (discriminant 0) and for coefficients not exact.
    """

    a1: Fraction
    a2: Fraction
    a3: Fraction
    a4: Fraction
    a6: Fraction

    def __init__(
        self,
        a1: int | Fraction,
        a2: int | Fraction,
        a3: int | Fraction,
        a4: int | Fraction,
        a6: int | Fraction,
    ) -> None:
        given = {"a1": a1, "a2": a2, "a3": a3, "a4": a4, "a6": a6}
        for name, value in given.items():
            object.__setattr__(self, name, exact_rational(name, value))
        if self.discriminant == 0:
            raise ArgumentError(
                "curve",
                f"{[str(value) for value in self.coefficients]}, of discriminant 0",
                "a nonsingular curve",
                "change a coefficient: a singular cubic is no elliptic curve",
            )

    @property
    def coefficients(self) -> tuple[Fraction, Fraction, Fraction, Fraction, Fraction]:
        """(a1, a2, a3, a4, a6)."""
        return self.a1, self.a2, self.a3, self.a4, self.a6

    @property
    def b_invariants(self) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """(b2, b4, b6, b8), with (2y + a1 x + a3)^2 = 4 x^3 + b2 x^2 + 2 b4 x + b6."""
        a1, a2, a3, a4, a6 = self.coefficients
        b8 = a1**2 * a6 + 4 * a2 * a6 - a1 * a3 * a4 + a2 * a3**2 - a4**2
        return a1**2 + 4 * a2, 2 * a4 + a1 * a3, a3**2 + 4 * a6, b8

    @property
    def c_invariants(self) -> tuple[Fraction, Fraction]:
        """(c4, c6), with 1728 discriminant = c4^3 - c6^2."""
        b2, b4, b6, _ = self.b_invariants
        return b2**2 - 24 * b4, -(b2**3) + 36 * b2 * b4 - 216 * b6

    @property
    def discriminant(self) -> Fraction:
        """-b2^2 b8 - 8 b4^3 - 27 b6^2 + 9 b2 b4 b6."""
        b2, b4, b6, b8 = self.b_invariants
        return -(b2**2) * b8 - 8 * b4**3 - 27 * b6**2 + 9 * b2 * b4 * b6

    @property
    def j_invariant(self) -> Fraction:
        """c4^3 / discriminant, the same for curves isomorphic over the algebraic closure."""
        return self.c_invariants[0] ** 3 / self.discriminant

    def point(self, x: int | Fraction, y: int | Fraction) -> tuple[Fraction, Fraction]:
        """(x, y) as Fractions, after a check that it lies on the curve.

        Raises:
            ArgumentError: for a point off the curve.
        """
        point = exact_rational("x", x), exact_rational("y", y)
        if not self.contains(point):
            raise ArgumentError(
                "point", f"({x}, {y})", f"a point of {self}", "check both sides of its equation"
            )
        return point

    def contains(self, point: Point) -> bool:
        """Whether a point satisfies the equation; O lies on every curve."""
        if point is None:
            return True
        x, y = point
        left = y * (y + self.a1 * x + self.a3)
        return left == ((x + self.a2) * x + self.a4) * x + self.a6

    def negate(self, point: Point) -> Point:
        """-(x, y) = (x, -y - a1 x - a3)."""
        if point is None:
            return None
        x, y = point
        return x, -y - self.a1 * x - self.a3

    def add(self, first: Point, second: Point) -> Point:
        """P + Q by the chord and tangent law (Silverman, III.2.3); points are not checked."""
        if first is None or second is None:
            return first if second is None else second
        x, y = first
        if x != second[0]:
            slope = (second[1] - y) / (second[0] - x)
        else:
            if first == self.negate(second):
                return None
            slope = 3 * x * x + 2 * self.a2 * x + self.a4 - self.a1 * y
            slope /= 2 * y + self.a1 * x + self.a3
        x3 = slope * (slope + self.a1) - self.a2 - x - second[0]
        return self.negate((x3, y + slope * (x3 - x)))

    def multiply(self, point: Point, times: int) -> Point:
        """n P by doubling and adding; negative n gives -(|n| P)."""
        if times < 0:
            point, times = self.negate(point), -times
        total: Point = None
        while times:
            if times & 1:
                total = self.add(total, point)
            point, times = self.add(point, point), times >> 1
        return total

    def torsion_order(self, point: Point) -> int | None:
        """The least n >= 1 with n P = O, or None for points of infinite order.

        By Mazur's theorem (Publ. Math. IHES 47, 1977) no order exceeds 12, so that twelve
        multiples decide; fewer do where one has an x with 4x no integer on an integral model,
        which torsion has not (Silverman, VIII.7.1).
        """
        scale = 4 * math.lcm(*(a.denominator for a in self.coefficients)) ** 2
        multiple = point
        for order in range(1, _LARGEST_TORSION_ORDER + 1):
            if multiple is None:
                return order
            if scale % multiple[0].denominator:
                return None
            multiple = self.add(multiple, point)
        return None

    def substitute(self, change: Substitution) -> EllipticCurve:
        """The curve of (x', y'), where x = u^2 x' + r and y = u^3 y' + s u^2 x' + t."""
        u, r, s, t = change.u, change.r, change.s, change.t
        a1, a2, a3, a4, a6 = self.coefficients
        return EllipticCurve(
            (a1 + 2 * s) / u,
            (a2 - s * a1 + 3 * r - s * s) / u**2,
            (a3 + r * a1 + 2 * t) / u**3,
            (a4 - s * a3 + 2 * r * a2 - (t + r * s) * a1 + 3 * r * r - 2 * s * t) / u**4,
            (a6 + r * a4 + r * r * a2 + r**3 - t * a3 - t * t - r * t * a1) / u**6,
        )

    def minimal_substitution(self) -> Substitution:
        """The change of variables that leads to `minimal_model`."""
        c4, c6 = self.c_invariants
        u, (b1, b2, b3) = reduced_invariants(c4, c6)
        a1, a2, a3, _, _ = self.coefficients
        s = (u * b1 - a1) / 2
        r = (u**2 * b2 - a2 + s * a1 + s * s) / 3
        t = (u**3 * b3 - a3 - r * a1) / 2
        return Substitution(u, r, s, t)

    def minimal_model(self) -> EllipticCurve:
        """The isomorphic curve of integers with the least discriminant at every prime.

        The one with a1, a3 in {0, 1} and a2 in {-1, 0, 1}, which is unique.
        """
        return self.substitute(self.minimal_substitution())

    def reduction(self, prime: int) -> Reduction:
        """How the minimal model reduces modulo a prime (Silverman, VII.5).

        Raises:
            ArgumentError: for p that is no prime.
        """
        check_prime("prime", prime)
        model = self.minimal_model()
        if valuation(model.discriminant, prime) == 0:
            return "good"
        c4, c6 = model.c_invariants
        if c4 == 0 or valuation(c4, prime) > 0:
            return "additive"
        split = _has_slopes_mod_2(model) if prime == 2 else jacobi_symbol(int(-c6), prime) == 1
        return "split multiplicative" if split else "nonsplit multiplicative"

    def __str__(self) -> str:
        a1, a2, a3, a4, a6 = self.coefficients
        return f"y^2 + {a1} x y + {a3} y = x^3 + {a2} x^2 + {a4} x + {a6}"


def _has_slopes_mod_2(model: EllipticCurve) -> bool:
    """Whether the tangents at the node modulo 2, T^2 + a1 T = a2 + x0, have slopes in F_2.

    a1 is odd, or the reduction were additive; then T^2 + T = 0 for both T, so that slopes exist
    just when a2 + x0 is even. Both partial derivatives vanish at the node: x0 = a3.
    """
    return (int(model.a2) + int(model.a3)) % 2 == 0
