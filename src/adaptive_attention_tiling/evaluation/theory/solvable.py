"""Manifolds whose geodesic distance is known in closed form, each in one chart.

`square(x, v)` is the squared length g_ij(x) v^i v^j of the tangent vector v at x. Of the last two,
g is the information metric E[d_i log f d_j log f] of a family of distributions (Rao 1945).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...mathematics.information import CategoricalFisherRao, NormalFisherRao, kl_divergence


@dataclass(frozen=True, kw_only=True)
class SolvableManifold:
    """A metric in a chart of d coordinates, its distance, and two points to join.

    square      (x [*b, d], v [*b, d]) -> [*b]
    distance    (x [*b, d], y [*b, d]) -> [*b], in closed form
    divergence  KL(x || y) in nats, where points are distributions
    start, end  far enough apart that the chart's straight line is not a geodesic
    """

    name: str
    square: Callable[[Tensor, Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]
    start: tuple[float, ...]
    end: tuple[float, ...]
    divergence: Callable[[Tensor, Tensor], Tensor] | None = None

    def ends(self) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """The two points, in float64."""
        start, end = (torch.tensor(x, dtype=torch.float64) for x in (self.start, self.end))
        return start, end


def _plane_square(x: Tensor, v: Tensor) -> Tensor:
    """The flat plane at (log r, angle): r^2 (du^2 + dphi^2)."""
    return (2 * x[..., 0]).exp() * v.square().sum(-1)


def _plane_distance(x: Tensor, y: Tensor) -> Tensor:
    r, s = x[..., 0].exp(), y[..., 0].exp()
    return (r.square() + s.square() - 2 * r * s * (x[..., 1] - y[..., 1]).cos()).sqrt()


def _sphere_square(x: Tensor, v: Tensor) -> Tensor:
    """The unit sphere at (colatitude, longitude)."""
    return v[..., 0].square() + (x[..., 0].sin() * v[..., 1]).square()


def _sphere_distance(x: Tensor, y: Tensor) -> Tensor:
    along = x[..., 0].cos() * y[..., 0].cos()
    across = x[..., 0].sin() * y[..., 0].sin() * (x[..., 1] - y[..., 1]).cos()
    return (along + across).acos()


def _half_plane_square(x: Tensor, v: Tensor) -> Tensor:
    """The hyperbolic half-plane at (x, log y): dx^2 / y^2 + d(log y)^2."""
    return (v[..., 0] * (-x[..., 1]).exp()).square() + v[..., 1].square()


def _half_plane_distance(x: Tensor, y: Tensor) -> Tensor:
    """arcosh(1 + |x - y|^2 / (2 x_2 y_2))"""
    high, low = x[..., 1].exp(), y[..., 1].exp()
    apart = (x[..., 0] - y[..., 0]).square() + (high - low).square()
    return torch.acosh(1 + apart / (2 * high * low))


def _gaussian_square(x: Tensor, v: Tensor) -> Tensor:
    """Normal distributions at (mean, log deviation): dm^2 / s^2 + 2 d(log s)^2."""
    return (v[..., 0] * (-x[..., 1]).exp()).square() + 2 * v[..., 1].square()


def _gaussian_distance(x: Tensor, y: Tensor) -> Tensor:
    return NormalFisherRao().distance(
        *(torch.stack([z[..., 0], z[..., 1].exp()], -1) for z in (x, y))
    )


def _gaussian_divergence(x: Tensor, y: Tensor) -> Tensor:
    ratio = (2 * (x[..., 1] - y[..., 1])).exp()
    apart = ((x[..., 0] - y[..., 0]) * (-y[..., 1]).exp()).square()
    return 0.5 * (ratio + apart - 1 - ratio.log())


def log_probabilities(x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d+1"]:
    """Categorical distributions from d logits; that of the last outcome is zero."""
    return torch.nn.functional.pad(x, (0, 1)).log_softmax(-1)


def _categorical_square(x: Tensor, v: Tensor) -> Tensor:
    """Categorical distributions at their logits: the variance of the logits' change under p."""
    p, change = log_probabilities(x).exp(), torch.nn.functional.pad(v, (0, 1))
    return (p * (change - (p * change).sum(-1, keepdim=True)).square()).sum(-1)


def _categorical_distance(x: Tensor, y: Tensor) -> Tensor:
    return CategoricalFisherRao().distance(log_probabilities(x).exp(), log_probabilities(y).exp())


def _categorical_divergence(x: Tensor, y: Tensor) -> Tensor:
    return kl_divergence(log_probabilities(x), log_probabilities(y), log_space=True)


PLANE = SolvableManifold(
    name="plane",
    square=_plane_square,
    distance=_plane_distance,
    start=(0.0, 0.0),
    end=(math.log(2), 2.0),
)
SPHERE = SolvableManifold(
    name="sphere",
    square=_sphere_square,
    distance=_sphere_distance,
    start=(1.0, 0.0),
    end=(1.4, 2.0),
)
HALF_PLANE = SolvableManifold(
    name="half-plane",
    square=_half_plane_square,
    distance=_half_plane_distance,
    start=(-1.5, 0.0),
    end=(1.5, 0.7),
)
GAUSSIANS = SolvableManifold(
    name="normal distributions",
    square=_gaussian_square,
    distance=_gaussian_distance,
    start=(-1.5, 0.0),
    end=(1.5, -0.7),
    divergence=_gaussian_divergence,
)
CATEGORICAL = SolvableManifold(
    name="categorical distributions",
    square=_categorical_square,
    distance=_categorical_distance,
    start=(3.0, 1.0),
    end=(-3.0, -2.0),
    divergence=_categorical_divergence,
)
MANIFOLDS = (PLANE, SPHERE, HALF_PLANE, GAUSSIANS, CATEGORICAL)
