"""Scalar functions with their first and second divided differences, without cancellation.

    f[x, y]    = (f(x) - f(y)) / (x - y),              f'(x)      where they meet
    f[x, y, z] = (f[x, y] - f[y, z]) / (x - z),        f''(x) / 2 where they meet

Every form below is exact algebra or a sum of terms of one size; the definition itself is used only
where the outer points are so far apart that its subtraction costs no more than two bits.

Source: Higham, Functions of Matrices (2008), section 3.2 and appendix B.16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

_NODES, _WEIGHTS = (x.tolist() for x in numpy.polynomial.legendre.leggauss(12))
_EXP_TERMS = 18


@dataclass(frozen=True)
class ScalarFunction:
    """f, f[x, y] and f[x, y, z] of tensors of numbers above `above`."""

    name: str
    above: float
    value: Callable[[Tensor], Tensor]
    first: Callable[[Tensor, Tensor], Tensor]
    second: Callable[[Tensor, Tensor, Tensor], Tensor]


def _ratio(numerator: Tensor, denominator: Tensor, limit: float) -> Tensor:
    """numerator / denominator, and its limit where the denominator is 0."""
    zero = denominator == 0
    return torch.where(zero, limit, numerator / torch.where(zero, 1.0, denominator))


def _ordered(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = torch.minimum(x, y), torch.maximum(x, y)
    middle = torch.maximum(low, torch.minimum(high, z))
    return torch.minimum(low, z), middle, torch.maximum(high, z)


def _exp_first(x: Tensor, y: Tensor) -> Tensor:
    gap = (x - y).abs()
    return torch.maximum(x, y).exp() * _ratio(-torch.expm1(-gap), gap, 1.0)


def _exp_second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """e^m sum_k h_k / (k + 2)! about the mean m, h_k the complete homogeneous polynomials."""
    low, middle, high = _ordered(x, y, z)
    width = high - low
    far = (_exp_first(middle, high) - _exp_first(low, middle)) / torch.where(width > 1, width, 1.0)
    mean = low + ((middle - low) + width) / 3
    a, b, c = (torch.where(width > 1, 0.0, p - mean) for p in (low, middle, high))
    pairs, triple = a * b + b * c + c * a, a * b * c
    earlier, previous, current = torch.zeros_like(a), torch.zeros_like(a), torch.ones_like(a)
    total, factorial = current / 2, 2.0
    for k in range(1, _EXP_TERMS):
        earlier, previous, current = previous, current, triple * earlier - pairs * previous
        factorial *= k + 2
        total = total + current / factorial
    return torch.where(width > 1, far, mean.exp() * total)


def _log_ratio(x: Tensor, y: Tensor) -> Tensor:
    """log(x / y) of x >= y > 0, all digits also where they are nearly equal."""
    return torch.log1p((x - y) / y)


def _log_first(x: Tensor, y: Tensor) -> Tensor:
    low, high = torch.minimum(x, y), torch.maximum(x, y)
    excess = (high - low) / low
    return _ratio(torch.log1p(excess), excess, 1.0) / low


def _log_second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """-int_0^1 m s ds / prod(m + s (x - m)), m between the points; Gauss quadrature, 12 nodes.

    This is -int_0^oo dt / ((x + t)(y + t)(z + t)). With the points in [m / 2, 2 m], poles lie at
    least an interval's length off, and the error is 6^-24.
    """
    low, middle, high = _ordered(x, y, z)
    is_far = high > 4 * low
    far = (_log_first(middle, high) - _log_first(low, middle)) / torch.where(
        is_far, high - low, 1.0
    )
    scale = low.sqrt() * high.sqrt()
    a, b, c = (torch.where(is_far, 0.0, p / scale - 1) for p in (low, middle, high))
    total = torch.zeros_like(a)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        s = (1 + node) / 2
        total = total + weight / 2 * s / ((1 + s * a) * (1 + s * b) * (1 + s * c))
    return torch.where(is_far, far, -total / scale / scale)


def _sqrt_first(x: Tensor, y: Tensor) -> Tensor:
    return 1 / (x.sqrt() + y.sqrt())


def _sqrt_second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    a, b, c = x.sqrt(), y.sqrt(), z.sqrt()
    return -1 / ((a + b) * (b + c) * (c + a))


def _inverse_sqrt_first(x: Tensor, y: Tensor) -> Tensor:
    a, b = x.sqrt(), y.sqrt()
    return -1 / (a * b * (a + b))


def _inverse_sqrt_second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    a, b, c = x.sqrt(), y.sqrt(), z.sqrt()
    return (a + b + c) / (a * b * c * ((a + b) * (b + c) * (c + a)))


EXP = ScalarFunction("exp", -torch.inf, torch.exp, _exp_first, _exp_second)
LOG = ScalarFunction("log", 0.0, torch.log, _log_first, _log_second)
EXPM1 = ScalarFunction("expm1", -torch.inf, torch.expm1, _exp_first, _exp_second)
LOG1P = ScalarFunction(
    "log1p",
    -1.0,
    torch.log1p,
    lambda x, y: _log_first(1 + x, 1 + y),
    lambda x, y, z: _log_second(1 + x, 1 + y, 1 + z),
)
SQRT = ScalarFunction("sqrt", 0.0, torch.sqrt, _sqrt_first, _sqrt_second)
INVERSE_SQRT = ScalarFunction(
    "inverse sqrt", 0.0, torch.rsqrt, _inverse_sqrt_first, _inverse_sqrt_second
)


def power(exponent: float) -> ScalarFunction:
    """x^p = exp(p log x) by the chain rule of divided differences.

        f[x, y]    = p g[u, v] l[x, y],     g = exp, l = log, u = p log x, v = p log y
        f[x, y, z] = p g[u, v] l[x, y, z] + p^2 g[u, v, w] l[x, z] l[y, z]

    The two terms of the second one cancel for exponents near 1, where it is near 0: its error is
    some 1e-16 of x^(p - 2), not of itself.
    """

    def outer_first(x: Tensor, y: Tensor) -> Tensor:
        low, high = torch.minimum(x, y), torch.maximum(x, y)
        gap = exponent * _log_ratio(high, low)
        return low.pow(exponent) * _ratio(torch.expm1(gap), gap, 1.0)

    def first(x: Tensor, y: Tensor) -> Tensor:
        return exponent * outer_first(x, y) * _log_first(x, y)

    def second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        low, middle, high = _ordered(x, y, z)
        rise = [torch.zeros_like(low), _log_ratio(middle, low), _log_ratio(high, low)]
        outer = low.pow(exponent) * _exp_second(*(exponent * r for r in rise))
        return exponent * outer_first(low, middle) * _log_second(low, middle, high) + (
            exponent * exponent * outer * _log_first(low, high) * _log_first(middle, high)
        )

    return ScalarFunction(f"power {exponent:g}", 0.0, lambda x: x.pow(exponent), first, second)
