"""Closed manifolds whose characteristic numbers come from a truncated polynomial ring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ....errors import ArgumentError
from .bundles import ComplexBundle, RealBundle, line_bundle
from .rational_ring import RationalClass, RationalRing


@dataclass(frozen=True)
class CharacteristicClasses:
    """The total classes of a manifold's tangent bundle; chern and todd of complex ones only."""

    euler: RationalClass
    pontryagin: RationalClass
    a_hat: RationalClass
    l_genus: RationalClass
    chern: RationalClass | None
    todd: RationalClass | None


@dataclass(frozen=True)
class ClosedManifold:
    """A closed oriented manifold: the ring in which its classes live, and its tangent bundle.

    The ring holds those even classes that the tangent bundle and its integrals need, which may be
    fewer than all (of K3, the powers of a hyperplane section).
    """

    ring: RationalRing
    tangent: ComplexBundle | RealBundle

    @property
    def dimension(self) -> int:
        return self.ring.top

    def characteristic_classes(self) -> CharacteristicClasses:
        """All classes of the tangent bundle."""
        real, complex_ = self.real_tangent, self.tangent
        holomorphic = complex_ if isinstance(complex_, ComplexBundle) else None
        return CharacteristicClasses(
            euler=real.euler,
            pontryagin=real.pontryagin,
            a_hat=real.a_hat(),
            l_genus=real.l_genus(),
            chern=holomorphic.chern if holomorphic else None,
            todd=holomorphic.todd() if holomorphic else None,
        )

    @property
    def real_tangent(self) -> RealBundle:
        """The tangent bundle without its complex structure."""
        return self.tangent.real() if isinstance(self.tangent, ComplexBundle) else self.tangent

    def euler_number(self) -> int:
        """The integral of the Euler class, which is the alternating sum of Betti numbers."""
        return _whole(self.real_tangent.euler.integral())

    def signature(self) -> int:
        """The integral of the L class (Hirzebruch's signature theorem)."""
        return _whole(self.real_tangent.l_genus().integral())

    def a_hat_genus(self) -> Fraction:
        """The integral of the A-hat class, an integer on spin manifolds (Atiyah and Singer)."""
        return self.real_tangent.a_hat().integral()

    def todd_genus(self) -> int:
        """The integral of the Todd class, chi(O)."""
        return self.holomorphic_euler_characteristic(line_bundle(self.ring.constant(0)))

    def holomorphic_euler_characteristic(self, bundle: ComplexBundle) -> int:
        """chi(E) = integral of ch(E) td(TX), by Hirzebruch, Riemann and Roch."""
        return _whole((bundle.chern_character() * self._complex().todd()).integral())

    def chern_number(self, *classes: int) -> int:
        """The integral of c_i c_j ..; chern_number(1, 1) is that of c_1^2."""
        product = self.ring.constant(1)
        for k in classes:
            product = product * self._complex().chern_class(k)
        return _whole(product.integral())

    def pontryagin_number(self, *classes: int) -> int:
        """The integral of p_i p_j .."""
        product = self.ring.constant(1)
        for k in classes:
            product = product * self.real_tangent.pontryagin_class(k)
        return _whole(product.integral())

    def _complex(self) -> ComplexBundle:
        if not isinstance(self.tangent, ComplexBundle):
            raise ArgumentError(
                "manifold", "a real one", "a complex manifold", "ask for Pontryagin classes"
            )
        return self.tangent


def projective_space(n: int) -> ClosedManifold:
    """CP^n: c = (1 + x)^(n + 1), the integral of x^n being 1."""
    return complete_intersection(n, [])


def quaternionic_projective_space(n: int) -> ClosedManifold:
    """HP^n: p = (1 + u)^(2 n + 2) / (1 + 4 u), u of degree 4 (Borel and Hirzebruch, 1958)."""
    _check_at_least("n", n, 1)
    ring = RationalRing(("u",), (4,), (n,))
    u = ring.generator()
    pontryagin = (1 + u) ** (2 * n + 2) * (1 + 4 * u).inverse()
    return ClosedManifold(ring, RealBundle(4 * n, pontryagin, u**n * (n + 1)))


def sphere(n: int) -> ClosedManifold:
    """S^n of even n: p = 1 and e = 2 y, the integral of y being 1. Odd spheres have e = 0."""
    if n < 2 or n % 2:
        raise ArgumentError(
            "n", n, "an even dimension >= 2", "odd spheres have Euler number 0 and no other class"
        )
    ring = RationalRing(("y",), (n,), (1,))
    return ClosedManifold(ring, RealBundle(n, ring.constant(1), 2 * ring.generator()))


def complete_intersection(n: int, degrees: Sequence[int]) -> ClosedManifold:
    """The common zeros in CP^n of general polynomials of these degrees, at least a curve or CP^1.

    c = (1 + x)^(n + 1) / prod (1 + d_j x), x being the hyperplane class, with the integral prod d_j
    of its top power.
    """
    dimension = n - len(degrees)
    _check_at_least("n - len(degrees)", dimension, 1)
    _check_at_least("degrees", min(degrees, default=1), 1)
    ring = RationalRing(("x",), (2,), (dimension,), math.prod(degrees))
    x = ring.generator()
    chern = (1 + x) ** (n + 1)
    for degree in degrees:
        chern = chern * (1 + degree * x).inverse()
    return ClosedManifold(ring, ComplexBundle(dimension, chern))


def k3_surface() -> ClosedManifold:
    """A quartic in CP^3: c_1 = 0, Euler number 24, signature -16, A-hat genus 2."""
    return complete_intersection(3, [4])


def product(first: ClosedManifold, second: ClosedManifold) -> ClosedManifold:
    """The product, whose tangent bundle is the sum of both."""
    ring = first.ring.tensor(second.ring)
    start = len(first.ring.names)
    if isinstance(first.tangent, ComplexBundle) and isinstance(second.tangent, ComplexBundle):
        one = ComplexBundle(first.tangent.rank, _pulled(first.tangent.chern, ring, 0))
        other = ComplexBundle(second.tangent.rank, _pulled(second.tangent.chern, ring, start))
        return ClosedManifold(ring, one + other)
    parts = [
        RealBundle(b.rank, _pulled(b.pontryagin, ring, at), _pulled(b.euler, ring, at))
        for b, at in ((first.real_tangent, 0), (second.real_tangent, start))
    ]
    return ClosedManifold(ring, parts[0] + parts[1])


def _pulled(value: RationalClass, ring: RationalRing, start: int) -> RationalClass:
    """A class of one factor on the product, where the factor's generators begin at `start`."""
    after = len(ring.names) - start - len(value.ring.names)
    terms = {(0,) * start + p + (0,) * after: c for p, c in value.terms.items()}
    return RationalClass(ring, terms)


def _whole(value: Fraction) -> int:
    if value.denominator != 1:
        raise ArgumentError(
            "classes", f"an integral of {value}", "an integer", "no such bundle or manifold exists"
        )
    return int(value)


def _check_at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ArgumentError(name, value, f"an integer >= {least}", f"pass {least} or more")
