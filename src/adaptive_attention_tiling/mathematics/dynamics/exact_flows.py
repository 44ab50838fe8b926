"""Exact solutions of Ricci flow, mean curvature flow and curve shortening.

Conventions: Ricci flow is dg/dt = -2 Ric; mean curvature flow moves points by -H along the outer
normal, H the sum of the principal curvatures. Each radius is differentiable in all arguments.
Sources: Hamilton, J. Diff. Geom. 17 (1982); Chow and Knopf, The Ricci Flow (2004), chapter 2;
Huisken, J. Diff. Geom. 20 (1984); Gage and Hamilton, J. Diff. Geom. 23 (1986).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


def ricci_flow_sphere(
    radius: Float[Tensor, "*b"], time: Float[Tensor, "*b"], dimension: int
) -> Float[Tensor, "*b"]:
    """The radius of a round S^n under Ricci flow: r(t)^2 = r(0)^2 - 2 (n - 1) t.

    Raises:
        ArgumentError: the sphere is gone by then, or r(0) <= 0.
    """
    return _shrunk(radius, time, 2 * (_at_least(dimension, 2) - 1))


def ricci_flow_hyperbolic(
    radius: Float[Tensor, "*b"], time: Float[Tensor, "*b"], dimension: int
) -> Float[Tensor, "*b"]:
    """The radius of H^n, curvature -1/r^2, under Ricci flow: r(t)^2 = r(0)^2 + 2 (n - 1) t."""
    return _shrunk(radius, time, -2 * (_at_least(dimension, 2) - 1))


def ricci_flow_extinction(radius: Float[Tensor, "*b"], dimension: int) -> Float[Tensor, "*b"]:
    """T = r(0)^2 / (2 (n - 1)), when a round S^n is gone: 1/2 and 1/4 for unit S^2 and S^3."""
    return radius.square() / (2 * (_at_least(dimension, 2) - 1))


def ricci_flow_area(
    area: Float[Tensor, "*b"], time: Float[Tensor, "*b"], euler_characteristic: int
) -> Float[Tensor, "*b"]:
    """A(t) = A(0) - 4 pi chi t on any closed surface, since dA/dt = -2 int K dA (Gauss-Bonnet)."""
    found = area - 4 * math.pi * euler_characteristic * time
    if not bool((found > 0).all()):
        raise ArgumentError(
            "time", float(time.detach().max()), "t < A(0) / (4 pi chi)", "stop the flow earlier"
        )
    return found


def cigar_metric(
    place: Float[Tensor, "*b 2"], time: Float[Tensor, "*b"]
) -> Float[Tensor, "*b 2 2"]:
    """g = (dx^2 + dy^2) / (exp(4 t) + x^2 + y^2): Hamilton's cigar, a Ricci flow for all time.

    At t = 0 its curvature is K = 2 / (1 + x^2 + y^2), and it moves by scaling the plane alone.
    """
    scale = 1 / ((4 * time).exp() + place.square().sum(-1))
    return scale[..., None, None] * torch.eye(2, dtype=place.dtype, device=place.device)


def mean_curvature_flow_sphere(
    radius: Float[Tensor, "*b"], time: Float[Tensor, "*b"], dimension: int
) -> Float[Tensor, "*b"]:
    """The radius of a round S^n in R^(n+1): r(t)^2 = r(0)^2 - 2 n t.

    A cylinder S^n x R^k has the same radius; n = 1, k = 0 is the circle of `curve_shortening`.
    """
    return _shrunk(radius, time, 2 * _at_least(dimension, 1))


def mean_curvature_extinction(radius: Float[Tensor, "*b"], dimension: int) -> Float[Tensor, "*b"]:
    """T = r(0)^2 / (2 n), when a round S^n in R^(n+1) is gone."""
    return radius.square() / (2 * _at_least(dimension, 1))


def curve_shortening_circle(
    radius: Float[Tensor, "*b"], time: Float[Tensor, "*b"]
) -> Float[Tensor, "*b"]:
    """The radius of a circle in the plane: r(t)^2 = r(0)^2 - 2 t."""
    return mean_curvature_flow_sphere(radius, time, 1)


def curve_shortening_area(
    area: Float[Tensor, "*b"], time: Float[Tensor, "*b"]
) -> Float[Tensor, "*b"]:
    """The area inside any embedded closed curve: A(t) = A(0) - 2 pi t, until it is gone."""
    found = area - 2 * math.pi * time
    if not bool((found > 0).all()):
        raise ArgumentError(
            "time", float(time.detach().max()), "t < A(0) / (2 pi)", "stop the flow earlier"
        )
    return found


def grim_reaper(place: Float[Tensor, "*b"], time: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """y = t - ln cos x, |x| < pi/2: the curve that moves by curve shortening without a change."""
    if not bool((place.abs() < math.pi / 2).all()):
        raise ArgumentError("place", "|x| >= pi/2", "|x| < pi/2", "stay between its asymptotes")
    return time - place.cos().log()


def _shrunk(radius: Tensor, time: Tensor, rate: int) -> Tensor:
    if not bool((radius > 0).all()):
        raise ArgumentError("radius", float(radius.detach().min()), "r(0) > 0", "pass a radius")
    squared = radius.square() - rate * time
    if not bool((squared > 0).all()):
        raise ArgumentError(
            "time",
            float(time.detach().max()),
            f"t < r(0)^2 / {rate}, when the flow ends",
            "stop the flow earlier",
        )
    return squared.sqrt()


def _at_least(dimension: int, least: int) -> int:
    if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < least:
        raise ArgumentError("dimension", dimension, f"an integer >= {least}", "pass n of S^n")
    return dimension
