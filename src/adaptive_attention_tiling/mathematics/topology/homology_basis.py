"""The basis of one homology group, and how the class of a cycle is read in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .coefficients import Coefficients, Number, Ring
from .smith_normal_form import IntegerRows, smith_normal_form


@dataclass(frozen=True)
class AbelianGroup:
    """R^rank + R/t_1 + R/t_2 + ..., each t_i dividing the next; over a field R no torsion.

    Groups are equal where rank and torsion are; `ring` is for printing.
    """

    rank: int
    torsion: tuple[int, ...] = ()
    ring: Ring = field(default="Z", compare=False)

    def __str__(self) -> str:
        letter = f"F_{self.ring}" if isinstance(self.ring, int) else self.ring
        free = letter if self.rank == 1 else f"{letter}^{self.rank}"
        return " + ".join([free] * bool(self.rank) + [f"Z/{t}" for t in self.torsion]) or "0"


@dataclass(frozen=True)
class HomologyBasis:
    """A basis of the cycles of one degree in which the boundaries are multiples of basis cycles.

    Attributes:
        group: the homology group.
        generators: the basis cycles `kept` of it, free ones first, as rows.
        reader: takes a cycle to its entries in the basis, [m, n].
        orders: the boundaries are orders[i] times basis cycle i; 1 is no class, 0 a free one.
        solver: takes entries / orders to a chain with that boundary.
    """

    group: AbelianGroup
    generators: list[list[int]]
    reader: IntegerRows
    orders: list[int]
    kept: list[int]
    solver: IntegerRows
    coefficients: Coefficients

    @classmethod
    def of_zero_maps(cls, size: int, width: int, coefficients: Coefficients) -> HomologyBasis:
        """Where no boundary is left, every generator is a class."""
        identity, places, solver = _identity(size), list(range(size)), _nothing(width)
        group = AbelianGroup(size, ring=coefficients.ring)
        return cls(group, identity, identity, [0] * size, places, solver, coefficients)

    @classmethod
    def of_integers(
        cls, size: int, below: IntegerRows, above: IntegerRows, width: int
    ) -> HomologyBasis:
        """From the boundary matrices of this degree [.., size] and of the next [size, width].

        Source: Munkres, Elements of Algebraic Topology (1984), theorem 11.4.
        """
        inner = smith_normal_form(below) if below else None
        rank = len(inner.divisors) if inner else 0
        kernel = _columns(inner.right)[rank:] if inner else _columns(_identity(size))
        to_kernel = inner.right_inverse[rank:] if inner else _identity(size)
        image = _product(to_kernel, above) if width else [[0] for _ in kernel]
        outer = smith_normal_form(image)
        orders = list(outer.divisors) + [0] * (len(kernel) - len(outer.divisors))
        torsion = [i for i, order in enumerate(orders) if order > 1]
        kept = [i for i, order in enumerate(orders) if order == 0] + torsion
        basis = _columns(outer.left_inverse)
        generators = [_combination(basis[i], kernel) for i in kept]
        group = AbelianGroup(len(kept) - len(torsion), tuple(orders[i] for i in torsion))
        solver = [row[: len(outer.divisors)] for row in outer.right]
        solver = solver if width and kernel else _nothing(width)
        reader = _product(outer.left, to_kernel)
        return cls(group, generators, reader, orders, kept, solver, Coefficients("Z"))

    def coordinates(self, small: list[Number]) -> list[Number]:
        """The entries of a cycle at the generators; torsion ones are not reduced yet."""
        values = self._read(small)
        return [values[i] for i in self.kept]

    def primitive(self, small: list[Number]) -> list[Number] | None:
        """A chain whose boundary is this cycle, or None."""
        values = self._read(small)
        if any(v % order if order else v for v, order in zip(values, self.orders, strict=True)):
            return None
        quotients = [v // order for v, order in zip(values, self.orders, strict=True) if order]
        return [
            sum((x * y for x, y in zip(row, quotients, strict=True)), start=0)
            for row in self.solver
        ]

    def _read(self, small: list[Number]) -> list[Number]:
        reduced = self.coefficients.reduced
        return [
            reduced(sum((x * y for x, y in zip(row, small, strict=True)), start=0))
            for row in self.reader
        ]


def _identity(size: int) -> IntegerRows:
    return [[int(i == j) for j in range(size)] for i in range(size)]


def _nothing(size: int) -> IntegerRows:
    return [[] for _ in range(size)]


def _columns(rows: IntegerRows) -> IntegerRows:
    return [list(column) for column in zip(*rows, strict=True)]


def _combination(factors: list[int], vectors: IntegerRows) -> list[int]:
    return [
        sum(f * v for f, v in zip(factors, column, strict=True)) for column in _columns(vectors)
    ]


def _product(first: IntegerRows, second: IntegerRows) -> IntegerRows:
    columns = _columns(second)
    return [[sum(x * y for x, y in zip(r, c, strict=True)) for c in columns] for r in first]
