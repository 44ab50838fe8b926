"""Heights as their definitions have them: slow, and what the fast ones are compared with."""

from __future__ import annotations

from fractions import Fraction

from ..elliptic_curve import EllipticCurve, Point
from ..rational_map import LinePoint, RationalMap
from .weil import rational_height


def naive_canonical_height(curve: EllipticCurve, point: Point, doublings: int) -> float:
    """h(x(2^n P)) / 4^n in exact Fractions, of 4^n times the digits of P; error O(4^-n)."""
    for _ in range(doublings):
        point = curve.add(point, point)
    return 0.0 if point is None else rational_height(point[0]) / 4.0**doublings


def naive_call_silverman_height(system: RationalMap, point: int | Fraction, steps: int) -> float:
    """h(f^n(x)) / d^n in exact Fractions, of d^n times the digits of x; error O(d^-n)."""
    current: LinePoint = Fraction(point)
    for _ in range(steps):
        current = system(current)
    return 0.0 if current is None else rational_height(current) / float(system.degree) ** steps
