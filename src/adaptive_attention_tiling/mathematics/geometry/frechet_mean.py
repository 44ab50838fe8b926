"""Means of points of a manifold, and points between two of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import ArgumentError, CorrectnessError
from .checks import check_weights
from .manifold import AbstractManifold


def frechet_mean(
    manifold: AbstractManifold,
    points: Tensor,
    weights: Tensor | None = None,
    *,
    start: Tensor | None = None,
    least_curvature: float = 0.0,
    steps: int = 500,
) -> Tensor:
    """The point m with the least sum_i w_i d(m, p_i)^2, by gradient descent: m <- exp_m(s g).

        g = sum_i w_i log_m p_i,    s = 1 / sum_i w_i k d_i coth(k d_i),    sum_i w_i = 1

    The denominator bounds the second derivative where curvatures are >= -k^2 (Karcher, 1977), so
    that no step overshoots. On manifolds without positive curvature there is one such point;
    on a sphere that holds for points within a quarter turn of each other. Gradients are those of
    the steps, which agree with those of the limit as far as the steps have come.

    Args:
        points: [k, *p] or [k, *b, *p], one mean for each index of *b.
        weights: [k], >= 0; None counts points alike.
        start: where to begin; None is the first point.
        least_curvature: -k^2 <= 0: -1 / R^2 in hyperbolic space, -1/2 for positive definite
            matrices, 0 where no curvature is negative.
        steps: at most.

    Raises:
        CorrectnessError: |g| is above sqrt(eps) of the spread after all steps.

    Source: Afsari, Tron and Vidal, On the convergence of gradient descent for finding the
    Riemannian centre of mass (2013).
    """
    manifold.check_point(points, "points")
    shares = points.new_ones(len(points)) if weights is None else weights.to(points)
    _check(points, shares, least_curvature, steps)
    shares = shares / shares.sum()
    k = (-least_curvature) ** 0.5
    mean = points[0] if start is None else start
    eps = torch.finfo(points.dtype).eps
    for _ in range(steps):
        towards = manifold.log(mean, points)
        lengths = manifold.inner(mean, towards, towards).detach().clamp_min(0).sqrt()
        pull = torch.tensordot(shares, towards, 1)
        size = manifold.inner(mean, pull, pull).detach().clamp_min(0).sqrt()
        spread = torch.tensordot(shares.detach(), lengths, 1)
        if bool((size <= 50 * eps * spread).all()):
            return mean
        reach = torch.where(k * lengths > 1e-3, k * lengths / torch.tanh(k * lengths), 1.0)
        bound = torch.tensordot(shares.detach(), reach, 1)
        axes = pull.dim() - bound.dim()
        mean = manifold.exp(mean, pull / bound.reshape(*bound.shape, *(1,) * axes))
    if bool((size > eps**0.5 * spread).any()):
        raise CorrectnessError(
            f"the mean was not reached in {steps} steps: |g| is {float((size / spread).max()):.1e} "
            "of the spread; pass more steps, or a start nearer to it"
        )
    return mean


def point_between(
    manifold: AbstractManifold, point: Tensor, other: Tensor, share: Tensor | float
) -> Tensor:
    """exp_p(t log_p q), the mean of p and q with weights 1 - t and t; t outside [0, 1] goes beyond.

    Args:
        share: t, a number, or a tensor that broadcasts with tangents.
    """
    return manifold.exp(point, share * manifold.log(point, other))


def _check(points: Tensor, weights: Tensor, least_curvature: float, steps: int) -> None:
    if weights.shape != points.shape[:1]:
        raise ArgumentError(
            "weights", f"shape {list(weights.shape)}", f"{list(points.shape[:1])}", "one a point"
        )
    check_weights(weights)
    if not least_curvature <= 0:
        raise ArgumentError(
            "least_curvature", least_curvature, "a number <= 0", "pass 0 where none is negative"
        )
    if steps < 1:
        raise ArgumentError("steps", steps, "an integer >= 1", "pass steps=500")
