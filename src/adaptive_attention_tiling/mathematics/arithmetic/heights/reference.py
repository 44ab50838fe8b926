"""Heights as their definitions have them: slow, and what the fast ones are compared with."""

from __future__ import annotations

from ..elliptic_curve import EllipticCurve, Point
from .weil import rational_height


def naive_canonical_height(curve: EllipticCurve, point: Point, doublings: int) -> float:
    """h(x(2^n P)) / 4^n in exact Fractions, of 4^n times the digits of P; error O(4^-n)."""
    for _ in range(doublings):
        point = curve.add(point, point)
    return 0.0 if point is None else rational_height(point[0]) / 4.0**doublings
