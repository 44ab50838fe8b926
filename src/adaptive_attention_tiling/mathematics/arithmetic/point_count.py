"""Counting solutions of polynomial equations over finite fields, by looking at every point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError
from .finite_field import FiniteField, prime_power

Polynomial = Mapping[tuple[int, ...], int]

_POINTS_AT_ONCE = 2**18
_MOST_POINTS = 2**26


def evaluate(
    field: FiniteField, polynomial: Polynomial, points: Int[Tensor, "b n"]
) -> Int[Tensor, " b"]:
    """f(x) = sum over {(e_1, ..., e_n): c} of c x_1^e_1 ... x_n^e_n, at points over F_q."""
    total = torch.zeros_like(points[:, 0])
    for exponents, coefficient in polynomial.items():
        term = torch.full_like(total, field.from_integer(coefficient))
        for axis, exponent in enumerate(exponents):
            term = field.multiply(term, field.power(points[:, axis], exponent))
        total = field.add(total, term)
    return total


def affine_points(equations: Sequence[Polynomial], q: int, variables: int | None = None) -> int:
    """#{x in F_q^n : f_1(x) = ... = f_r(x) = 0}, all q^n points tried.

    Args:
        equations: polynomials with integer coefficients, {exponents: coefficient} each: x y - 1
            is {(1, 1): 1, (0, 0): -1}.
        q: a power of a prime.
        variables: n; told by the exponents where there are equations.

    Raises:
        ArgumentError: q is no power of a prime; exponents of several lengths or negative; more
            than 2^26 points.
    """
    variables = _variables(equations, variables)
    prime, degree = prime_power("q", q)
    if q**variables > _MOST_POINTS:
        raise ArgumentError(
            "q", f"{q}^{variables} points", f"at most {_MOST_POINTS}", "count over a smaller field"
        )
    field = FiniteField(prime, degree)
    units = torch.tensor([q**axis for axis in range(variables)], dtype=torch.int64)
    found = 0
    for start in range(0, q**variables, _POINTS_AT_ONCE):
        numbers = torch.arange(start, min(start + _POINTS_AT_ONCE, q**variables))
        points = numbers[:, None] // units % q
        for equation in equations:
            points = points[evaluate(field, equation, points) == 0]
        found += len(points)
    return found


def projective_points(equations: Sequence[Polynomial], q: int, variables: int | None = None) -> int:
    """#{[x_1 : ... : x_n]} on homogeneous equations: (affine points - 1) / (q - 1).

    Args:
        equations, q, variables: as of `affine_points`, n counting homogeneous coordinates.

    Raises:
        ArgumentError: an equation is not homogeneous or constant; and as `affine_points`.
    """
    for equation in equations:
        if len({sum(exponents) for exponents in equation}) != 1 or _is_constant(equation):
            raise ArgumentError(
                "equations",
                dict(equation),
                "homogeneous polynomials of degree >= 1",
                "make all terms of one degree",
            )
    return (affine_points(equations, q, variables) - 1) // (q - 1)


def grassmannian_points(k: int, n: int, q: int) -> int:
    """#Gr(k, n)(F_q), counted as reduced row echelon forms, shape by shape: q^free entries each.

    A reference for motives: it enumerates pivots, and knows no Gaussian binomials.
    """
    prime_power("q", q)
    if not 0 <= k <= n:
        raise ArgumentError("k", k, f"0 to n = {n}", "no larger subspace fits")
    pivots = torch.combinations(torch.arange(n), k) if k else torch.zeros(1, 0, dtype=torch.int64)
    # Right of its pivot a row is free but in the columns of later pivots.
    free = (n - 1 - pivots).sum(1) - k * (k - 1) // 2
    return sum(q ** int(count) for count in free)


def elliptic_points(coefficients: Sequence[int], q: int) -> int:
    """#E(F_q) of y^2 + a1 x y + a3 y = x^3 + a2 x^2 + a4 x + a6, with its point at infinity."""
    a1, a2, a3, a4, a6 = coefficients
    terms = [((0, 2), 1), ((1, 1), a1), ((0, 1), a3), ((3, 0), -1), ((2, 0), -a2)]
    equation: Polynomial = dict([*terms, ((1, 0), -a4), ((0, 0), -a6)])
    return affine_points([equation], q) + 1


def _is_constant(equation: Polynomial) -> bool:
    return not any(any(exponents) for exponents in equation)


def _variables(equations: Sequence[Polynomial], variables: int | None) -> int:
    lengths = {len(exponents) for equation in equations for exponents in equation}
    if variables is not None:
        lengths.add(variables)
    if len(lengths) != 1 or min(lengths) < 1:
        raise ArgumentError(
            "equations",
            f"{sorted(lengths)} variables",
            "as many in every term, 1 or more",
            "give each term one exponent a variable, or pass variables=n",
        )
    negative = [e for equation in equations for e in equation if min(e) < 0]
    if negative:
        raise ArgumentError("equations", negative[0], "exponents >= 0", "clear denominators")
    return lengths.pop()
