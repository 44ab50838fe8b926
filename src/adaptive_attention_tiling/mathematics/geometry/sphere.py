"""Spheres of any dimension and radius."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import safe_norm
from .checks import check_radius, check_vectors
from .manifold import AbstractManifold
from .radial_functions import asinc, sinc


class Sphere(AbstractManifold):
    """The sphere |p| = R in R^(n+1), of curvature 1 / R^2.

    Points and tangents are vectors [*b, n + 1] of R^(n+1), tangents with v . p = 0. The chart is
    stereographic from the south pole -R e_(n+1), which it leaves out:

        x = R p_(1..n) / (R + p_(n+1)),    g_ij = 4 / (1 + |x|^2 / R^2)^2 delta_ij

    `log` and `transport` between antipodal points are not defined: every direction leads there.

    Source: Lee, Introduction to Riemannian Manifolds (2018), chapter 3.

    Args:
        dimension: n; points have n + 1 entries.
        radius: R > 0.
    """

    def __init__(self, dimension: int, radius: float = 1.0) -> None:
        super().__init__(dimension)
        check_radius(radius)
        self.radius = radius

    def check_point(self, point: Tensor, name: str = "point") -> None:
        """Raise an ArgumentError unless | |p| - R | <= sqrt(eps) R: 1.5e-8 R in float64."""
        check_vectors(name, point, self.dimension + 1)
        off = (safe_norm(point.detach()) / self.radius - 1).abs()
        if bool((off > torch.finfo(point.dtype).eps ** 0.5).any()):
            raise ArgumentError(
                name,
                f"| |p| / R - 1 | up to {float(off.max()):.3g}",
                f"points of the sphere of radius {self.radius:g}",
                "project(p) moves them there",
            )

    def project(self, point: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """R p / |p|, the nearest point of the sphere."""
        check_vectors("point", point, self.dimension + 1)
        norm = safe_norm(point, keepdim=True)
        if bool((norm == 0).any()):
            raise ArgumentError("point", "0", "vectors other than 0", "the centre has no nearest")
        return point / norm * self.radius

    def project_tangent(
        self, point: Float[Tensor, "*b m"], vector: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """v - p (p . v) / R^2, the part of a vector of R^(n+1) along the sphere."""
        self._check(point, vector=vector)
        return vector - point * _dot(point, vector) / self.radius**2

    def inner(
        self, point: Float[Tensor, "*b m"], first: Tensor, second: Tensor
    ) -> Float[Tensor, "*b"]:
        """v . w in R^(n+1)."""
        self._check(point, first=first, second=second)
        _, first, second = torch.broadcast_tensors(point, first, second)
        return (first * second).sum(-1)

    def exp(
        self, point: Float[Tensor, "*b m"], tangent: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """p cos(|v| / R) + R v / |v| sin(|v| / R)."""
        self._check(point, tangent=tangent)
        angle = tangent / self.radius
        half = angle / 2 * sinc(angle / 2)
        return point * (1 - 2 * _dot(half, half)) + tangent * sinc(angle)

    def log(
        self, point: Float[Tensor, "*b m"], other: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """The tangent at p of length d(p, q) towards q; error for antipodal points."""
        self._check_pair(point, other)
        chord = (other - point) / (2 * self.radius)  # of length sin(d / 2 R)
        across = (other - point) + point * (2 * _dot(chord, chord))  # q - p cos(d / R)
        return across * _half_angle(point, other, chord, self.radius)

    def distance(
        self, point: Float[Tensor, "*b m"], other: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b"]:
        """2 R arctan(|p - q| / |p + q|), to all digits at every angle; derivatives 0 where 0."""
        self.check_point(point)
        self.check_point(other, "other")
        return 2 * self.radius * torch.atan2(safe_norm(point - other), safe_norm(point + other))

    def transport(
        self,
        point: Float[Tensor, "*b m"],
        other: Float[Tensor, "*b m"],
        tangent: Float[Tensor, "*b m"],
    ) -> Float[Tensor, "*b m"]:
        """v - 2 (p + q) (q . v) / |p + q|^2; error for antipodal points."""
        self._check_pair(point, other)
        check_vectors("tangent", tangent, self.dimension + 1)
        total = point + other
        return tangent - total * (2 * _dot(other, tangent) / _dot(total, total))

    def metric_matrix(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """4 / (1 + |x|^2 / R^2)^2 delta_ij."""
        x = coordinates / self.radius
        eye = torch.eye(self.dimension, dtype=x.dtype, device=x.device)
        return (2 / (1 + _dot(x, x)))[..., None].square() * eye

    def coordinates(self, point: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """R p_(1..n) / (R + p_(n+1)); infinite at the south pole."""
        self.check_point(point)
        return self.radius * point[..., :-1] / (self.radius + point[..., -1:])

    def from_coordinates(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        """R (2 y, 1 - |y|^2) / (1 + |y|^2) with y = x / R."""
        check_vectors("coordinates", coordinates, self.dimension)
        y = coordinates / self.radius
        square = _dot(y, y)
        return self.radius * torch.cat([2 * y, 1 - square], -1) / (1 + square)

    def _check(self, point: Tensor, **vectors: Tensor) -> None:
        self.check_point(point)
        for name, tensor in vectors.items():
            check_vectors(name, tensor, self.dimension + 1)

    def _check_pair(self, point: Tensor, other: Tensor) -> None:
        self.check_point(point)
        self.check_point(other, "other")
        nearest = safe_norm((point + other).detach() / self.radius)
        if bool((nearest <= 8 * torch.finfo(point.dtype).eps).any()):
            raise ArgumentError(
                "other",
                "the antipode of point",
                "points that one shortest geodesic joins",
                "move one of them",
            )


def _half_angle(p: Tensor, q: Tensor, chord: Tensor, radius: float) -> Tensor:
    """a / sin a of the angle a = d / R, smooth at 0: arcsin|c| / |c| cos(a / 2), |c| = sin(a / 2).

    Beyond a right angle, where arcsin loses digits, arctan is taken.
    """
    cosine = safe_norm(p + q, keepdim=True) / (2 * radius)
    sine = safe_norm(chord.detach(), keepdim=True)
    near = sine < 0.7
    far_chord = torch.where(near, 1.0, chord)
    far_sine = safe_norm(far_chord, keepdim=True)
    far = torch.atan2(far_sine, torch.where(near, 1.0, cosine)) / far_sine
    return torch.where(near, asinc(torch.where(near, chord, 0.0)), far) / cosine


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(-1, keepdim=True)
