"""Textbook formulas of hyperbolic space of curvature -1 in 90 digits, and what float32 can hold.

Points are on the hyperboloid, X = [X_0, X_1, ..., X_n]; tangents [n] are components in the frame
carried from the origin along the radius. Source: Ratcliffe, Foundations of Hyperbolic Manifolds
(2019), chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath
import torch
from torch import Tensor

mpmath.mp.dps = 90
Vector = list[mpmath.mpf]


def dot(x: Sequence[mpmath.mpf], y: Sequence[mpmath.mpf]) -> mpmath.mpf:
    """x . y."""
    return mpmath.fsum(a * b for a, b in zip(x, y, strict=True))


def norm(x: Vector) -> mpmath.mpf:
    """|x|."""
    return mpmath.sqrt(dot(x, x))


def minkowski(x: Vector, y: Vector) -> mpmath.mpf:
    """-X_0 Y_0 + X_1 Y_1 + ..."""
    return dot(x[1:], y[1:]) - x[0] * y[0]


def on_hyperboloid(u: Vector) -> Vector:
    """[sqrt(1 + |u|^2), u]."""
    return [mpmath.sqrt(1 + dot(u, u)), *u]


def distance(x: Vector, y: Vector) -> mpmath.mpf:
    """arcosh(-<X, Y>)."""
    return mpmath.acosh(max(mpmath.mpf(1), -minkowski(x, y)))


def exp(x: Vector, t: Vector) -> Vector:
    """cosh|t| X + sinh|t| / |t| T."""
    length = norm(t)
    if not length:
        return x
    along = _ambient(x, t)
    cosh, sinhc = mpmath.cosh(length), mpmath.sinh(length) / length
    return [cosh * a + sinhc * b for a, b in zip(x, along, strict=True)]


def log(x: Vector, y: Vector) -> Vector:
    """d / sinh d (Y - cosh d X)."""
    d = distance(x, y)
    scale = d / mpmath.sinh(d) if d else mpmath.mpf(1)
    return _frame(x, [scale * (b - mpmath.cosh(d) * a) for a, b in zip(x, y, strict=True)])


def transport(x: Vector, y: Vector, t: Vector) -> Vector:
    """T + <Y, T> / (1 - <X, Y>) (X + Y)."""
    along = _ambient(x, t)
    scale = minkowski(y, along) / (1 - minkowski(x, y))
    return _frame(y, [c + scale * (a + b) for a, b, c in zip(x, y, along, strict=True)])


def _ambient(x: Vector, t: Vector) -> Vector:
    time = dot(x[1:], t)
    return [time, *(a + u * time / (1 + x[0]) for a, u in zip(t, x[1:], strict=True))]


def _frame(x: Vector, along: Vector) -> Vector:
    return [a - u * along[0] / (1 + x[0]) for a, u in zip(along[1:], x[1:], strict=True)]


def exact(values: Tensor) -> Vector:
    """The numbers of a tensor."""
    return [mpmath.mpf(v) for v in values.tolist()]


def rounded(values: Vector) -> Tensor:
    """The nearest float32 numbers."""
    return torch.tensor([float(v) for v in values], dtype=torch.float64).float()


@dataclass(frozen=True)
class Form:
    """How points and tangents are written down: to numbers, and back to what these mean."""

    name: str
    point: Callable[[Vector], Vector]
    meant_point: Callable[[Vector], Vector]
    tangent: Callable[[Vector, Vector], Vector]
    meant_tangent: Callable[[Vector, Vector], Vector]


LORENTZ = Form("lorentz", lambda x: x[1:], on_hyperboloid, lambda x, t: t, lambda x, t: t)
BALL = Form(
    "ball",
    lambda x: [u / (1 + x[0]) for u in x[1:]],
    lambda p: on_hyperboloid([2 * u / (1 - dot(p, p)) for u in p]),
    lambda x, t: [a / (1 + x[0]) for a in t],  # dx = t (1 - |x|^2) / 2 = t / (1 + X_0)
    lambda x, v: [a * (1 + x[0]) for a in v],
)
