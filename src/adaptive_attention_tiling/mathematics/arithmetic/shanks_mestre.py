"""Counting points of elliptic curves over large prime fields by baby steps and giant steps.

Sources: Cohen, A Course in Computational Algebraic Number Theory, algorithm 7.4.12; Schoof,
J. Theor. Nombres Bordeaux 7 (1995), section 3, for Mestre's use of the twist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .primes import factor
from .residue_symbols import jacobi_symbol

_Point = tuple[int, int] | None


@dataclass(frozen=True)
class _ShortCurve:
    """y^2 = x^3 + a x + b modulo p > 3; points are not checked."""

    a: int
    p: int

    def add(self, first: _Point, second: _Point) -> _Point:
        if first is None or second is None:
            return first if second is None else second
        (x, y), (u, v), p = first, second, self.p
        if x != u:
            slope = (v - y) * pow(u - x, -1, p) % p
        elif (y + v) % p:
            slope = (3 * x * x + self.a) * pow(2 * y, -1, p) % p
        else:
            return None
        w = (slope * slope - x - u) % p
        return w, (slope * (x - w) - y) % p

    def multiply(self, point: _Point, times: int) -> _Point:
        if times < 0:
            assert point is not None
            point, times = (point[0], -point[1] % self.p), -times
        total: _Point = None
        while times:
            if times & 1:
                total = self.add(total, point)
            point, times = self.add(point, point), times >> 1
        return total


def trace_by_giant_steps(a: int, b: int, prime: int) -> int:
    """a_p = p + 1 - #E(F_p) of y^2 = x^3 + a x + b, for p > 457, in about p^(1/4) steps.

    For x = 1, 2, ... and d = x^3 + a x + b the point (x d, d^2) lies on the curve with a d^2 and
    b d^3 in the place of a and b: it is E when d is a square, else its twist, whose trace is -a_p.
    The order of each point divides p + 1 - a_p or p + 1 + a_p; one trace within Hasse's bound is
    left in the end (Mestre).

    Args:
        a, b: integers, the discriminant prime to p.
        prime: p > 457, not checked to be prime.
    """
    bound = math.isqrt(4 * prime)
    left: list[int] | None = None
    x = 0
    while left is None or len(left) > 1:
        x += 1
        d = (x**3 + a * x + b) % prime
        sign = jacobi_symbol(d, prime)
        if sign == 0:
            continue
        curve = _ShortCurve(a * d * d % prime, prime)
        order = _order(curve, (x * d % prime, d * d % prime), bound)
        if left is not None:
            left = [t for t in left if (prime + 1 - sign * t) % order == 0]
        elif order > 2 * math.isqrt(bound):
            # Traces t with sign t = p + 1 modulo the order.
            first = -bound + (sign * (prime + 1) + bound) % order
            left = list(range(first, bound + 1, order))
    return left[0]


def _order(curve: _ShortCurve, point: tuple[int, int], bound: int) -> int:
    """The order of a point, from a multiple of it between p + 1 - bound and p + 1 + bound."""
    multiple = _annihilator(curve, point, bound)
    order = multiple
    for prime, exponent in factor(multiple).items():
        for _ in range(exponent):
            if curve.multiply(point, order // prime) is not None:
                break
            order //= prime
    return order


def _annihilator(curve: _ShortCurve, point: tuple[int, int], bound: int) -> int:
    """m with m P = O, |m - p - 1| <= bound: m = p + 1 + i (2 s + 1) +- j, j <= s."""
    size = math.isqrt(bound) + 1
    baby: dict[int, tuple[int, int]] = {}
    current: _Point = point
    for j in range(1, size + 1):
        if current is None:
            # The order is j; a multiple of it lies in every long interval.
            return j
        baby.setdefault(current[0], (j, current[1]))
        current = curve.add(current, point)
    stride = 2 * size + 1
    giant = curve.multiply(point, stride)
    centre = curve.p + 1
    reach = bound // stride + 1
    place = curve.multiply(point, centre - reach * stride)
    for i in range(-reach, reach + 1):
        if place is None:
            return centre + i * stride
        if place[0] in baby:
            j, y = baby[place[0]]
            return centre + i * stride + (-j if y == place[1] else j)
        place = curve.add(place, giant)
    raise AssertionError("Hasse's theorem gives a multiple in this interval")
