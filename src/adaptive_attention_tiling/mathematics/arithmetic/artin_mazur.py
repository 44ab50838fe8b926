"""Artin-Mazur zeta functions: the periodic points of shifts, toral maps and other maps.

With N_l the number of points fixed by the l-th power of a map,

    zeta(u) = exp(sum_l N_l u^l / l) = prod over periodic orbits of (1 - u^period)^-1.

Sources: Artin and Mazur, Ann. Math. 81 (1965); Bowen and Lanford (1970); Lind and Marcus,
Symbolic Dynamics and Coding (1995), sections 4.1 and 6.4.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ...errors import ArgumentError
from .integer_matrix import exact_matrix, power_traces, reverse_characteristic_polynomial
from .primes import factor


def artin_mazur_zeta(
    matrix: Float[Tensor, "*b n n"], points: Shaped[Tensor, "*b"]
) -> Shaped[Tensor, "*b"]:
    """zeta(u) = 1 / det(I - u A) of the shift that A describes; differentiable in A and u.

    Args:
        matrix: A_ij, how many (or with what weight) edges lead from i to j; directed.
        points: u, real or complex; broadcast with the batch axes of A.

    Raises:
        ArgumentError: A is not square, or u is a pole.
    """
    _check_square(matrix)
    dtype = torch.promote_types(matrix.dtype, points.dtype)
    eye = torch.eye(matrix.shape[-1], dtype=dtype, device=matrix.device)
    found: Tensor = torch.linalg.det(eye - points[..., None, None].to(dtype) * matrix.to(dtype))
    if bool((found == 0).any()):
        raise ArgumentError("points", "a pole", "u with det(I - u A) != 0", "leave poles out")
    return 1 / found


def topological_entropy(matrix: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
    """ln of the spectral radius of A >= 0, in nats a step; -inf when no cycle leads anywhere.

    Source: Lind and Marcus (1995), theorem 4.3.1 for irreducible shifts, 4.4.4 for all.
    """
    _check_square(matrix)
    if bool((matrix < 0).any()):
        raise ArgumentError("matrix", "an entry < 0", "entries >= 0", "pass an adjacency matrix")
    eigenvalues: Tensor = torch.linalg.eigvals(matrix)
    return eigenvalues.abs().amax(-1).log()


def shift_polynomial(matrix: Tensor | np.ndarray | list[list[int]]) -> list[int]:
    """The integer coefficients of 1 / zeta(u) = det(I - u A), constant term first; exact."""
    return reverse_characteristic_polynomial(exact_matrix("matrix", matrix))


def shift_fixed_points(matrix: Tensor | np.ndarray | list[list[int]], length: int) -> list[int]:
    """N_1, ..., N_length of a shift: N_l = tr A^l; exact."""
    return power_traces(exact_matrix("matrix", matrix), length)


def toral_fixed_points(matrix: Tensor | np.ndarray | list[list[int]], length: int) -> list[int]:
    """N_1, ..., N_length of x -> M x mod 1: N_l = |det(M^l - I)|; exact.

    Raises:
        ArgumentError: M has a root of unity among its eigenvalues, so that points fixed by some
            power are not finitely many.
    """
    whole = exact_matrix("matrix", matrix)
    power, found = whole, []
    for order in range(1, length + 1):
        count = abs(sum(reverse_characteristic_polynomial(power)))
        if count == 0:
            raise ArgumentError(
                "matrix",
                f"1 is an eigenvalue of power {order}",
                "finitely many fixed points",
                "pass a matrix without roots of unity among its eigenvalues",
            )
        found.append(count)
        power = power @ whole
    return found


def orbits(fixed_points: list[int]) -> list[int]:
    """Orbits of each prime period l = 1, 2, ... : (1/l) sum_{d | l} mu(l/d) N_d.

    Raises:
        ArgumentError: some number of orbits is negative or no integer: no map has such counts.
    """
    found = []
    for period in range(1, len(fixed_points) + 1):
        divisors = [d for d in range(1, period + 1) if period % d == 0]
        total = sum(mobius(period // d) * fixed_points[d - 1] for d in divisors)
        if total < 0 or total % period:
            raise ArgumentError(
                "fixed_points",
                f"{total} points of prime period {period}",
                "a multiple of the period, >= 0",
                "pass the counts of a map",
            )
        found.append(total // period)
    return found


def zeta_series(fixed_points: list[int]) -> list[Fraction]:
    """The coefficients of exp(sum_l N_l u^l / l) up to u^length; exact, integers for any map.

    k z_k = sum_{l=1}^k N_l z_{k-l}, z_0 = 1
    """
    found = [Fraction(1)]
    for order in range(1, len(fixed_points) + 1):
        total = sum(fixed_points[k - 1] * found[order - k] for k in range(1, order + 1))
        found.append(Fraction(total) / order)
    return found


def mobius(number: int) -> int:
    """mu(n), n >= 1: 0 when a square divides n, else (-1) to the number of its primes."""
    exponents = factor(number).values()
    return 0 if any(e > 1 for e in exponents) else (-1) ** len(exponents)


def _check_square(matrix: Tensor) -> None:
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2] or not matrix.is_floating_point():
        raise ArgumentError(
            "matrix",
            f"{matrix.dtype} {list(matrix.shape)}",
            "floating [..., n, n]",
            "pass a square matrix",
        )
