"""Classes and numbers of triangulated closed manifolds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError
from .chain_complex import ChainComplex
from .cup_product import cup_product, steenrod_square
from .finite_field import solve
from .homology import Cohomology, Homology
from .simplicial_complex import SimplicialComplex


class TriangulatedManifold:
    """A connected closed manifold of dimension n, given by a triangulation.

    Checked is that every facet has dimension n, that every (n-1)-simplex lies in two facets, and
    that the complex is connected; Poincaré duality modulo 2 is checked where it is used. That the
    links are spheres is the caller's claim.

    Args:
        complex_: the triangulation, n >= 1.

    Raises:
        ArgumentError: for a boundary, a branch, facets of several dimensions, or several parts.

    Source: Milnor and Stasheff, Characteristic Classes (1974), sections 4 and 11.
    """

    def __init__(self, complex_: SimplicialComplex) -> None:
        dimension = complex_.dimension
        facets = complex_.facets()
        if dimension < 1 or any(len(facet) <= dimension for facet in facets):
            raise _no_manifold("facets of several dimensions, or points", "facets of one dimension")
        meets = torch.bincount(complex_.faces(dimension).flatten())
        for place in (meets != 2).nonzero().flatten().tolist():
            simplex = complex_.simplices(dimension - 1)[place].tolist()
            raise _no_manifold(f"{simplex} in {int(meets[place])} facets", "each in two facets")
        self.complex, self.dimension = complex_, dimension
        self._chains = ChainComplex.of(complex_)
        self._modulo_two = Cohomology(self._chains, 2)
        if Homology(self._chains, 2).betti_number(0) != 1:
            raise _no_manifold("several connected parts", "one part")

    @property
    def euler_number(self) -> int:
        """chi; for an oriented manifold the value of the Euler class on it."""
        return self.complex.euler_characteristic()

    @cached_property
    def is_orientable(self) -> bool:
        """Whether H_n(Z) = Z, which is whether w_1 = 0."""
        return Homology(self._chains).betti_number(self.dimension) == 1

    def fundamental_class(self) -> Int[Tensor, " facets"]:
        """The sign of each facet in the cycle that generates H_n(Z), the first one positive.

        Raises:
            ArgumentError: for a manifold that is not orientable.
        """
        if not self.is_orientable:
            raise _no_manifold("a manifold that is not orientable", "an orientation")
        cycle = Homology(self._chains).generators(self.dimension)[0]
        return cycle * cycle[0]

    def intersection_form(self) -> list[list[int]]:
        """(a cup b)[M] on the free part of H^{n/2}(Z), for n even and M oriented."""
        half = self.dimension // 2
        if self.dimension % 2:
            raise _no_manifold(f"dimension {self.dimension}", "an even dimension")
        cycle = self.fundamental_class()
        cohomology = Cohomology(self._chains)
        classes = cohomology.generators(half)[: cohomology.betti_number(half)]
        product = cup_product(self.complex, classes[:, None], half, classes[None, :], half)
        return (product @ cycle).tolist()

    def signature(self) -> int:
        """Positive minus negative eigenvalues of the intersection form; 0 unless 4 divides n."""
        if self.dimension % 4:
            return 0
        form = torch.tensor(self.intersection_form(), dtype=torch.float64)
        values = torch.linalg.eigvalsh(form) if len(form) else form.new_zeros(0)
        return int(values.sign().sum())

    def pontryagin_number(self) -> int:
        """p_1[M] = 3 signature of an oriented manifold of dimension 4.

        Source: Hirzebruch; Milnor and Stasheff, theorem 19.4.
        """
        if self.dimension != 4:
            raise _no_manifold(f"dimension {self.dimension}", "dimension 4")
        return 3 * self.signature()

    def wu_class(self, degree: int) -> Int[Tensor, " n"]:
        """A cocycle v_k with v_k cup x = Sq^k x for every x in H^{n-k}(F_2); 0 for 2 k > n.

        Raises:
            ArgumentError: where Poincaré duality fails, so that this is no closed manifold; for
                degrees other than 0 to n.

        Source: Milnor and Stasheff, section 11.
        """
        self._check_degree(degree)
        rest = self.dimension - degree
        own, tests = (self._modulo_two.generators(k) for k in (degree, rest))
        pairing = cup_product(self.complex, own[:, None], degree, tests[None, :], rest).sum(-1) % 2
        values = steenrod_square(self.complex, tests, rest, degree).sum(-1) % 2
        found = solve(pairing.t(), values[:, None], 2)
        if found is None or len(own) != len(tests):
            raise _no_manifold(f"no Poincaré duality in degree {degree}", "a closed manifold")
        return (found[:, 0] @ own) % 2

    def stiefel_whitney_class(self, degree: int) -> Int[Tensor, " n"]:
        """A cocycle of w_k = sum_i Sq^i v_{k-i} of the tangent bundle, modulo 2.

        Source: Wu (1950); Milnor and Stasheff, theorem 11.14.
        """
        self._check_degree(degree)
        total = torch.zeros(self.complex.count(degree), dtype=torch.int64)
        for lower in range(degree // 2 + degree % 2, degree + 1):
            wu = self.wu_class(lower)
            total += steenrod_square(self.complex, wu, lower, degree - lower)
        return total % 2

    def stiefel_whitney_is_zero(self, degree: int) -> bool:
        """Whether the class w_k vanishes."""
        return not any(self._modulo_two.coordinates(degree, self.stiefel_whitney_class(degree)))

    def stiefel_whitney_number(self, degrees: Sequence[int]) -> int:
        """(w_a cup w_b cup ...)[M] modulo 2, for degrees a, b, ... with sum n.

        A closed manifold bounds one if and only if all of these are 0 (Thom 1954).
        """
        if sum(degrees) != self.dimension:
            raise ArgumentError("degrees", list(degrees), f"sum {self.dimension}", "add a degree")
        total, reached = torch.ones(self.complex.count(0), dtype=torch.int64), 0
        for degree in degrees:
            factor = self.stiefel_whitney_class(degree)
            total = cup_product(self.complex, total, reached, factor, degree) % 2
            reached += degree
        return int(total.sum() % 2)

    def _check_degree(self, degree: int) -> None:
        if not 0 <= degree <= self.dimension:
            raise ArgumentError(
                "degree", degree, f"0 to {self.dimension}", "other classes are zero"
            )


def _no_manifold(got: str, expected: str) -> ArgumentError:
    return ArgumentError("complex_", got, expected, "pass a triangulated closed manifold")
