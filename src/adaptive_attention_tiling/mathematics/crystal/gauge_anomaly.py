"""Anomalies of fermions in representations of SU(N), and of fermions in curved space, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise, product
from math import comb, factorial, prod
from typing import NamedTuple

from ...errors import ArgumentError
from .anomaly import Exponents, Rational, anomaly_polynomial, check_colours, checked_charges

Diagram = tuple[int, ...]


def young_dimension(diagram: Sequence[int], colours: int) -> int:
    """Dimension of the representation of SU(N) with this Young diagram.

    prod over boxes of (N + column - row) / hook length.

    Args:
        diagram: lengths of rows, none longer than the one above, at most N of them; (1,) is the
            fundamental representation, N - 1 times 1 its conjugate, () the trivial one.
        colours: N >= 2.

    Georgi, Lie Algebras in Particle Physics (1999), section 13.2.
    """
    rows = _checked(diagram, colours)
    columns = [sum(row > j for row in rows) for j in range(rows[0] if rows else 0)]
    boxes = [(i, j) for i, row in enumerate(rows) for j in range(row)]
    above = prod(colours + j - i for i, j in boxes)
    return above // prod(rows[i] - j + columns[j] - i - 1 for i, j in boxes)


def dynkin_index(diagram: Sequence[int], colours: int) -> int:
    """Sum of squares of a generator's charges over that of the fundamental representation.

    Args:
        diagram: as in `young_dimension`.
        colours: N >= 2.
    """
    check_colours(colours)
    return _moment(_checked(diagram, colours), colours, 2) // _moment((1,), colours, 2)


def cubic_index(diagram: Sequence[int], colours: int) -> int:
    """A(R) of tr T^a {T^b, T^c} = A(R) d^abc / 2: 1 for the fundamental representation.

    It is N + 4 for two symmetric boxes, N - 4 for two antisymmetric ones, changes sign under
    conjugation and vanishes for N = 2. Counted by the charges under diag(1, ..., 1, 1 - N).

    Args:
        diagram: as in `young_dimension`.
        colours: N >= 2.

    Banks and Georgi, Phys. Rev. D 14 (1976) 1159.
    """
    check_colours(colours)
    rows = _checked(diagram, colours)
    if colours == 2:
        return 0
    return _moment(rows, colours, 3) // _moment((1,), colours, 3)


class GaugeAnomalies(NamedTuple):
    """What must vanish for SU(N) x U(1) to be gauged in four dimensions, with gravity."""

    cubic: Fraction
    """SU(N)^3: sum of A(R)."""
    mixed: Fraction
    """SU(N)^2 U(1): sum of the Dynkin index times q."""
    abelian: Fraction
    """U(1)^3: sum of dim(R) q^3."""
    gravitational: Fraction
    """U(1) gravity^2: sum of dim(R) q."""
    parity: int
    """Witten's, of SU(2): doublets modulo 2, with larger representations by their Dynkin index; 0
    for N > 2."""


def gauge_anomalies(
    fields: Iterable[tuple[Sequence[int], Rational, int]], colours: int
) -> GaugeAnomalies:
    """The anomalies of left-handed Weyl fermions of SU(N) x U(1).

    Args:
        fields: (diagram, q, m) of each: Young diagram under SU(N), charge, and how many there are.
        colours: N >= 2.

    Bertlmann, Anomalies in Quantum Field Theory (1996), section 11.4; Witten, Phys. Lett. B 117
    (1982) 324.
    """
    cubic, mixed, abelian, gravitational = (Fraction(0),) * 4
    parity = 0
    for diagram, charge, number in fields:
        (((q,), m),) = checked_charges([((charge,), number)])
        size, index = young_dimension(diagram, colours), dynkin_index(diagram, colours)
        cubic += m * cubic_index(diagram, colours)
        mixed += m * index * q
        abelian += m * size * q**3
        gravitational += m * size * q
        parity += index * number
    return GaugeAnomalies(cubic, mixed, abelian, gravitational, parity % 2 if colours == 2 else 0)


def gravitational_anomaly_polynomial(
    charges: Iterable[tuple[Sequence[Rational], Rational]], dimension: int
) -> dict[tuple[Exponents, Exponents], Fraction]:
    """I = [A-roof(R) ch(F)] in degree d + 2: gauge, mixed and gravitational anomalies together.

    A-roof = 1 - p_1 / 24 + (7 p_1^2 - 4 p_2) / 5760 - ..., ch = sum m e^(q . F). In four
    dimensions m (q^3 F^3 / 6 - q F p_1 / 24), in two m (q^2 F^2 / 2 - p_1 / 24).

    Args:
        charges: (q, m) of each left-handed Weyl fermion, as in `anomaly_polynomial`.
        dimension: d of space and time, even, 2 to 14.

    Returns:
        Nonzero coefficients by exponents of the F and of the Pontryagin classes p_1, p_2, ...

    Alvarez-Gaume and Witten, Nucl. Phys. B 234 (1984) 269, section 9.
    """
    if dimension % 2 or not 2 <= dimension <= 14:
        raise ArgumentError("dimension", dimension, "even, 2 to 14", "pass 4")
    listed = checked_charges(charges)
    half = (dimension + 2) // 2
    found: dict[tuple[Exponents, Exponents], Fraction] = {}
    for curved in range(half // 2 + 1):
        degree = half - 2 * curved
        if degree:
            gauge = anomaly_polynomial(listed, degree)
        else:
            groups = len(listed[0][0]) if listed else 0
            total = sum((m for _, m in listed), Fraction(0))
            gauge = {(0,) * groups: total} if total else {}
        for (one, a), (other, b) in product(gauge.items(), roof_genus(curved).items()):
            found[one, (*other, *[0] * (half // 2 - curved))] = a * b
    return found


def roof_genus(order: int) -> dict[Exponents, Fraction]:
    """The part of A-roof of degree 4 `order`, by exponents of p_1, ..., p_order.

    ln A-roof = - sum_k B_2k s_k / (2k (2k)!), s_k the sum of the k-th powers of the squared roots,
    which Newton's identities turn into Pontryagin classes.

    Args:
        order: 0 to 4.

    Hirzebruch, Topological Methods in Algebraic Geometry (1966), section 1.6.
    """
    # k E_k = sum_j j L_j E_{k-j} for E = exp(L), on polynomials in p.
    logs = []
    for k in range(1, order + 1):
        weight = -_bernoulli_weight(k)
        logs.append({e: weight * c for e, c in _power_sum(k, order).items()})
    parts: list[dict[Exponents, Fraction]] = [{(0,) * order: Fraction(1)}]
    for k in range(1, order + 1):
        total: dict[Exponents, Fraction] = {}
        for j in range(1, k + 1):
            _add(total, _times(logs[j - 1], parts[k - j]), Fraction(j, k))
        parts.append(total)
    return parts[order]


def _bernoulli_weight(k: int) -> Fraction:
    """B_2k / (2k (2k)!), of ln(sinh(x / 2) / (x / 2))."""
    numbers = [Fraction(1)]
    for n in range(1, 2 * k + 1):
        numbers.append(-sum((comb(n + 1, j) * numbers[j] for j in range(n)), Fraction(0)) / (n + 1))
    return numbers[2 * k] / (2 * k * factorial(2 * k))


def _power_sum(k: int, order: int) -> dict[Exponents, Fraction]:
    """s_k of the squared roots in elementary symmetric functions, by Newton's identities."""
    unit = [tuple(int(i == j) for i in range(order)) for j in range(order)]
    total: dict[Exponents, Fraction] = {unit[k - 1]: Fraction((-1) ** (k - 1) * k)}
    for j in range(1, k):
        lower = _times({unit[j - 1]: Fraction((-1) ** (j - 1))}, _power_sum(k - j, order))
        _add(total, lower, Fraction(1))
    return total


