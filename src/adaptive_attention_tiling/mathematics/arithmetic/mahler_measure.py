"""Mahler's measure: how far the roots of a polynomial reach out of the unit circle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .rational import exact_rational, log_of_rational


def mahler_measure(coefficients: Sequence[int]) -> float:
    """M(f) = |a_d| prod_i max(1, |alpha_i|) = exp of the mean of log|f| on the unit circle.

    Args:
        coefficients: integers a_0, ..., a_d, the constant one first.

    Raises:
        ArgumentError: for the zero polynomial, coefficients that are no integers, and degree 2 or
            more with roots beyond 1e308.
    """
    return math.exp(log_mahler_measure(coefficients))


def log_mahler_measure(coefficients: Sequence[int]) -> float:
    """log M(f), by the roots of the squarefree parts of f.

    Multiple roots are parted exactly (Yun, SYMSAC 1976) before floats see them: at a root of
    multiplicity m eigenvalues would be off by about 1e-16^(1/m).
    """
    total = 0.0
    for part, multiplicity in _squarefree_parts(_trimmed(coefficients)):
        scale = max(abs(value) for value in part)
        total += multiplicity * log_of_rational(scale)
        if len(part) <= 2:
            continue
        floats = torch.tensor([float(value / scale) for value in part], dtype=torch.float64)
        if float(floats[-1]) == 0:
            raise ArgumentError(
                "coefficients", "roots beyond 1e308", "roots that floats hold", "scale the variable"
            )
        total += multiplicity * float(log_mahler_of_tensor(floats))
    return max(total, 0.0)


def log_mahler_of_tensor(coefficients: Float[Tensor, "*b d1"]) -> Float[Tensor, "*b"]:
    """log |a_d| + sum_i max(0, log|alpha_i|) of real polynomials, with gradients.

    The roots are the eigenvalues of the companion matrix; gradients exist where they are simple
    and off the unit circle.

    Args:
        coefficients: a_0, ..., a_d on the last axis, a_d other than 0.
    """
    if coefficients.dim() < 1 or coefficients.shape[-1] < 1 or not coefficients.is_floating_point():
        raise ArgumentError(
            "coefficients",
            f"{coefficients.dtype} {list(coefficients.shape)}",
            "floating [*b, d + 1]",
            "pass the constant coefficient first",
        )
    if bool((coefficients[..., -1] == 0).any()) or bool(coefficients.isnan().any()):
        raise ArgumentError(
            "coefficients", "a leading 0 or NaN", "a_d other than 0", "leave leading zeros out"
        )
    leading = coefficients[..., -1]
    degree = coefficients.shape[-1] - 1
    if degree == 0:
        return leading.abs().log()
    last_column = -coefficients[..., :-1] / leading[..., None]
    shift = torch.eye(degree, dtype=coefficients.dtype, device=coefficients.device)
    shift = shift.roll(1, 0)[:, :-1].clone()
    shift[0] = 0
    companion = torch.cat(
        [shift.expand(*last_column.shape, degree - 1), last_column[..., None]], -1
    )
    size = torch.linalg.eigvals(companion).abs()
    outside: Tensor = size.clamp(min=1).log().sum(-1)
    return leading.abs().log() + outside


def primitive_part(coefficients: Sequence[int]) -> list[int]:
    """The coefficients without leading zeros, divided by their greatest common divisor."""
    integers = [int(value) for value in _trimmed(coefficients)]
    common = math.gcd(*integers)
    return [value // common for value in integers]


def _trimmed(coefficients: Sequence[int]) -> list[Fraction]:
    values = [exact_rational("coefficients", value) for value in coefficients]
    while values and values[-1] == 0:
        values.pop()
    if not values or any(value.denominator != 1 for value in values):
        raise ArgumentError(
            "coefficients",
            f"{[str(value) for value in coefficients]}",
            "integers, not all of them 0",
            "multiply by the common denominator",
        )
    return values


def _squarefree_parts(polynomial: list[Fraction]) -> list[tuple[list[Fraction], int]]:
    """f = prod_m f_m^m with squarefree f_m, up to nothing: the leading coefficient is kept."""
    parts: list[tuple[list[Fraction], int]] = [([polynomial[-1]], 1)]
    repeated = _greatest_common_divisor(polynomial, _derivative(polynomial))
    rest, multiplicity = _divided(polynomial, repeated)[0], 1
    while len(rest) > 1:
        deeper = _greatest_common_divisor(rest, repeated)
        part = _monic(_divided(rest, deeper)[0])
        if len(part) > 1:
            parts.append((part, multiplicity))
        rest, repeated = deeper, _divided(repeated, deeper)[0]
        multiplicity += 1
    return parts


def _monic(polynomial: list[Fraction]) -> list[Fraction]:
    return [value / polynomial[-1] for value in polynomial]


def _derivative(polynomial: list[Fraction]) -> list[Fraction]:
    return [power * value for power, value in enumerate(polynomial)][1:]


def _greatest_common_divisor(first: list[Fraction], second: list[Fraction]) -> list[Fraction]:
    while second:
        first, second = second, _divided(first, second)[1]
    return _monic(first)


def _divided(
    dividend: list[Fraction], divisor: list[Fraction]
) -> tuple[list[Fraction], list[Fraction]]:
    """Quotient and remainder, the latter [] for 0."""
    remainder, quotient = list(dividend), [Fraction(0)] * max(1, len(dividend) - len(divisor) + 1)
    while len(remainder) >= len(divisor):
        factor = remainder[-1] / divisor[-1]
        shift = len(remainder) - len(divisor)
        quotient[shift] = factor
        for place, value in enumerate(divisor):
            remainder[shift + place] -= factor * value
        while remainder and remainder[-1] == 0:
            remainder.pop()
    return quotient, remainder
