"""sinh and arsinh of a square root, as functions that stay smooth where the root vanishes.

A negative argument turns them into sin and arcsin, so that spheres and hyperbolic planes share
them: cosh(sqrt(s)) is 1 + s / 2 sinhc(s / 4)^2 for either sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

_SMALL = 0.1
_SINH = [1 / math.factorial(2 * k + 1) for k in range(11)]
_ARSINH = [
    (-1) ** k * math.comb(2 * k, k) / (4**k * (2 * k + 1)) for k in range(18)
]  # its error at |s| = 0.1 is below 1e-19


def sinhc(square: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """sinh(sqrt(s)) / sqrt(s), which is sin(sqrt(-s)) / sqrt(-s) for s < 0; 1 at s = 0."""
    small = square.abs() < _SMALL
    series = _horner(_SINH, torch.where(small, square, 0.0))
    root = torch.where(small, 1.0, square).abs().sqrt()
    return torch.where(small, series, torch.where(square < 0, root.sin(), root.sinh()) / root)


def cosh_root(square: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """cosh(sqrt(s)), which is cos(sqrt(-s)) for s < 0."""
    return 1 + square / 2 * sinhc(square / 4).square()


def arsinhc(square: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """arsinh(sqrt(s)) / sqrt(s), which is arcsin(sqrt(-s)) / sqrt(-s) for -1 < s < 0."""
    small = square.abs() < _SMALL
    series = _horner(_ARSINH, torch.where(small, square, 0.0))
    bent = ~small & (square < 0)
    arc = torch.where(bent, square, -0.25).abs().sqrt()
    root = torch.where(small | bent, 1.0, square).sqrt()
    return torch.where(small, series, torch.where(bent, arc.asin() / arc, root.asinh() / root))


def _horner(coefficients: Sequence[float], x: Tensor) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