def _times(
    one: dict[Exponents, Fraction], other: dict[Exponents, Fraction]
) -> dict[Exponents, Fraction]:
    total: dict[Exponents, Fraction] = {}
    for (a, x), (b, y) in product(one.items(), other.items()):
        _add(total, {tuple(i + j for i, j in zip(a, b, strict=True)): x * y}, Fraction(1))
    return total


def _add(
    total: dict[Exponents, Fraction], more: dict[Exponents, Fraction], factor: Fraction
) -> None:
    for exponents, value in more.items():
        total[exponents] = total.get(exponents, Fraction(0)) + factor * value
        if not total[exponents]:
            del total[exponents]


def _moment(rows: Diagram, colours: int, power: int) -> int:
    """Sum over the representation of the power of its charges under diag(1, ..., 1, 1 - N)."""
    boxes = sum(rows)
    return sum(
        young_dimension(less, colours - 1) * (boxes - colours * (boxes - sum(less))) ** power
        for less in _interlacing(rows, colours)
    )


def _interlacing(rows: Diagram, colours: int) -> Iterator[Diagram]:
    """Diagrams of SU(N - 1) within one of SU(N): what is left when boxes N are taken away."""
    padded = [*rows, *[0] * (colours - len(rows))]
    ranges = [range(padded[i + 1], padded[i] + 1) for i in range(colours - 1)]
    yield from product(*ranges)


def _checked(diagram: Sequence[int], colours: int) -> Diagram:
    rows = tuple(diagram)
    falling = all(a >= b for a, b in pairwise(rows))
    if len(rows) > colours or not falling or any(row < 0 for row in rows):
        raise ArgumentError(
            "diagram",
            f"{rows} for {colours} colours",
            "rows >= 0, none longer than the one above, at most as many as colours",
            "pass (1,) for the fundamental representation",
        )
    return tuple(row for row in rows if row)
