"""Classes of varieties in the Grothendieck ring, as polynomials in the Lefschetz motive L = [A^1].

Sums cut a variety into pieces, products multiply; a variety whose class is P(L) has P(q) points
over every F_q. Here stand those cut into affine cells, and the groups built of them. Sources:
Manin (1968); Bittner (2004) for the ring; Andre, Une introduction aux motifs, chapter 13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Shaped
from torch import Tensor

from ...errors import ArgumentError
from .finite_field import prime_power


@dataclass(frozen=True)
class LefschetzPolynomial:
    """c_0 + c_1 L + c_2 L^2 + ... with exact integers c_i.

    Args:
        coefficients: (c_0, c_1, ...); zeros at the end are dropped.
    """

    coefficients: tuple[int, ...]

    def __post_init__(self) -> None:
        kept = list(self.coefficients)
        if any(isinstance(c, bool) or not isinstance(c, int) for c in kept):
            raise ArgumentError("coefficients", kept, "integers", "pass ints")
        while kept and kept[-1] == 0:
            kept.pop()
        object.__setattr__(self, "coefficients", tuple(kept))

    @property
    def dimension(self) -> int:
        """The degree in L; -1 for the class of the empty variety."""
        return len(self.coefficients) - 1

    def __add__(self, other: LefschetzPolynomial | int) -> LefschetzPolynomial:
        first, second = self.coefficients, _as_class(other).coefficients
        length = max(len(first), len(second))
        pairs = zip(_padded(first, length), _padded(second, length), strict=True)
        return LefschetzPolynomial(tuple(a + b for a, b in pairs))

    def __neg__(self) -> LefschetzPolynomial:
        return LefschetzPolynomial(tuple(-c for c in self.coefficients))

    def __sub__(self, other: LefschetzPolynomial | int) -> LefschetzPolynomial:
        return self + -_as_class(other)

    def __mul__(self, other: LefschetzPolynomial | int) -> LefschetzPolynomial:
        second = _as_class(other).coefficients
        found = [0] * (len(self.coefficients) + len(second))
        for i, a in enumerate(self.coefficients):
            for j, b in enumerate(second):
                found[i + j] += a * b
        return LefschetzPolynomial(tuple(found))

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: int) -> LefschetzPolynomial:
        return _as_class(other) - self

    def __pow__(self, exponent: int) -> LefschetzPolynomial:
        return math.prod([self] * _natural("exponent", exponent), start=POINT)

    def __floordiv__(self, other: LefschetzPolynomial) -> LefschetzPolynomial:
        """The exact quotient; ArgumentError where the other does not divide."""
        divisor, rest = other.coefficients, list(self.coefficients)
        if not divisor:
            raise ArgumentError("other", 0, "a divisor other than 0", "check what it comes from")
        quotient = [0] * max(0, len(rest) - len(divisor) + 1)
        for place in reversed(range(len(quotient))):
            quotient[place] = rest[place + len(divisor) - 1] // divisor[-1]
            for i, c in enumerate(divisor):
                rest[place + i] -= quotient[place] * c
        if any(rest):
            raise ArgumentError("other", other.coefficients, "a divisor", "keep it as a fraction")
        return LefschetzPolynomial(tuple(quotient))

    def points(self, q: int) -> int:
        """The number of points over F_q, P(q); raises ArgumentError unless q is a prime power."""
        prime_power("q", q)
        return self.at(q)

    def at(self, value: int) -> int:
        """P at any integer in the place of L."""
        return sum(c * value**i for i, c in enumerate(self.coefficients))

    @property
    def euler_characteristic(self) -> int:
        """P(1), that of the complex points with compact supports."""
        return self.at(1)

    @property
    def betti_numbers(self) -> tuple[int, ...]:
        """b_0, b_1, ..., b_2d of a smooth projective variety of this class: b_2i = c_i, odd ones 0.

        Raises:
            ArgumentError: the coefficients are not those of such a variety, since they break
                Poincare duality or are negative.
        """
        cells = self.coefficients
        if cells != cells[::-1] or min(cells, default=0) < 0:
            raise ArgumentError(
                "class",
                cells,
                "the class of a smooth projective variety",
                "ask affine or open varieties for compact supports: euler_characteristic",
            )
        odd = [n for c in cells for n in (c, 0)]
        return tuple(odd[:-1])

    def hasse_weil_zeta(self, q: int, u: Shaped[Tensor, "*b"]) -> Shaped[Tensor, "*b"]:
        """Z(u) = exp(sum_k P(q^k) u^k / k) = prod_i (1 - q^i u)^-c_i; differentiable in u."""
        prime_power("q", q)
        found = torch.ones_like(u)
        for i, c in enumerate(self.coefficients):
            found = found * (1 - q**i * u) ** -c
        return found

    def zeta_series(self, q: int, length: int) -> list[Fraction]:
        """The coefficients of Z(u) up to u^length; integers: the effective zero-cycles."""
        prime_power("q", q)
        found = [Fraction(1)]
        for order in range(1, length + 1):
            total = sum(self.at(q**k) * found[order - k] for k in range(1, order + 1))
            found.append(Fraction(total) / order)
        return found

    def __str__(self) -> str:
        names = ["", "L", *(f"L^{i}" for i in range(2, len(self.coefficients)))]
        terms = [
            f"{c}{name}" if not name or c not in (1, -1) else f"{'-' * (c < 0)}{name}"
            for c, name in zip(self.coefficients, names, strict=False)
            if c
        ]
        return " + ".join(terms).replace("+ -", "- ") or "0"


POINT = LefschetzPolynomial((1,))
LEFSCHETZ = LefschetzPolynomial((0, 1))


def affine_space(n: int) -> LefschetzPolynomial:
    """[A^n] = L^n."""
    return LEFSCHETZ ** _natural("n", n)


def projective_space(n: int) -> LefschetzPolynomial:
    """[P^n] = 1 + L + ... + L^n."""
    return LefschetzPolynomial((1,) * (_natural("n", n) + 1))


def torus(n: int) -> LefschetzPolynomial:
    """[G_m^n] = (L - 1)^n."""
    return (LEFSCHETZ - 1) ** _natural("n", n)


def general_linear_group(n: int) -> LefschetzPolynomial:
    """[GL_n] = prod_{i < n} (L^n - L^i)."""
    top = affine_space(n)
    return math.prod((top - LEFSCHETZ**i for i in range(n)), start=POINT)


def special_linear_group(n: int) -> LefschetzPolynomial:
    """[SL_n] = [GL_n] / (L - 1), n >= 1."""
    if n < 1:
        raise ArgumentError("n", n, "an integer >= 1", "SL_0 is no group of matrices")
    return general_linear_group(n) // (LEFSCHETZ - 1)


def symplectic_group(n: int) -> LefschetzPolynomial:
    """[Sp_2n] = L^(n^2) prod_{i=1}^n (L^2i - 1)."""
    factors = (LEFSCHETZ ** (2 * i) - 1 for i in range(1, _natural("n", n) + 1))
    return math.prod(factors, start=LEFSCHETZ ** (n * n))


def grassmannian(k: int, n: int) -> LefschetzPolynomial:
    """[Gr(k, n)], subspaces of dimension k in n-space: the Gaussian binomial (n choose k)_L."""
    if not 0 <= k <= n:
        raise ArgumentError("k", k, f"0 to n = {n}", "no larger subspace fits")
    return flag_variety((k, n - k))


def flag_variety(steps: tuple[int, ...]) -> LefschetzPolynomial:
    """Flags 0 < V_1 < V_2 < ... with dim V_i - dim V_{i-1} = steps_i, their sum the whole space.

    [n]_L! / prod_i [steps_i]_L!,    [m]_L! = [P^0] [P^1] ... [P^(m-1)]
    """
    bottom = math.prod((_factorial(_natural("steps", step)) for step in steps), start=POINT)
    return _factorial(sum(steps)) // bottom


def quadric(n: int, *, split: bool = True) -> LefschetzPolynomial:
    """The smooth quadric of dimension n in P^(n+1): [P^n], for even n with L^(n/2) more or less.

    Args:
        n: the dimension, 0 or more.
        split: for even n, whether a linear space of dimension n/2 lies on it (+) or not (-);
            then points are counted over F_q, q odd or even. Odd n knows no difference.

    Source: Hirschfeld, Projective Geometries over Finite Fields, theorem 5.21.
    """
    middle = LEFSCHETZ ** (n // 2) if _natural("n", n) % 2 == 0 else LefschetzPolynomial(())
    return projective_space(n) + (middle if split else -middle)


def projective_bundle(base: LefschetzPolynomial, rank: int) -> LefschetzPolynomial:
    """[P(E)] = [base] [P^(rank - 1)] for a vector bundle E of this rank; locally trivial."""
    if rank < 1:
        raise ArgumentError("rank", rank, "an integer >= 1", "pass the rank of the bundle")
    return base * projective_space(rank - 1)


def blow_up(
    ambient: LefschetzPolynomial, centre: LefschetzPolynomial, codimension: int
) -> LefschetzPolynomial:
    """[Bl_Z X] = [X] - [Z] + [Z] [P^(c-1)], Z smooth of codimension c in the smooth X."""
    if codimension != ambient.dimension - centre.dimension or codimension < 1:
        raise ArgumentError(
            "codimension",
            codimension,
            f"{ambient.dimension - centre.dimension}, dim X - dim Z, and >= 1",
            "pass dim X - dim Z",
        )
    return ambient - centre + projective_bundle(centre, codimension)


def _factorial(n: int) -> LefschetzPolynomial:
    return math.prod((projective_space(i) for i in range(n)), start=POINT)


def _as_class(value: LefschetzPolynomial | int) -> LefschetzPolynomial:
    return value if isinstance(value, LefschetzPolynomial) else LefschetzPolynomial((value,))


def _padded(coefficients: tuple[int, ...], length: int) -> list[int]:
    return [*coefficients, *[0] * (length - len(coefficients))]


def _natural(name: str, n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ArgumentError(name, f"{n!r}", "an integer >= 0", "pass a dimension")
    return n
