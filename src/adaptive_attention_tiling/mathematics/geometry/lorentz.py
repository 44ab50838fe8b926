"""Hyperbolic space on the hyperboloid, each point kept as its spatial part."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import safe_norm
from .checks import check_radius, check_vectors, check_weights
from .geodesic import GeodesicFlow
from .hyperbolic import across_part, dot, moved, rotated, seen_from
from .manifold import AbstractManifold
from .radial_functions import asinh, asinhc, cosh_of_sinh


class Lorentz(AbstractManifold):
    """Hyperbolic space of curvature -1 / R^2; points are the spatial part u of

        X = (X_0, u),   X_0 = sqrt(R^2 + |u|^2),   -X_0^2 + |u|^2 = -R^2

    Every u in R^n is a point, so that none can leave the manifold. Rounding u moves it by eps R
    along the radius and by eps e^(r / R) R / 4 across, r its distance from the origin. This is the
    form to compute in: in float32 `distance`, `log` and `transport` are within 8 eps of the truth
    for the numbers given, at distances from 1e-6 R to 30 R, with ends up to 45 R from the origin
    (r + d must stay below 85 R). `PoincareBall` holds 16 R.

    Tangents [*b, n] are components in the orthonormal frame that is carried from the origin along
    the radius: inner products are those of R^n. Coordinates du of a tangent are X_0 / R times
    longer along the radius than across it: rounding a radial unit vector's du in float32 would add
    up to 3e5 across it at r = 30 R. `frame_tangent` and `coordinate_tangent` lead to and from them.
    A gradient by autograd is in coordinates, and shares that fault: far out, take -log_u(v) for
    the gradient of d(u, v)^2 / 2.

    The chart is u itself, g_ij = delta_ij - u_i u_j / (R^2 + |u|^2).

    Source: Ratcliffe, Foundations of Hyperbolic Manifolds (2019), sections 3.2 and 3.3.

    Args:
        dimension: n.
        radius: R > 0.
    """

    def __init__(self, dimension: int, radius: float = 1.0) -> None:
        super().__init__(dimension)
        check_radius(radius)
        self.radius = radius

    def check_point(self, point: Tensor, name: str = "point") -> None:
        """Raise an ArgumentError unless these are finite vectors of R^n."""
        check_vectors(name, point, self.dimension)

    def inner(
        self, point: Float[Tensor, "*b n"], first: Tensor, second: Tensor
    ) -> Float[Tensor, "*b"]:
        """g(s, t) = s . t."""
        self._check(point, first=first, second=second)
        _, first, second = torch.broadcast_tensors(point, first, second)
        return (first * second).sum(-1)

    def exp(
        self, point: Float[Tensor, "*b n"], tangent: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """The point at distance |t| from u in the direction t."""
        self._check(point, tangent=tangent)
        end = self.radius * moved(point / self.radius, tangent / self.radius)
        if not bool(end.isfinite().all()):
            raise ArgumentError(
                "tangent",
                f"length up to {float(safe_norm(tangent.detach()).max()):.4g}",
                f"an end within {_reach(tangent.dtype):.0f} R of the origin ({tangent.dtype})",
                "pass shorter tangents or float64",
            )
        return end

    def log(
        self, point: Float[Tensor, "*b n"], other: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """The tangent at u of length d(u, v) towards v."""
        seen = self._seen(point, other)
        return self.radius * seen * asinhc(seen)

    def distance(
        self, point: Float[Tensor, "*b n"], other: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b"]:
        """R arsinh|e sinh d| of what `seen_from` gives; both derivatives are 0 where it is 0."""
        return self.radius * asinh(safe_norm(self._seen(point, other)))

    def transport(
        self,
        point: Float[Tensor, "*b n"],
        other: Float[Tensor, "*b n"],
        tangent: Float[Tensor, "*b n"],
    ) -> Float[Tensor, "*b n"]:
        """A rotation by the area of the triangle of the origin and both points."""
        self._check(point, other=other, tangent=tangent)
        u, v = torch.broadcast_tensors(point / self.radius, other / self.radius)
        x0, y0, cosh = cosh_of_sinh(u), cosh_of_sinh(v), cosh_of_sinh(_checked_seen(u, v))
        half = (1 + (y0 + cosh) / (1 + x0)) / (1 + y0)  # 1 - x . y of the points in the ball
        near = safe_norm(u.detach(), keepdim=True) < 1
        across = torch.where(near, v - u, across_part(v, torch.where(near, 1.0, u)))
        return rotated(u / (1 + x0), across / (1 + y0), half, tangent)

    def geodesic_flow(
        self, initial_point: Tensor, initial_velocity: Tensor, times: Float[Tensor, " t"]
    ) -> GeodesicFlow:
        """The geodesic exp_u(t v) and its velocity, in the frame of each position."""
        self._check(initial_point, initial_velocity=initial_velocity)
        point, velocity = torch.broadcast_tensors(initial_point, initial_velocity)
        scale = times.reshape(-1, *(1,) * velocity.dim())
        positions = self.exp(point, scale * velocity)
        velocities = self.transport(point, positions, velocity)
        return GeodesicFlow(times, positions, velocities)

    def metric_matrix(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """delta_ij - u_i u_j / (R^2 + |u|^2)."""
        unit = coordinates / self.radius
        scaled = unit / cosh_of_sinh(unit)
        eye = torch.eye(self.dimension, dtype=unit.dtype, device=unit.device)
        return eye - scaled[..., :, None] * scaled[..., None, :]

    def coordinate_tangent(
        self, point: Float[Tensor, "*b n"], tangent: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """du = t + u (u . t) / (R (R + X_0)) of a tangent's frame components t."""
        u = point / self.radius
        return tangent + u * dot(u / (1 + cosh_of_sinh(u)), tangent)

    def frame_tangent(
        self, point: Float[Tensor, "*b n"], change: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """t = du - u (u . du) / (X_0 (R + X_0)) of a change du of the coordinates."""
        u = point / self.radius
        x0 = cosh_of_sinh(u)
        return change - u * dot(u / x0 / (1 + x0), change)

    def centroid(
        self, points: Float[Tensor, "*b k n"], weights: Float[Tensor, "*b k"] | None = None
    ) -> Float[Tensor, "*b n"]:
        """R sum_i w_i X_i / sqrt(-<sum_i w_i X_i, sum_i w_i X_i>), the Lorentzian centre of mass.

        It minimises sum_i w_i (cosh(d_i / R) - 1), and of two points with equal weights it is the
        midpoint. In ball or Klein coordinates it is the Einstein midpoint.

        Args:
            weights: >= 0, not all 0; None counts points alike.

        Source: Law et al., Lorentzian distance learning for hyperbolic representations (2019),
        theorem 3.1; Ungar (2008), section 6.22.
        """
        self.check_point(points, "points")
        if weights is None:
            weights = points.new_ones(points.shape[:-1])
        check_weights(weights)
        u = points / self.radius
        sums = (weights[..., None] * u).sum(-2)
        time = (weights[..., None] * cosh_of_sinh(u)).sum(-2)
        norm = safe_norm(sums, keepdim=True)
        axis = torch.where(norm > 0, sums, 1.0)[..., None, :]
        gap = (weights[..., None] * _busemann(u, axis).exp()).sum(-2)  # time - norm
        return self.radius * sums / (gap.sqrt() * (time + norm).sqrt())

    def busemann(
        self, point: Float[Tensor, "*b n"], direction: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b"]:
        """lim_r d(u, gamma(r)) - r = R log((X_0 - e . u) / R), gamma from the origin along e.

        Args:
            direction: any vectors other than 0; e is their unit vector.

        Source: Bridson and Haefliger, Metric Spaces of Non-Positive Curvature (1999), II.8.24.
        """
        self._check(point, direction=direction)
        return self.radius * _busemann(point / self.radius, direction).squeeze(-1)

    def _seen(self, point: Tensor, other: Tensor) -> Tensor:
        self._check(point, other=other)
        return _checked_seen(point / self.radius, other / self.radius)

    def _check(self, point: Tensor, **vectors: Tensor) -> None:
        self.check_point(point)
        for name, tensor in vectors.items():
            check_vectors(name, tensor, self.dimension)


def _checked_seen(u: Tensor, v: Tensor) -> Tensor:
    seen = seen_from(u, v)
    if not bool(seen.detach().isfinite().all()):
        raise ArgumentError(
            "other",
            f"points too far apart for {seen.dtype}",
            f"r + d below {_reach(seen.dtype) - 4:.0f} R, r from the origin to point, d to other",
            "pass nearer points or float64",
        )
    return seen


def _busemann(u: Tensor, direction: Tensor) -> Tensor:
    """log(m e^-s) of a point m sinh(s) along the direction and p across, m^2 = 1 + |p|^2."""
    u, direction = torch.broadcast_tensors(u, direction)
    along = dot(u, direction / safe_norm(direction, keepdim=True))
    mass = cosh_of_sinh(across_part(u, direction))
    return mass.log() - torch.sign(along) * asinh((along / mass).abs())


def _reach(dtype: torch.dtype) -> float:
    return math.log(torch.finfo(dtype).max)
