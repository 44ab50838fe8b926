"""Smooth functions of |x| for vectors x, with all derivatives at x = 0.

sinh|x| / |x| and its like are power series in x . x. Below |x| = 0.1 the series is summed, with
more terms than float64 can see; autograd through it is exact, where the closed form has 0 / 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..linalg import safe_norm

_TERMS = 9
_SINH = [1 / math.factorial(2 * k + 1) for k in range(_TERMS)]
_SIN = [(-1) ** k * c for k, c in enumerate(_SINH)]
_ARCSIN = [math.comb(2 * k, k) / (4**k * (2 * k + 1)) for k in range(_TERMS)]
_ARSINH = [(-1) ** k * c for k, c in enumerate(_ARCSIN)]
_TANH = [
    1.0, -1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925, 21844 / 6081075,
    -929569 / 638512875, 6404582 / 10854718875,
]  # fmt: skip


def sinhc(vectors: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    """sinh|x| / |x|."""
    return _radial(vectors, _SINH, lambda r: torch.sinh(r) / r)


def sinc(vectors: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    """sin|x| / |x|."""
    return _radial(vectors, _SIN, lambda r: torch.sin(r) / r)


def tanhc(vectors: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    """tanh|x| / |x|."""
    return _radial(vectors, _TANH, lambda r: torch.tanh(r) / r)


def asinhc(vectors: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    """arsinh|x| / |x|."""
    return _radial(vectors, _ARSINH, lambda r: asinh(r) / r)


def asinc(vectors: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    """arcsin|x| / |x|, |x| <= 1."""
    return _radial(vectors, _ARCSIN, lambda r: torch.asin(r) / r)


def asinh(values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """arsinh x of x >= 0, with a gradient also where x^2 overflows."""
    large = values > torch.finfo(values.dtype).eps ** -0.6
    small = torch.where(large, 1.0, values)
    return torch.where(large, math.log(2) + torch.where(large, values, 1.0).log(), small.asinh())


def cosh_of_sinh(vectors: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    """sqrt(1 + x . x), smooth at 0 and without overflow."""
    norm = safe_norm(vectors, keepdim=True)
    large = norm > torch.finfo(vectors.dtype).eps ** -0.6
    inner = torch.where(large, 0.0, vectors)
    return torch.where(large, norm, (1 + (inner * inner).sum(-1, keepdim=True)).sqrt())


def _radial(
    vectors: Tensor, series: list[float], closed: Callable[[Tensor], Tensor]
) -> Float[Tensor, "*b 1"]:
    small = safe_norm(vectors.detach(), keepdim=True) < 0.1
    inner = torch.where(small, vectors, 0.0)
    square = (inner * inner).sum(-1, keepdim=True)
    total = torch.zeros_like(square)
    for coefficient in reversed(series):
        total = total * square + coefficient
    outer = torch.where(small, 1.0, vectors)
    return torch.where(small, total, closed(safe_norm(outer, keepdim=True)))
