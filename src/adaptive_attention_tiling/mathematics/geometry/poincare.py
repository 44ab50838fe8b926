"""Hyperbolic space in the Poincare ball, and its maps to and from Lorentz form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import safe_norm
from .checks import check_radius, check_vectors
from .hyperbolic import conformal_gap, dot, half_way, rotated
from .manifold import AbstractManifold
from .radial_functions import asinh, asinhc, cosh_of_sinh


class PoincareBall(AbstractManifold):
    """Hyperbolic space of curvature -1 / R^2 in the ball |x| < R, with the metric

        g = (2 / s)^2 delta_ij,    s = 1 - |x|^2 / R^2

    Points are [*b, n]; tangents dx [*b, n] are in coordinates, which are the chart. `distance`,
    `log` and `transport` are within 8 eps of the truth for the numbers given, but near the
    boundary numbers lie far apart: at distance r from the origin, rounding x moves it by
    eps e^(r / R) R / 4 in every direction. In float32 that is 2e-7 R at r = 2 R, 7e-4 R at 10 R and
    0.3 R at 16 R, and nothing lies beyond `reach`. `Lorentz` has no such limit along the radius.

    Source: Ratcliffe, Foundations of Hyperbolic Manifolds (2019), section 4.5; for limits of
    both forms, Mishne et al., The numerical stability of hyperbolic representation learning (2023).

    Args:
        dimension: n.
        radius: R > 0; a curvature -c has R = 1 / sqrt(c).
    """

    def __init__(self, dimension: int, radius: float = 1.0) -> None:
        super().__init__(dimension)
        check_radius(radius)
        self.radius = radius

    def check_point(self, point: Tensor, name: str = "point") -> None:
        """Raise an ArgumentError unless these are finite vectors with |x| < R."""
        check_vectors(name, point, self.dimension)
        if bool((conformal_gap(point.detach() / self.radius) <= 0).any()):
            raise ArgumentError(
                name,
                f"|x| up to {float(safe_norm(point.detach()).max()):.9g}",
                f"points inside of the ball, |x| < {self.radius:g}",
                "project(x) moves them inside",
            )

    def reach(self, dtype: torch.dtype) -> float:
        """The largest distance from the origin of what `project` returns: 16 R in float32."""
        return self.radius * float(torch.tensor(_edge(dtype), dtype=torch.float64).atanh() * 2)

    def project(self, point: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """Points within |x| <= (1 - 2 eps) R as they are, others moved there along the radius."""
        check_vectors("point", point, self.dimension)
        return self._inside(point / self.radius) * self.radius

    def inner(
        self, point: Float[Tensor, "*b n"], first: Tensor, second: Tensor
    ) -> Float[Tensor, "*b"]:
        """g(v, w) = 4 v . w / s^2."""
        self._check(point, first=first, second=second)
        scale = 2 / conformal_gap(point / self.radius)
        return dot(scale * first, scale * second).squeeze(-1)

    def exp(
        self, point: Float[Tensor, "*b n"], tangent: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """x + tanh(|v|_x / 2) v / |v| by Moebius addition, kept inside by `project`."""
        self._check(point, tangent=tangent)
        x = point / self.radius
        gap = conformal_gap(x)
        z, z_gap = half_way(tangent / self.radius * (2 / gap))
        return self._inside(_moebius(x, gap, z, z_gap)) * self.radius

    def log(
        self, point: Float[Tensor, "*b n"], other: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """The tangent at x of length d(x, y) towards y.

        d (s_x w - |w|^2 x) s_x / 2 sqrt(|w|^2 D),   w = y - x,   D = s_x s_y + |w|^2  (R = 1)
        """
        x, y, x_gap, y_gap = self._pair(point, other)
        step = y - x
        product = x_gap.sqrt() * y_gap.sqrt()
        sinh_half = step / product
        towards = step * x_gap - x * dot(step, step)
        scale = asinhc(sinh_half) / product / (cosh_of_sinh(sinh_half) * product)
        return self.radius * towards * (x_gap * scale)

    def distance(
        self, point: Float[Tensor, "*b n"], other: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b"]:
        """2 R arsinh(|x - y| / R sqrt(s_x s_y)); derivatives are 0 where it is 0."""
        x, y, x_gap, y_gap = self._pair(point, other)
        sinh_half = safe_norm(y - x) / (x_gap.sqrt() * y_gap.sqrt()).squeeze(-1)
        return 2 * self.radius * asinh(sinh_half)

    def transport(
        self,
        point: Float[Tensor, "*b n"],
        other: Float[Tensor, "*b n"],
        tangent: Float[Tensor, "*b n"],
    ) -> Float[Tensor, "*b n"]:
        """s_y / s_x times the rotation by the area of the triangle of the origin, x and y."""
        x, y, x_gap, y_gap = self._pair(point, other)
        check_vectors("tangent", tangent, self.dimension)
        step = y - x
        half = (x_gap + y_gap + dot(step, step)) / 2  # 1 - x . y
        return rotated(x, step, half, tangent) * (y_gap / x_gap)

    def moebius_add(
        self, point: Float[Tensor, "*b n"], other: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """The Moebius sum x + y = exp_x of log_0 y carried to x.

        ((1 + 2 x.y + |y|^2) x + (1 - |x|^2) y) / (1 + 2 x.y + |x|^2 |y|^2) with R = 1, written as
        x + s_x (y + |y|^2 x) / (s_x s_y + |x + y|^2). Neither commutative nor associative.
        """
        x, y, x_gap, y_gap = self._pair(point, other)
        return self._inside(_moebius(x, x_gap, y, y_gap)) * self.radius

    def metric_matrix(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """(2 / s)^2 delta_ij."""
        gap = conformal_gap(coordinates / self.radius)[..., None]
        eye = torch.eye(self.dimension, dtype=gap.dtype, device=gap.device)
        return (2 / gap).square() * eye

    def _pair(self, point: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.check_point(point)
        self.check_point(other, "other")
        x, y = torch.broadcast_tensors(point / self.radius, other / self.radius)
        return x, y, conformal_gap(x), conformal_gap(y)

    def _check(self, point: Tensor, **vectors: Tensor) -> None:
        self.check_point(point)
        for name, tensor in vectors.items():
            check_vectors(name, tensor, self.dimension)

    def _inside(self, x: Tensor) -> Tensor:
        norm, edge = safe_norm(x, keepdim=True), _edge(x.dtype)
        return torch.where(norm <= edge, x, x * (edge / torch.where(norm > 0, norm, 1.0)))


def lorentz_from_ball(point: Float[Tensor, "*b n"], radius: float = 1.0) -> Float[Tensor, "*b n"]:
    """u = 2 x / (1 - |x|^2 / R^2), an isometry from `PoincareBall` to `Lorentz`."""
    PoincareBall(point.shape[-1], radius).check_point(point)
    return 2 * point / conformal_gap(point / radius)


def ball_from_lorentz(point: Float[Tensor, "*b n"], radius: float = 1.0) -> Float[Tensor, "*b n"]:
    """x = R u / (R + X_0), an isometry from `Lorentz` to `PoincareBall`; `project` not applied."""
    check_vectors("point", point, point.shape[-1])
    return point / (1 + cosh_of_sinh(point / radius))


def _moebius(x: Tensor, x_gap: Tensor, y: Tensor, y_gap: Tensor) -> Tensor:
    total = x + y
    return x + x_gap * (y + x * dot(y, y)) / (x_gap * y_gap + dot(total, total))


def _edge(dtype: torch.dtype) -> float:
    return 1 - 2 * torch.finfo(dtype).eps
