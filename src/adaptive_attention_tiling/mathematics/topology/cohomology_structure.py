"""The cohomological structure of a space, asked in the words of forms and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd, lcm

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from ...errors import ArgumentError
from .chain_complex import ChainComplex
from .coefficients import Number, Ring
from .cup_product import CohomologyRing, cup_product
from .hodge import HodgeComplex, HodgeDecomposition
from .simplicial_complex import SimplicialComplex
from .triangulated_manifold import TriangulatedManifold


@dataclass(frozen=True)
class DiscreteForm:
    """A k-form by its integrals over the k-simplices, [*b, n_k]."""

    degree: int
    values: Num[Tensor, "*b n"]


@dataclass(frozen=True)
class DiscreteForms:
    """The space of k-forms of a complex; `simplices` [n_k, k + 1] gives the order of values."""

    degree: int
    simplices: Int[Tensor, "n k"]

    @property
    def dimension(self) -> int:
        """n_k, the number of k-simplices."""
        return len(self.simplices)

    def form(self, values: Num[Tensor, "*b n"]) -> DiscreteForm:
        """The form with these integrals.

        Raises:
            ArgumentError: unless there is one value a simplex.
        """
        if values.dim() < 1 or values.shape[-1] != self.dimension:
            raise ArgumentError(
                "values",
                f"shape {list(values.shape)}",
                f"[..., {self.dimension}] for degree {self.degree}",
                "give a value to every simplex",
            )
        return DiscreteForm(self.degree, values)


@dataclass(frozen=True)
class CohomologyClass:
    """An element of H^k: its coordinates in the chosen basis, and a cocycle.

    Attributes:
        degree: k.
        coordinates: exact numbers, free ones first, torsion ones modulo their orders.
        representative: a cocycle of the class, int64 [n_k].
        order: the least n > 0 with n times the class 0; 0 where there is none.
    """

    degree: int
    coordinates: tuple[Number, ...]
    representative: Int[Tensor, " n"]
    order: int = 0

    @property
    def is_zero(self) -> bool:
        """Whether every coordinate is 0."""
        return not any(self.coordinates)


@dataclass(frozen=True)
class ManifoldClasses:
    """Characteristic classes and numbers of the tangent bundle of a closed manifold.

    Attributes:
        euler_number: the Euler class on the manifold, chi.
        stiefel_whitney: w_0 ... w_n in H^k(F_2).
        is_orientable: w_1 = 0.
        signature: of an oriented manifold with 4 | n, its first facet positive; else None.
        pontryagin_number: p_1[M] = 3 signature, for n = 4 and oriented; else None.
    """

    euler_number: int
    stiefel_whitney: tuple[CohomologyClass, ...]
    is_orientable: bool
    signature: int | None
    pontryagin_number: int | None


class CohomologyStructure:
    """Forms, classes, their products and characteristic classes of a simplicial complex.

    The names are those of the protocol `CohomologyStructure`; its heights, information flow,
    ergodic averages and stability measures are functions of other rooms of mathematics.

    Args:
        complex_: the space.
        ring: coefficients of the classes, "Z", "Q" or a prime p; forms are real.
        weights: inner products of forms, as `HodgeComplex` takes them.

    Raises:
        ArgumentError: for a composite p or bad weights.

    Source: Hatcher, Algebraic Topology (2002), chapter 3; Milnor and Stasheff (1974).
    """

    def __init__(
        self,
        complex_: SimplicialComplex,
        ring: Ring = "Z",
        weights: Mapping[int, Tensor] | None = None,
    ) -> None:
        self.complex = complex_
        self.ring = ring
        self._products = CohomologyRing(complex_, ring)
        self._weights = weights

    @cached_property
    def hodge(self) -> HodgeComplex:
        """The inner products, codifferential and Laplacian of the forms."""
        return HodgeComplex(ChainComplex.of(self.complex), self._weights)

    def differential_forms(self, degree: int) -> DiscreteForms:
        """The space of k-forms."""
        return DiscreteForms(degree, self.complex.simplices(degree))

    def exterior_derivative(self, form: DiscreteForm) -> DiscreteForm:
        """(d f)(x) = f(boundary x), with Stokes' theorem as the definition; d d = 0."""
        values = self.differential_forms(form.degree).form(form.values).values
        faces = self.complex.faces(form.degree + 1)
        if not faces.numel():
            empty = values.new_zeros((*values.shape[:-1], self.complex.count(form.degree + 1)))
            return DiscreteForm(form.degree + 1, empty)
        signs = (1 - 2 * (torch.arange(faces.shape[1]) % 2)).to(values.dtype)
        return DiscreteForm(form.degree + 1, (values[..., faces] * signs).sum(-1))

    def decompose(self, form: DiscreteForm) -> HodgeDecomposition:
        """The exact, coexact and harmonic parts of a form."""
        return self.hodge.decompose(form.values, form.degree)

    def cohomology_classes(self, degree: int) -> list[CohomologyClass]:
        """A basis of H^k, free classes first."""
        cohomology = self._products.cohomology
        return [
            self._class_of(degree, cocycle, cohomology.coordinates(degree, cocycle))
            for cocycle in cohomology.generators(degree)
        ]

    def class_of(self, form: DiscreteForm) -> CohomologyClass:
        """The class of a closed form with integral values.

        Raises:
            ArgumentError: for a form that is not closed, or whose values are no integers.
        """
        values = form.values
        whole = values.round().to(torch.int64) if values.is_floating_point() else values
        if not torch.equal(whole.to(values.dtype), values):
            raise ArgumentError(
                "form", "fractional values", "integers", "scale it, or decompose it"
            )
        return self._class_of(form.degree, whole)

    def harmonic_form(self, class_: CohomologyClass) -> Float[Tensor, " n"]:
        """The harmonic representative of an integral or rational class, its shortest one."""
        if isinstance(self.ring, int):
            raise ArgumentError("ring", self.ring, '"Z" or "Q"', "forms are real")
        return self.hodge.harmonic_representative(class_.representative, class_.degree)

    def cup_product(self, class1: CohomologyClass, class2: CohomologyClass) -> CohomologyClass:
        """a cup b in H^{p+q}, with a cup b = (-1)^{pq} b cup a."""
        p, q = class1.degree, class2.degree
        product = cup_product(self.complex, class1.representative, p, class2.representative, q)
        return self._class_of(p + q, product)

    def characteristic_classes(self) -> ManifoldClasses:
        """The classes of the tangent bundle, where the complex is a closed manifold.

        Raises:
            ArgumentError: where it is none.
        """
        manifold = TriangulatedManifold(self.complex)
        modulo_two = CohomologyStructure(self.complex, 2)
        classes = tuple(
            modulo_two._class_of(k, manifold.stiefel_whitney_class(k))
            for k in range(manifold.dimension + 1)
        )
        oriented = manifold.is_orientable
        return ManifoldClasses(
            euler_number=manifold.euler_number,
            stiefel_whitney=classes,
            is_orientable=oriented,
            signature=manifold.signature() if oriented and manifold.dimension % 4 == 0 else None,
            pontryagin_number=(
                manifold.pontryagin_number() if oriented and manifold.dimension == 4 else None
            ),
        )

    def _class_of(
        self, degree: int, cocycle: Tensor, coordinates: Sequence[Number] | None = None
    ) -> CohomologyClass:
        cohomology = self._products.cohomology
        found = cohomology.coordinates(degree, cocycle) if coordinates is None else coordinates
        group = cohomology.group(degree)
        order = self._order(found[: group.rank], found[group.rank :], group.torsion)
        kept = cocycle % self.ring if isinstance(self.ring, int) else cocycle
        return CohomologyClass(degree, tuple(found), kept, order)

    def _order(
        self, free: Sequence[Number], torsion: Sequence[Number], orders: Sequence[int]
    ) -> int:
        if any(free):
            return self.ring if isinstance(self.ring, int) else 0
        parts = (order // gcd(int(c), order) for c, order in zip(torsion, orders, strict=True))
        return lcm(*parts)
