"""Vector bundles by their characteristic classes, exact over Q.

A genus is given by its series Q(z) in Chern roots x_i, or in Pontryagin roots z_i = x_i^2:
prod_i Q(z_i) = exp sum_k q_k s_k, where log Q = sum_k q_k z^k and s_k = sum_i z_i^k.
Source: Hirzebruch, Topological Methods in Algebraic Geometry (1966), sections 1 and 10; Milnor and
Stasheff, Characteristic Classes (1974), sections 14, 15 and 19.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ....errors import ArgumentError
from .rational_ring import RationalClass


@dataclass(frozen=True)
class ComplexBundle:
    """A complex bundle of some rank, from its total Chern class 1 + c_1 + c_2 + ..."""

    rank: int
    chern: RationalClass

    def __post_init__(self) -> None:
        _check_total("chern", self.chern, 2, 2 * max(0, self.rank))

    def __add__(self, other: ComplexBundle) -> ComplexBundle:
        """The sum, c(E + F) = c(E) c(F)."""
        return ComplexBundle(self.rank + other.rank, self.chern * other.chern)

    def __mul__(self, other: ComplexBundle) -> ComplexBundle:
        """The tensor product, ch(E F) = ch(E) ch(F)."""
        return from_chern_character(self.chern_character() * other.chern_character())

    def chern_class(self, k: int) -> RationalClass:
        """c_k, of degree 2 k."""
        return self.chern.part(2 * k)

    def dual(self) -> ComplexBundle:
        """c_k(E*) = (-1)^k c_k(E)."""
        return ComplexBundle(self.rank, _signed(self.chern))

    def chern_character(self) -> RationalClass:
        """ch = rank + sum_k s_k / k!."""
        sums = [s * Fraction(1, math.factorial(k)) for k, s in _power_sums(self.chern, 2)]
        return sum(sums, self.chern.ring.constant(self.rank))

    def todd(self) -> RationalClass:
        """prod x_i / (1 - e^(-x_i)) = 1 + c_1 / 2 + (c_1^2 + c_2) / 12 + ..."""
        top = self.chern.ring.top // 2
        series = [Fraction((-1) ** k, math.factorial(k + 1)) for k in range(top + 1)]
        return _genus(self.chern, 2, [-q for q in _log(series)])

    def euler(self) -> RationalClass:
        """The top Chern class."""
        return self.chern_class(self.rank)

    def pontryagin(self) -> RationalClass:
        """1 - p_1 + p_2 - ... = c(E) c(E*), so that p_1 = c_1^2 - 2 c_2."""
        return _signed(self.chern * self.dual().chern, 4)

    def real(self) -> RealBundle:
        """The bundle without its complex structure."""
        return RealBundle(2 * self.rank, self.pontryagin(), self.euler())


@dataclass(frozen=True)
class RealBundle:
    """An oriented real bundle, from 1 + p_1 + p_2 + ... and its Euler class."""

    rank: int
    pontryagin: RationalClass
    euler: RationalClass

    def __post_init__(self) -> None:
        _check_total("pontryagin", self.pontryagin, 4, 2 * max(0, self.rank))

    def __add__(self, other: RealBundle) -> RealBundle:
        """The sum, p(E + F) = p(E) p(F) over Q and e(E + F) = e(E) e(F)."""
        return RealBundle(
            self.rank + other.rank, self.pontryagin * other.pontryagin, self.euler * other.euler
        )

    def pontryagin_class(self, k: int) -> RationalClass:
        """p_k, of degree 4 k."""
        return self.pontryagin.part(4 * k)

    def a_hat(self) -> RationalClass:
        """prod (x_i / 2) / sinh(x_i / 2) = 1 - p_1 / 24 + (7 p_1^2 - 4 p_2) / 5760 + ..."""
        top = self.pontryagin.ring.top // 4
        sinh = [Fraction(1, 4**k * math.factorial(2 * k + 1)) for k in range(top + 1)]
        return _genus(self.pontryagin, 4, [-q for q in _log(sinh)])

    def l_genus(self) -> RationalClass:
        """prod x_i / tanh x_i = 1 + p_1 / 3 + (7 p_2 - p_1^2) / 45 + ..."""
        top = self.pontryagin.ring.top // 4
        sinh = [Fraction(1, math.factorial(2 * k + 1)) for k in range(top + 1)]
        cosh = [Fraction(1, math.factorial(2 * k)) for k in range(top + 1)]
        series = [a - b for a, b in zip(_log(cosh), _log(sinh), strict=True)]
        return _genus(self.pontryagin, 4, series)


def line_bundle(first: RationalClass) -> ComplexBundle:
    """The line bundle of a given first Chern class."""
    return ComplexBundle(1, first + 1)


def from_chern_character(character: RationalClass) -> ComplexBundle:
    """The bundle of a given Chern character, c = exp sum_k (-1)^(k-1) (k-1)! ch_k."""
    rank = character.constant()
    if rank.denominator != 1 or rank < 0:
        raise ArgumentError("character", f"rank {rank}", "a rank >= 0", "subtract less")
    log = [
        character.part(2 * k) * ((-1) ** (k - 1) * math.factorial(k - 1))
        for k in range(1, character.ring.top // 2 + 1)
    ]
    return ComplexBundle(int(rank), sum(log, character.ring.constant(0)).exp())


def _power_sums(total: RationalClass, step: int) -> list[tuple[int, RationalClass]]:
    """(k, s_k), since log prod (1 + z_i) = sum_k (-1)^(k-1) s_k / k; roots have degree `step`."""
    log = total.log()
    count = total.ring.top // step
    return [(k, log.part(step * k) * ((-1) ** (k - 1) * k)) for k in range(1, count + 1)]


def _genus(total: RationalClass, step: int, series: list[Fraction]) -> RationalClass:
    """exp sum_k q_k s_k of the roots of a total class."""
    terms = (s * series[k] for k, s in _power_sums(total, step))
    return sum(terms, total.ring.constant(0)).exp()


def _log(series: list[Fraction]) -> list[Fraction]:
    """The coefficients of log of a power series a_0 = 1: k a_k = sum_j j q_j a_(k-j)."""
    found = [Fraction(0)]
    for k in range(1, len(series)):
        rest = sum((j * found[j] * series[k - j] for j in range(1, k)), Fraction(0))
        found.append(series[k] - rest / k)
    return found


def _signed(total: RationalClass, step: int = 2) -> RationalClass:
    """(-1)^k times each part of degree step k."""
    parts = [total.part(step * k) * (-1) ** k for k in range(total.ring.top // step + 1)]
    return sum(parts, total.ring.constant(0))


def _check_total(name: str, total: RationalClass, step: int, most: int) -> None:
    degrees = {total.ring.degree_of(powers) for powers in total.terms}
    wrong = [d for d in degrees if d % step or d > most]
    if total.constant() != 1 or wrong:
        raise ArgumentError(
            name,
            f"{total}",
            f"1 + parts of degrees divisible by {step}, at most {most}",
            "pass a total class, and the rank of its bundle",
        )
