"""Products of simplicial cochains: cup, cup-i and Steenrod squares."""

from __future__ import annotations

from itertools import combinations

import torch
from jaxtyping import Num
from torch import Tensor

from ...errors import ArgumentError
from .chain_complex import ChainComplex
from .coefficients import Number, Ring
from .homology import Cohomology
from .simplicial_complex import SimplicialComplex


def cup_product(
    complex_: SimplicialComplex,
    first: Num[Tensor, "*b n_p"],
    first_degree: int,
    second: Num[Tensor, "*b n_q"],
    second_degree: int,
) -> Num[Tensor, "*b n_pq"]:
    """(a cup b)[v_0 ... v_{p+q}] = a[v_0 ... v_p] b[v_p ... v_{p+q}], vertices increasing.

    delta(a cup b) = delta a cup b + (-1)^p a cup delta b, and on classes
    a cup b = (-1)^{pq} b cup a. Differentiable in floating cochains.

    Args:
        complex_: the complex, which orders the simplices.
        first: a, [*b, n_p] values on the p-simplices; over F_p take the product modulo p.
        first_degree: p.
        second: b, [*b, n_q].
        second_degree: q.

    Raises:
        ArgumentError: for a cochain that has not one value a simplex.

    Source: Hatcher, Algebraic Topology (2002), section 3.2.
    """
    _check_cochain("first", complex_, first, first_degree)
    _check_cochain("second", complex_, second, second_degree)
    simplices = complex_.simplices(first_degree + second_degree)
    front = complex_.numbers(simplices[:, : first_degree + 1])
    back = complex_.numbers(simplices[:, first_degree:])
    return first[..., front] * second[..., back]


def cup_i_product(
    complex_: SimplicialComplex,
    first: Num[Tensor, "*b n_p"],
    first_degree: int,
    second: Num[Tensor, "*b n_q"],
    second_degree: int,
    index: int,
) -> Num[Tensor, "*b n_pqi"]:
    """The cup-i product modulo 2, of degree p + q - i; cup-0 is the cup product.

    (a cup_i b)(x) = sum over U of a(d_{U0} x) b(d_{U1} x) modulo 2, for the sets
    U = {u_1 < u_2 < ...} of p + q - 2 i vertices of x, where d leaves vertices out and U0, U1
    hold the u_j with u_j + j even and odd. With a = b of degree p it is Sq^{p-i}, and
    delta(a cup_i b) = a cup_{i-1} b + b cup_{i-1} a + delta a cup_i b + a cup_i delta b.

    Args:
        complex_, first, first_degree, second, second_degree: as for `cup_product`, integers.
        index: i >= 0.

    Source: Steenrod, Products of cocycles and extensions of mappings (1947); the formula is that
    of Medina-Mardones, New formulas for cup-i products (2021).
    """
    _check_cochain("first", complex_, first, first_degree)
    _check_cochain("second", complex_, second, second_degree)
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise ArgumentError("index", index, "an integer >= 0", "pass 0 for the cup product")
    degree = first_degree + second_degree - index
    simplices = complex_.simplices(degree)
    shape = torch.broadcast_shapes(first.shape[:-1], second.shape[:-1])
    total = first.new_zeros((*shape, len(simplices)))
    for left_out in combinations(range(degree + 1), max(degree - index, 0)):
        kept = _kept_vertices(degree, left_out)
        if [len(part) for part in kept] != [first_degree + 1, second_degree + 1]:
            continue
        front, back = (complex_.numbers(simplices[:, part]) for part in kept)
        total = total + first[..., front] * second[..., back]
    return total % 2


def steenrod_square(
    complex_: SimplicialComplex, cocycle: Num[Tensor, "*b n_p"], degree: int, index: int
) -> Num[Tensor, "*b n_pk"]:
    """Sq^k(a) = a cup_{p-k} a modulo 2, of degree p + k; 0 for k > p.

    Sq^0 is the identity on classes, Sq^p the square, Sq^1 the Bockstein of Z/4.
    Source: Mosher and Tangora, Cohomology Operations (1968), chapter 2.
    """
    if index > degree:
        _check_cochain("cocycle", complex_, cocycle, degree)
        return cocycle.new_zeros((*cocycle.shape[:-1], complex_.count(degree + index)))
    return cup_i_product(complex_, cocycle, degree, cocycle, degree, degree - index)


class CohomologyRing:
    """The cup products of a basis of cohomology classes.

    Args:
        complex_: the complex.
        ring: "Z", "Q" or a prime p.
    """

    def __init__(self, complex_: SimplicialComplex, ring: Ring = "Z") -> None:
        self.complex = complex_
        self.cohomology = Cohomology(ChainComplex.of(complex_), ring)

    def structure_constants(self, first: int, second: int) -> list[list[list[Number]]]:
        """c[i][j][k] of e_i cup e_j = sum_k c[i][j][k] e_k, in the bases `generators`.

        Args:
            first: p, the degree of the e_i.
            second: q, the degree of the e_j; the e_k have degree p + q.
        """
        left, right = (self.cohomology.generators(degree) for degree in (first, second))
        return [
            [
                self.cohomology.coordinates(
                    first + second, cup_product(self.complex, a, first, b, second)
                )
                for b in right
            ]
            for a in left
        ]

    def cup_form(self, degree: int) -> list[list[Number]]:
        """The matrix of H^k x H^k -> H^{2k}, where H^{2k} has one generator.

        Raises:
            ArgumentError: where H^{2k} has none or more than one.
        """
        target = self.cohomology.group(2 * degree)
        if target.rank + len(target.torsion) != 1:
            raise ArgumentError(
                "degree",
                f"{degree}, with H^{2 * degree} = {target}",
                f"one generator of H^{2 * degree}",
                "ask for structure_constants",
            )
        return [[entry[0] for entry in row] for row in self.structure_constants(degree, degree)]


def _kept_vertices(degree: int, left_out: tuple[int, ...]) -> list[list[int]]:
    parts = [
        {vertex for place, vertex in enumerate(left_out, 1) if (vertex + place) % 2 == parity}
        for parity in (0, 1)
    ]
    return [[vertex for vertex in range(degree + 1) if vertex not in part] for part in parts]


def _check_cochain(name: str, complex_: SimplicialComplex, cochain: Tensor, degree: int) -> None:
    if cochain.dim() < 1 or cochain.shape[-1] != complex_.count(degree):
        raise ArgumentError(
            name,
            f"shape {list(cochain.shape)}",
            f"[..., {complex_.count(degree)}] in degree {degree}",
            "pass one value a simplex",
        )
