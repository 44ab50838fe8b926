"""Cancelling pairs of generators: a smaller chain complex with the same homology."""

from __future__ import annotations

from dataclasses import dataclass

from .chain_complex import ChainComplex
from .coefficients import Coefficients, Number

Chain = dict[int, Number]


@dataclass(frozen=True)
class Cancellation:
    """A generator b of degree k and one of its faces a, with d b = u a + rest, u invertible.

    `rest` is d b without a; `shared` holds the coefficient of a in every other boundary.
    """

    upper: int
    lower: int
    inverse: Number
    rest: Chain
    shared: Chain


class ReducedComplex:
    """A chain complex after every pair with an invertible incidence has been cancelled.

    With d b = u a + rest and d c = v a + ..., the smaller complex has d' c = d c - (v / u) d b.
    The maps `project` to it and `lift` from it commute with d, project(lift(x)) = x, and
    x - lift(project(x)) = d h(x) + h(d x) with h(a) = b / u. Over a field no boundary is left,
    so the remaining generators are a basis of the homology; over Z the matrices that are left
    hold no 1 and no -1.

    Args:
        complex_: the complex, which is not changed.
        coefficients: the ring of the coefficients.

    Source: Bar-Natan, Fast Khovanov homology computations (2007), on Gaussian elimination in
    complexes; Kaczynski, Mischaikow and Mrozek, Computational Homology (2004), section 4.3.
    """

    def __init__(self, complex_: ChainComplex, coefficients: Coefficients) -> None:
        self.complex = complex_
        self.coefficients = coefficients
        self._columns: dict[int, dict[int, Chain]] = {}
        self._rows: dict[int, dict[int, set[int]]] = {}
        for degree in complex_.degrees:
            self._load(degree)
        # Lower degrees first, so no chain that a step meets holds what an earlier degree dropped.
        self._cancelled: dict[int, list[Cancellation]] = {}
        for degree in complex_.degrees:
            self._cancel_all(degree, units_only=True)
            if coefficients.is_field:
                self._cancel_all(degree, units_only=False)
        self.left = {degree: sorted(self._columns[degree]) for degree in complex_.degrees}

    def matrix(self, degree: int) -> list[list[Number]]:
        """What is left of the boundary of degree k, between the generators `left`."""
        rows, columns = self.left.get(degree - 1, []), self.left.get(degree, [])
        return [[self._columns[degree][c].get(r, 0) for c in columns] for r in rows]

    def pivots(self, degree: int) -> tuple[list[int], list[int]]:
        """Generators of degree k and of degree k - 1 that were cancelled against each other.

        Over a field the boundaries of the former are a basis of all boundaries, and the matrix
        between the two has an inverse.
        """
        steps = self._cancelled.get(degree, [])
        return [each.upper for each in steps], [each.lower for each in steps]

    def project(self, degree: int, chain: Chain) -> Chain:
        """The image of a chain in the smaller complex."""
        return self._project(degree, dict(chain))[0]

    def lift(self, degree: int, chain: Chain) -> Chain:
        """The chain of the whole complex that a chain of the smaller one stands for."""
        return self._lift(degree, dict(chain), {})

    def primitive(self, degree: int, cycle: Chain, small: Chain) -> Chain:
        """A chain x with d x = cycle, from a chain `small` with d small = project(cycle)."""
        _, homotopy = self._project(degree, dict(cycle))
        return self._lift(degree + 1, dict(small), homotopy)

    def _load(self, degree: int) -> None:
        reduced = self.coefficients.reduced
        self._columns[degree] = {}
        rows = self._rows.setdefault(degree, {})
        for place, column in enumerate(self.complex.columns(degree)):
            kept = {row: reduced(value) for row, value in column.items() if reduced(value)}
            self._columns[degree][place] = kept
            for row in kept:
                rows.setdefault(row, set()).add(place)

    def _cancel_all(self, degree: int, units_only: bool) -> None:
        columns, rows = self._columns[degree], self._rows[degree]
        waiting = sorted(columns)
        while waiting:
            changed: set[int] = set()
            for upper in waiting:
                if upper not in columns:
                    continue
                lower = self._pivot(columns[upper], rows, units_only)
                if lower is not None:
                    changed |= self._cancel(degree, upper, lower)
            waiting = sorted(changed & columns.keys())

    def _pivot(self, column: Chain, rows: dict[int, set[int]], units_only: bool) -> int | None:
        usable = [
            row
            for row, value in column.items()
            if (value in (1, -1) if units_only else self.coefficients.has_inverse(value))
        ]
        return min(usable, key=lambda row: (len(rows[row]), row), default=None)

    def _cancel(self, degree: int, upper: int, lower: int) -> set[int]:
        columns, rows = self._columns[degree], self._rows[degree]
        rest = columns.pop(upper)
        inverse = self.coefficients.inverse(rest[lower])
        for row in rest:
            rows[row].discard(upper)
        del rest[lower]
        shared = {other: columns[other].pop(lower) for other in rows.pop(lower)}
        for other, value in shared.items():
            factor = self.coefficients.reduced(value * inverse)
            self._subtract(degree, other, factor, rest)
        step = Cancellation(upper, lower, inverse, rest, shared)
        self._cancelled.setdefault(degree, []).append(step)
        self._forget(degree, upper, lower)
        return set(shared)

    def _subtract(self, degree: int, place: int, factor: Number, chain: Chain) -> None:
        column, rows = self._columns[degree][place], self._rows[degree]
        for row, value in chain.items():
            total = self.coefficients.reduced(column.get(row, 0) - factor * value)
            _put(column, row, total)
            if total:
                rows[row].add(place)
            else:
                rows[row].discard(place)

    def _forget(self, degree: int, upper: int, lower: int) -> None:
        """Drop b as a face of degree k + 1, and a as a generator of degree k - 1."""
        above = self._columns.get(degree + 1, {})
        for other in self._rows.get(degree + 1, {}).pop(upper, set()):
            del above[other][upper]
        below = self._columns[degree - 1].pop(lower)
        for row in below:
            self._rows[degree - 1][row].discard(lower)

    def _project(self, degree: int, chain: Chain) -> tuple[Chain, dict[int, Number]]:
        reduced, homotopy = self.coefficients.reduced, {}
        for each in self._cancelled.get(degree, []):
            chain.pop(each.upper, None)
        for step, each in enumerate(self._cancelled.get(degree + 1, [])):
            if each.lower in chain:
                factor = reduced(chain.pop(each.lower) * each.inverse)
                homotopy[step] = factor
                for row, value in each.rest.items():
                    _put(chain, row, reduced(chain.get(row, 0) - factor * value))
        return chain, homotopy

    def _lift(self, degree: int, chain: Chain, homotopy: dict[int, Number]) -> Chain:
        steps = self._cancelled.get(degree, [])
        for step in range(len(steps) - 1, -1, -1):
            each = steps[step]
            crossing = sum(chain.get(c, 0) * value for c, value in each.shared.items())
            value = self.coefficients.reduced(homotopy.get(step, 0) - crossing * each.inverse)
            _put(chain, each.upper, value)
        return chain


def _put(chain: Chain, place: int, value: Number) -> None:
    if value:
        chain[place] = value
    else:
        chain.pop(place, None)
