"""Global minimal models of elliptic curves over Q."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from .primes import factor, valuation


@dataclass(frozen=True)
class Substitution:
    """x = u^2 x' + r, y = u^3 y' + s u^2 x' + t: what keeps the form of a Weierstrass equation."""

    u: Fraction
    r: Fraction
    s: Fraction
    t: Fraction

    def apply(self, point: tuple[Fraction, Fraction] | None) -> tuple[Fraction, Fraction] | None:
        """The point (x', y') of (x, y)."""
        if point is None:
            return None
        x, y = point
        return (x - self.r) / self.u**2, (y - self.s * (x - self.r) - self.t) / self.u**3


@lru_cache(maxsize=256)
def reduced_invariants(c4: Fraction, c6: Fraction) -> tuple[Fraction, tuple[int, int, int]]:
    """u, and (a1, a2, a3) of the minimal model, from c4 and c6 of any model.

    The algorithm of Laska, Kraus and Connell as in Cremona, Algorithms for Modular Elliptic
    Curves, section 3.2: c4 = u^4 c4', c6 = u^6 c6' with u as large as Kraus' conditions at 2
    and 3 allow.
    """
    scale = math.lcm(c4.denominator, c6.denominator)
    # c4 scale^4 and c6 scale^6 are integers; a further 6 meets Kraus' conditions.
    scale *= 6
    integral4, integral6 = int(c4 * scale**4), int(c6 * scale**6)
    u = 1
    discriminant = (integral4**3 - integral6**2) // 1728
    for prime in factor(math.gcd(integral6**2, discriminant)):
        u *= prime ** _exponent(integral4, integral6, discriminant, prime)
    return Fraction(u, scale), _coefficients(integral4 // u**4, integral6 // u**6)


def _exponent(c4: int, c6: int, discriminant: int, prime: int) -> int:
    """The largest d with an integral model of c4 / p^(4d), c6 / p^(6d)."""
    squares = valuation(discriminant, prime)
    if c6:
        squares = min(squares, 2 * valuation(c6, prime))
    exponent = squares // 12
    if prime == 2:
        low4, low6 = c4 // 16**exponent % 16, c6 // 64**exponent % 32
        if low6 % 4 != 3 and not (low4 == 0 and low6 in (0, 8)):
            exponent -= 1
    elif prime == 3 and c6 and valuation(c6, 3) == 6 * exponent + 2:
        exponent -= 1
    return exponent


def _coefficients(c4: int, c6: int) -> tuple[int, int, int]:
    """(a1, a2, a3) with a1, a3 in {0, 1} and a2 in {-1, 0, 1}, from integral c4 and c6."""
    b2 = -c6 % 12
    if b2 > 6:
        b2 -= 12
    b4 = (b2 * b2 - c4) // 24
    b6 = (-(b2**3) + 36 * b2 * b4 - c6) // 216
    a1 = b2 % 2
    return a1, (b2 - a1) // 4, b6 % 2
