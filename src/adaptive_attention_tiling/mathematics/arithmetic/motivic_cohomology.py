"""The motivic cohomology groups of finite fields and projective spaces, as far as they are listed.

Nothing here is computed from cycles: these are theorems, and what they do not cover is refused.
Sources: Quillen, Ann. Math. 96 (1972); Geisser and Levine (2000); Mazza, Voevodsky and Weibel,
Lecture Notes on Motivic Cohomology (2006), theorem 5.1, corollary 4.2 and 15.12.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ArgumentError, UnsupportedError
from .finite_field import prime_power


@dataclass(frozen=True)
class CyclicSum:
    """Z^rank + Z/n_1 + Z/n_2 + ..., summands as they are given: Z/2 + Z/3 is not turned into Z/6.

    Args:
        rank: of the free part.
        torsion: orders n_i > 1, smallest first; others of 1 are dropped.
    """

    rank: int = 0
    torsion: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "torsion", tuple(sorted(n for n in self.torsion if n != 1)))

    def __add__(self, other: CyclicSum) -> CyclicSum:
        """The direct sum."""
        return CyclicSum(self.rank + other.rank, self.torsion + other.torsion)

    def __str__(self) -> str:
        free = ["Z" if self.rank == 1 else f"Z^{self.rank}"] if self.rank else []
        return " + ".join([*free, *(f"Z/{n}" for n in self.torsion)]) or "0"


def milnor_k_group(n: int, q: int) -> CyclicSum:
    """K^M_n(F_q): Z, F_q^* = Z/(q - 1), and 0 for n >= 2 (Steinberg's relation; Milnor, 1970)."""
    prime_power("q", q)
    _check_natural("n", n)
    return (CyclicSum(1), CyclicSum(0, (q - 1,)))[n] if n < 2 else CyclicSum()


def quillen_k_group(n: int, q: int) -> CyclicSum:
    """K_n(F_q): Z for n = 0, Z/(q^i - 1) for n = 2 i - 1, and 0 for even n >= 2 (Quillen, 1972)."""
    prime_power("q", q)
    _check_natural("n", n)
    if n == 0:
        return CyclicSum(1)
    return CyclicSum(0, (q ** ((n + 1) // 2) - 1,)) if n % 2 else CyclicSum()


def motivic_cohomology_of_finite_field(degree: int, weight: int, q: int) -> CyclicSum:
    """H^p(Spec F_q, Z(i)): Z at (0, 0), Z/(q^i - 1) at (1, i) with i >= 1, else 0.

    On the diagonal it is Milnor's K-theory, H^{n,n} = K^M_n.
    """
    prime_power("q", q)
    if weight == 0 and degree == 0:
        return CyclicSum(1)
    if weight >= 1 and degree == 1:
        return CyclicSum(0, (q**weight - 1,))
    return CyclicSum()


def motivic_cohomology_of_projective_space(
    degree: int, weight: int, n: int, q: int | None = None
) -> CyclicSum:
    """H^p(P^n, Z(i)) = sum_{j=0}^n H^{p-2j}(k, Z(i-j)), by the projective bundle formula.

    Args:
        degree: p.
        weight: i.
        n: the dimension of the projective space, 0 or more.
        q: k = F_q; None for a field that is not told, where just the Chow groups
            H^{2i}(P^n, Z(i)) = CH^i(P^n) = Z for i <= n, and what vanishes over every field, stand.

    Raises:
        UnsupportedError: a group over an untold field that depends on the field.
    """
    _check_natural("n", n)
    if q is None:
        return _over_any_field(degree, weight, n)
    parts = (
        motivic_cohomology_of_finite_field(degree - 2 * j, weight - j, q) for j in range(n + 1)
    )
    return sum(parts, CyclicSum())


def _over_any_field(degree: int, weight: int, n: int) -> CyclicSum:
    """Sum over j of H^{p-2j, i-j}(k), which vanishes for i < j and for p - 2j > i - j."""
    places = [(degree - 2 * j, weight - j) for j in range(n + 1) if weight >= j]
    # Of weight 0 there is H^0 = Z alone, of weight 1 there is H^1 = k^* alone.
    left = [(p, i) for p, i in places if p <= i and (i > 1 or p == i)]
    if any(place != (0, 0) for place in left):
        raise UnsupportedError(
            f"H^{degree}(P^{n}, Z({weight})) holds H^p(k, Z(i)) at {left}, which depends on the "
            "field: pass q for k = F_q; other fields are not listed here"
        )
    return CyclicSum(len(left))


def _check_natural(name: str, n: int) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ArgumentError(name, f"{n!r}", "an integer >= 0", "pass a natural number")
