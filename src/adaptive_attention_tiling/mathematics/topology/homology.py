"""Homology and cohomology groups, with representatives, coordinates and primitives."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from math import lcm

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from .chain_complex import ChainComplex, SparseColumn
from .chain_reduction import Chain, ReducedComplex
from .coefficients import Coefficients, Number, Ring
from .homology_basis import AbelianGroup, HomologyBasis


class Homology:
    """H_k = (cycles: d z = 0) / (boundaries: z = d x) of a chain complex.

    A chain of degree k is a vector [n_k] of integers: an int64 tensor or a sequence; over Q also
    fractions. Over F_p numbers are read modulo p. The basis of H_k that `generators` represents
    has the free classes first and then the torsion classes in the order of `group(k).torsion`.

    Args:
        complex_: the chains over Z.
        ring: "Z", "Q" or a prime p; what the coefficients are.

    Raises:
        ArgumentError: for a composite p, or a chain of the wrong length or no cycle.

    Source: Munkres, Elements of Algebraic Topology (1984), section 11.
    """

    def __init__(self, complex_: ChainComplex, ring: Ring = "Z") -> None:
        self.complex = complex_
        self.coefficients = Coefficients(ring)
        self._bases: dict[int, HomologyBasis] = {}
        self._columns: dict[int, list[SparseColumn]] = {}

    @cached_property
    def _reduced(self) -> ReducedComplex:
        return ReducedComplex(self.complex, self.coefficients)

    def group(self, degree: int) -> AbelianGroup:
        """H_k as a sum of cyclic groups."""
        return self._basis(degree).group

    def betti_number(self, degree: int) -> int:
        """The rank of H_k: the dimension over a field, the free part over Z."""
        return self.group(degree).rank

    def betti_numbers(self) -> dict[int, int]:
        """The rank of every H_k in a degree with generators."""
        return {degree: self.betti_number(degree) for degree in self.complex.degrees}

    def generators(self, degree: int) -> Int[Tensor, "classes n"]:
        """A cycle for each basis element of H_k, int64 [rank + torsion, n_k].

        Over Q they are scaled to integers; over F_p the entries are from 0 to p - 1.

        Raises:
            UnsupportedError: an entry is beyond int64, as after boundaries of large entries.
        """
        left = self._reduced.left.get(degree, [])
        rows = []
        for small in self._basis(degree).generators:
            cycle: Chain = {i: value for i, value in zip(left, small, strict=True) if value}
            rows.append(self._dense(degree, self._reduced.lift(degree, cycle)))
        if any(not -(2**63) <= value < 2**63 for row in rows for value in row):
            raise UnsupportedError(
                f"generators of H_{degree} have entries beyond int64; group({degree}) is exact, "
                "and generators over F_p fit"
            )
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), self.complex.count(degree))

    def coordinates(self, degree: int, cycle: Tensor | Sequence[Number]) -> list[Number]:
        """The class of a cycle in the basis of `generators`; torsion coordinates modulo t_i."""
        basis, small = self._basis(degree), self._small(degree, self._cycle(degree, cycle))
        values = basis.coordinates(small)
        orders = (0,) * basis.group.rank + basis.group.torsion
        return [v % order if order else v for v, order in zip(values, orders, strict=True)]

    def primitive(self, degree: int, cycle: Tensor | Sequence[Number]) -> list[Number] | None:
        """A chain x of degree k + 1 with d x = cycle, or None where the class is not 0."""
        chain = self._cycle(degree, cycle)
        solution = self._basis(degree).primitive(self._small(degree, chain))
        if solution is None:
            return None
        left = self._reduced.left.get(degree + 1, [])
        small = {place: value for place, value in zip(left, solution, strict=True) if value}
        found = self._reduced.primitive(degree, chain, small)
        return [found.get(i, 0) for i in range(self.complex.count(degree + 1))]

    def _basis(self, degree: int) -> HomologyBasis:
        if degree not in self._bases:
            size, width = (len(self._reduced.left.get(k, [])) for k in (degree, degree + 1))
            below, above = (
                [list(map(int, row)) for row in self._reduced.matrix(k)]
                for k in (degree, degree + 1)
            )
            if not any(map(any, below + above)):
                self._bases[degree] = HomologyBasis.of_zero_maps(size, width, self.coefficients)
            else:
                self._bases[degree] = HomologyBasis.of_integers(size, below, above, width)
        return self._bases[degree]

    def _small(self, degree: int, chain: Chain) -> list[Number]:
        projected = self._reduced.project(degree, chain)
        return [projected.get(place, 0) for place in self._reduced.left.get(degree, [])]

    def _cycle(self, degree: int, values: Tensor | Sequence[Number]) -> Chain:
        listed = values.tolist() if isinstance(values, Tensor) else list(values)
        allowed = (int, Fraction) if self.coefficients.ring == "Q" else (int,)
        if len(listed) != self.complex.count(degree) or not all(type(v) in allowed for v in listed):
            raise ArgumentError(
                "cycle",
                f"{len(listed)} entries {listed[:3]}...",
                f"{self.complex.count(degree)} exact numbers, one a generator of degree {degree}",
                "pass integers",
            )
        reduced = self.coefficients.reduced
        chain = {i: reduced(value) for i, value in enumerate(listed) if reduced(value)}
        boundary: Chain = {}
        if degree not in self._columns:
            self._columns[degree] = self.complex.columns(degree)
        columns = self._columns[degree]
        for place, value in chain.items():
            for row, entry in columns[place].items():
                boundary[row] = boundary.get(row, 0) + value * entry
        wrong = {row: value for row, value in boundary.items() if reduced(value)}
        for row, value in wrong.items():
            raise ArgumentError(
                "cycle",
                f"boundary {value} at {row}",
                f"boundary 0 over {self.coefficients.ring}",
                "pass a cycle",
            )
        return chain

    def _dense(self, degree: int, chain: Chain) -> list[int]:
        scale = lcm(*(Fraction(value).denominator for value in chain.values()))
        return [int(chain.get(i, 0) * scale) for i in range(self.complex.count(degree))]


class Cohomology:
    """H^k = (cocycles: delta f = 0) / (coboundaries: f = delta g), delta the transposed boundary.

    Everything is as in `Homology`; a cochain of degree k is its values on the generators of C_k,
    and the primitive of a cochain of degree k has degree k - 1.

    Args:
        complex_: the chains over Z.
        ring: "Z", "Q" or a prime p.

    Source: Hatcher, Algebraic Topology (2002), section 3.1.
    """

    def __init__(self, complex_: ChainComplex, ring: Ring = "Z") -> None:
        self.complex = complex_
        self._dual = Homology(complex_.dual(), ring)
        self.coefficients = self._dual.coefficients

    def group(self, degree: int) -> AbelianGroup:
        """H^k as a sum of cyclic groups."""
        return self._dual.group(-degree)

    def betti_number(self, degree: int) -> int:
        """The rank of H^k."""
        return self._dual.betti_number(-degree)

    def betti_numbers(self) -> dict[int, int]:
        """The rank of every H^k in a degree with generators."""
        return {degree: self.betti_number(degree) for degree in self.complex.degrees}

    def generators(self, degree: int) -> Int[Tensor, "classes n"]:
        """A cocycle for each basis element of H^k, int64 [rank + torsion, n_k]."""
        return self._dual.generators(-degree)

    def coordinates(self, degree: int, cocycle: Tensor | Sequence[Number]) -> list[Number]:
        """The class of a cocycle in the basis of `generators`."""
        return self._dual.coordinates(-degree, cocycle)

    def primitive(self, degree: int, cocycle: Tensor | Sequence[Number]) -> list[Number] | None:
        """A cochain g of degree k - 1 with delta g = cocycle, or None."""
        return self._dual.primitive(-degree, cocycle)
