"""Anomalies of chiral fermions in exact fractions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations_with_replacement
from math import factorial, prod
from typing import NamedTuple

from ...errors import ArgumentError

Rational = int | Fraction
Exponents = tuple[int, ...]


def anomaly_polynomial(
    charges: Iterable[tuple[Sequence[Rational], Rational]], degree: int
) -> dict[Exponents, Fraction]:
    """I(F) = sum over fermions of m (q . F)^degree / degree!, of several U(1) at once.

    In 2 k - 2 dimensions the gauge anomaly has degree k: 3 in four dimensions, 2 in two. The
    theory has no gauge anomaly if every coefficient is 0.

    Args:
        charges: (q, m) for each left-handed (or right-moving) Weyl fermion: its charges under
            each U(1), whole or Fractions, and how many there are of it; -m of the other hand.
        degree: of the polynomial, >= 1.

    Returns:
        Nonzero coefficients by exponents of the F of each U(1).

    Bertlmann, Anomalies in Quantum Field Theory (1996), section 11.4.
    """
    fermions = checked_charges(charges)
    if degree < 1:
        raise ArgumentError("degree", degree, "a whole number >= 1", "pass d / 2 + 1")
    groups = len(fermions[0][0]) if fermions else 0
    polynomial = {}
    for factors in combinations_with_replacement(range(groups), degree):
        exponents = tuple(factors.count(group) for group in range(groups))
        total = sum(
            (m * prod((q[group] for group in factors), start=Fraction(1)) for q, m in fermions),
            Fraction(0),
        )
        if total:
            polynomial[exponents] = total / prod(factorial(e) for e in exponents)
    return polynomial


class HyperchargeAnomalies(NamedTuple):
    """Sums that must vanish for hypercharge to be gauged."""

    cubic: Fraction
    """Sum of Y^3."""
    gravitational: Fraction
    """Sum of Y."""
    strong: Fraction
    """Sum of Y over colour triplets: SU(3)^2 U(1)."""
    weak: Fraction
    """Sum of Y over weak doublets: SU(2)^2 U(1)."""


def hypercharge_anomalies(
    fields: Iterable[tuple[Rational, int, int]],
) -> HyperchargeAnomalies:
    """The four anomalies of hypercharge for left-handed fields.

    Args:
        fields: (Y, colours, doublet) of each left-handed field: its hypercharge, 3 (or 1) colours
            (a triplet or its conjugate), 2 (or 1) weak partners. One family of the standard
            model, with Q = T_3 + Y, is (1/6, 3, 2), (-2/3, 3, 1), (1/3, 3, 1), (-1/2, 1, 2),
            (1, 1, 1).

    Peskin and Schroeder, An Introduction to Quantum Field Theory (1995), section 20.2.
    """
    listed = [(_exact("fields", y), colours, weak) for y, colours, weak in fields]
    for _, colours, weak in listed:
        if colours not in (1, 3) or weak not in (1, 2):
            raise ArgumentError(
                "fields",
                f"sizes ({colours}, {weak})",
                "1 or 3 colours, 1 or 2 partners",
                "list (Y, colours, doublet)",
            )
    zero = Fraction(0)
    return HyperchargeAnomalies(
        sum((c * w * y**3 for y, c, w in listed), zero),
        sum((c * w * y for y, c, w in listed), zero),
        sum((w * y for y, c, w in listed if c == 3), zero),
        sum((c * y for y, c, w in listed if w == 2), zero),
    )


def check_colours(colours: int) -> None:
    """Raise unless there is an SU(N)."""
    if colours < 2:
        raise ArgumentError("colours", colours, "a whole number >= 2", "pass N of SU(N)")


def checked_charges(
    charges: Iterable[tuple[Sequence[Rational], Rational]],
) -> list[tuple[list[Fraction], Fraction]]:
    """Charges and numbers as Fractions, as many charges of each."""
    listed = [([_exact("charges", q) for q in qs], _exact("charges", m)) for qs, m in charges]
    if len({len(qs) for qs, _ in listed}) > 1:
        raise ArgumentError(
            "charges", "fermions with unlike numbers of charges", "one for each U(1)", "pass 0 too"
        )
    return listed


def _exact(name: str, value: Rational) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        raise ArgumentError(name, repr(value), "an int or a Fraction", "pass Fraction(1, 6)")
    return Fraction(value)
