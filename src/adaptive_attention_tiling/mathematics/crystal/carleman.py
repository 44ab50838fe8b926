"""Power series at a fixed point, and the matrix by which a map acts on them.

For P(x) = R(K* + x) - K* and monomials x^a of degree <= p, x^a o P = sum_b M_ab x^b cut at degree
p is Carleman's matrix; its eigenvalues are the products of those of dR, so that equations for
functions of couplings near K* become linear ones.

Carleman, Acta Math. 59 (1932) 63; Kowalski and Steeb, Nonlinear Dynamical Systems and Carleman
Linearization (1991), chapter 2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations_with_replacement
from math import factorial, prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .block_map import BlockMap, applied


@cache
def monomials(size: int, order: int) -> tuple[tuple[int, ...], ...]:
    """Exponents of every monomial in `size` variables up to a degree, by degree, 1 first."""
    return tuple(
        tuple(chosen.count(variable) for variable in range(size))
        for degree in range(order + 1)
        for chosen in combinations_with_replacement(range(size), degree)
    )


class PowerSeries:
    """sum_a c_a (K - K*)^a over the monomials of degree <= order.

    Args:
        centre: K* [n].
        order: largest degree.
        coefficients: c [m], in the order of `monomials`.
    """

    def __init__(self, centre: Tensor, order: int, coefficients: Tensor) -> None:
        self.centre, self.order, self.coefficients = centre, order, coefficients

    def __call__(self, couplings: Float[Tensor, "*b n"]) -> Tensor:
        """Its value [*b]."""
        powers = _exponents(len(self.centre), self.order).to(couplings.device)
        away = (couplings - self.centre)[..., None, :]
        # 0^0 = 1, with derivative 0.
        values = torch.where(powers == 0, 1.0, away ** powers.clamp(min=1)).prod(-1)
        return (values * self.coefficients).sum(-1)


def taylor_series(
    function: Callable[[Tensor], Tensor], centre: Float[Tensor, " n"], order: int
) -> Float[Tensor, "*m c"]:
    """Taylor coefficients of a function of couplings [n], constants, by repeated gradients.

    Args:
        function: from [n] to [*m].
        centre: K*.
        order: largest degree, 1 to 8.
    """
    check_order(order)
    size = len(centre)
    place = centre.detach().requires_grad_()
    values = function(place)
    rows = []
    for value in values.reshape(-1):
        found = {(0,) * size: value}
        for powers in monomials(size, order - 1):
            slopes = _gradient(found[powers], place)
            for variable, slope in enumerate(slopes):
                higher = tuple(p + (v == variable) for v, p in enumerate(powers))
                found.setdefault(higher, slope)
        rows.append(
            torch.stack(
                [
                    found[powers].detach() / prod(factorial(power) for power in powers)
                    for powers in monomials(size, order)
                ]
            )
        )
    return torch.stack(rows).reshape(*values.shape, -1)


def _gradient(value: Tensor, place: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(place)
    (slope,) = torch.autograd.grad(value, place, create_graph=True, materialize_grads=True)
    return slope


def carleman_matrix(
    block_map: BlockMap, centre: Float[Tensor, " n"], order: int
) -> Float[Tensor, "c c"]:
    """M_ab: the coefficient of x^b in P(x)^a, degrees up to `order`.

    Args:
        block_map: R.
        centre: K* = R(K*).
        order: largest degree.
    """
    size = len(centre)
    series = taylor_series(lambda k: applied(block_map, k), centre, order)
    moved = torch.cat([torch.zeros_like(series[:, :1]), series[:, 1:]], 1)
    one = torch.zeros_like(series[0])
    one[0] = 1.0
    number = {powers: row for row, powers in enumerate(monomials(size, order))}
    rows: list[Tensor] = []
    for powers in monomials(size, order):
        if not any(powers):
            rows.append(one)
            continue
        last = next(v for v in range(size) if powers[v])
        less = tuple(power - (v == last) for v, power in enumerate(powers))
        rows.append(_product(rows[number[less]], moved[last], size, order))
    return torch.stack(rows)


def solve_homological(
    matrix: Tensor, factor: complex, right: Tensor, skip: int, eigenvalues: Tensor, order: int
) -> Tensor:
    """c with (factor - M^T) c = right over monomials number `skip` and later.

    Args:
        matrix: Carleman's.
        factor: what the function is multiplied by as the map acts.
        right: [c - skip].
        skip: how many of the first monomials are known.
        eigenvalues: of dR at K*, whose products must not be the factor.
        order: largest degree of the monomials.

    Raises:
        ArgumentError: a resonance: no power series solves the equation, and the solution has a
            logarithm of that monomial.
    """
    for powers in monomials(len(eigenvalues), order)[skip:]:
        value = torch.stack(
            [e**p for e, p in zip(eigenvalues.detach(), powers, strict=True)]
        ).prod()
        if abs(complex(value) - factor) <= 1e-7 * max(1.0, abs(factor)):
            raise ArgumentError(
                "order",
                f"a resonance: eigenvalues to the powers {powers} make {factor:.6g}",
                "an order below that of the resonance",
                "the solution has a logarithm there, which no power series holds",
            )
    block = matrix[skip:, skip:].mT
    unit = torch.eye(len(block), dtype=right.dtype, device=matrix.device)
    solved: Tensor = torch.linalg.solve(factor * unit - block.to(right), right)
    return solved


def check_order(order: int) -> None:
    """Raise unless an order of power series is one that can be had."""
    if not 1 <= order <= 8:
        raise ArgumentError("order", order, "1 to 8", "pass 4")


def _product(one: Tensor, other: Tensor, size: int, order: int) -> Tensor:
    """Of two power series, cut at the order."""
    left, right, target = _multiplication(size, order)
    terms = one[left] * other[right]
    return torch.zeros_like(one).index_add(0, target.to(one.device), terms)


@cache
@torch.inference_mode(False)  # what is kept serves training too
def _multiplication(size: int, order: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of all pairs of monomials whose product is kept, and of that product."""
    listed = monomials(size, order)
    number = {powers: row for row, powers in enumerate(listed)}
    triples = []
    for i, one in enumerate(listed):
        for j, other in enumerate(listed):
            both = tuple(a + b for a, b in zip(one, other, strict=True))
            if both in number:
                triples.append((i, j, number[both]))
    left, right, target = torch.tensor(triples).unbind(1)
    return left, right, target


def _exponents(size: int, order: int) -> Int[Tensor, "c n"]:
    return torch.tensor(monomials(size, order))
