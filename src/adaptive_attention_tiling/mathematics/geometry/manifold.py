"""What every manifold answers: maps of its points, and tensors in its chart."""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from . import curvature
from .checks import check_size
from .geodesic import GeodesicFlow
from .integration import DEFAULT, Integration
from .jets import MetricJet, first_jet, jacobian, second_jet
from .transport import along_path, along_polyline


class AbstractManifold(abc.ABC):
    """A smooth space with an inner product in each tangent space.

    Points are tensors [*b, *p]: p = (n,) for points given by coordinates, (n + 1,) on a sphere in
    R^(n+1), (m, m) for matrices. A tangent has the shape of its point. Everything is batched over
    the leading axes *b, which broadcast, and has gradients.

    `exp, log, distance, transport, inner` and `geodesic_flow` take points. `metric_matrix`,
    `christoffel_symbols`, `covariant_derivative` and all curvatures are tensors in one chart, which
    the class names; they take coordinates [*b, n], n = `dimension`. `coordinates` and
    `from_coordinates` lead there and back; where points are coordinates they change nothing.

    Index order: Gamma^k_ij is [*b, k, i, j]; R^a_bcd is [*b, a, b, c, d]; an index of a derivative
    comes last. Signs are those of Misner, Thorne and Wheeler, Gravitation (1973): a sphere's
    curvature is positive.

    Args:
        dimension: n >= 1.
    """

    def __init__(self, dimension: int) -> None:
        check_size("dimension", dimension)
        self.dimension = dimension

    @abc.abstractmethod
    def check_point(self, point: Tensor, name: str = "point") -> None:
        """Raise an ArgumentError with this name unless `point` is [*b, *p], finite, and on it."""

    @abc.abstractmethod
    def inner(self, point: Tensor, first: Tensor, second: Tensor) -> Float[Tensor, "*b"]:
        """g(u, v) of tangents u and v at a point."""

    @abc.abstractmethod
    def exp(self, point: Tensor, tangent: Tensor) -> Tensor:
        """Where the geodesic from `point` with velocity `tangent` is at time 1."""

    @abc.abstractmethod
    def log(self, point: Tensor, other: Tensor) -> Tensor:
        """The tangent at `point` of the minimal geodesic that is at `other` at time 1."""

    @abc.abstractmethod
    def distance(self, point: Tensor, other: Tensor) -> Float[Tensor, "*b"]:
        """The length of the minimal geodesic."""

    @abc.abstractmethod
    def transport(self, point: Tensor, other: Tensor, tangent: Tensor) -> Tensor:
        """`tangent` at `point`, carried in parallel along the minimal geodesic to `other`."""

    @abc.abstractmethod
    def metric_matrix(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """g_ij in the chart, each point on its own."""

    @property
    def point_shape(self) -> tuple[int, ...]:
        """p, the shape of a point."""
        return tuple(self.from_coordinates(torch.zeros(self.dimension)).shape)

    def coordinates(self, point: Tensor) -> Float[Tensor, "*b n"]:
        """Of points, in the chart."""
        return point

    def from_coordinates(self, coordinates: Float[Tensor, "*b n"]) -> Tensor:
        """The points that have these coordinates."""
        return coordinates

    def metric_tensor(self, point: Tensor, vectors: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """g(u, v) [*b] of a pair of tangents, or without one the matrix g_ij [*b, n, n]."""
        if vectors is None:
            return self.metric_matrix(self.coordinates(point))
        return self.inner(point, *vectors)

    def geodesic_flow(
        self, initial_point: Tensor, initial_velocity: Tensor, times: Float[Tensor, " t"]
    ) -> GeodesicFlow:
        """The geodesic exp_p(t v), p and v given at time 0, and its velocity at these times."""
        self.check_point(initial_point, "initial_point")
        point, velocity = torch.broadcast_tensors(initial_point, initial_velocity)
        scale = times.reshape(-1, *(1,) * velocity.dim())

        def at(t: Tensor) -> Tensor:
            return self.exp(point, t * velocity)

        found = torch.func.jvp(at, (scale,), (torch.ones_like(scale),))
        return GeodesicFlow(times, found[0], found[1])

    def volume_density(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """sqrt |det g|, the volume of a unit cube of coordinates."""
        determinant: Tensor = torch.linalg.det(self.metric_matrix(coordinates))
        return determinant.abs().sqrt()

    def metric_jet(self, coordinates: Float[Tensor, "*b n"]) -> MetricJet:
        """g_ij, d_k g_ij [*b, i, j, k] and d_k d_l g_ij [*b, i, j, k, l]."""
        return second_jet(self.metric_matrix, coordinates)

    def christoffel_symbols(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n n"]:
        """Gamma^k_ij [*b, k, i, j] = g^kl (d_i g_jl + d_j g_il - d_l g_ij) / 2."""
        return self._connection(coordinates)

    def covariant_derivative(
        self,
        vector_field: Callable[[Tensor], Tensor],
        coordinates: Float[Tensor, "*b n"],
        direction: Float[Tensor, "*b n"],
    ) -> Float[Tensor, "*b n"]:
        """(D_u V)^k = u^i (d_i V^k + Gamma^k_ij V^j), with V a function of coordinates."""
        value, derivative = jacobian(vector_field, coordinates)
        gamma = self.christoffel_symbols(coordinates)
        turned = torch.einsum("...kij,...j->...ki", gamma, value)
        return torch.einsum("...ki,...i->...k", derivative + turned, direction)

    def covariant_differential(
        self,
        tensor_field: Callable[[Tensor], Tensor],
        coordinates: Float[Tensor, "*b n"],
        indices: str,
    ) -> Tensor:
        """D_m T^k..._l... [*b, n, ..., n, m] of a tensor field, a function of coordinates.

        `indices` names its indices in their order, "u" an upper and "l" a lower one: "u" for a
        vector field, "ll" for the metric, "" for a function.
        """
        value, derivative = jacobian(tensor_field, coordinates)
        found = value.dim() - coordinates.dim() + 1
        if len(indices) != found or not set(indices) <= {"u", "l"}:
            raise ArgumentError(
                "indices", repr(indices), f"{found} of 'u' and 'l'", "name each index of the field"
            )
        gamma = self.christoffel_symbols(coordinates)
        return curvature.covariant_differential(gamma, value, derivative, indices)

    def parallel_transport(
        self,
        path: Callable[[Tensor], Tensor] | Float[Tensor, "m *b n"],
        tangent: Float[Tensor, "*b n"],
        times: Float[Tensor, " t"] | None = None,
        *,
        integration: Integration = DEFAULT,
    ) -> Float[Tensor, "t *b n"]:
        """`tangent`, carried in parallel along any path in coordinates, at each of the times.

        The path is a function of time, with `times` at the first of which the tangent is given; or
        vertices, joined by straight lines of the chart, and the tangent is told at each of them.
        """
        if isinstance(path, Tensor):
            return along_polyline(self._connection, path, tangent, integration)
        return along_path(self._connection, path, tangent, _given(times), integration)

    def holonomy(
        self,
        path: Callable[[Tensor], Tensor] | Float[Tensor, "m *b n"],
        times: Float[Tensor, " t"] | None = None,
        *,
        integration: Integration = DEFAULT,
    ) -> Float[Tensor, "*b n n"]:
        """P^k_j [*b, k, j] with P w the tangent w, carried along a path from end to end."""
        start = path[0] if isinstance(path, Tensor) else path(_given(times)[0])
        basis = torch.eye(start.shape[-1], dtype=start.dtype, device=start.device)
        frame = basis.reshape(-1, *(1,) * (start.dim() - 1), start.shape[-1]).expand(
            -1, *start.shape
        )
        carried = self.parallel_transport(path, frame, times, integration=integration)
        return carried[-1].movedim(0, -1)

    def curvature_tensor(
        self, coordinates: Float[Tensor, "*b n"], *, lowered: bool = False
    ) -> Float[Tensor, "*b n n n n"]:
        """Riemann's tensor R^a_bcd, or R_abcd if `lowered`.

        R^a_bcd = d_c Gamma^a_db - d_d Gamma^a_cb + Gamma^a_ce Gamma^e_db - Gamma^a_de Gamma^e_cb,
        so that R(x, y) z = R^a_bcd z^b x^c y^d = D_x D_y z - D_y D_x z - D_[x, y] z.

        Source: Misner, Thorne and Wheeler, equation 8.44.
        """
        jet = self.metric_jet(coordinates)
        lower = curvature.riemann(jet)
        return lower if lowered else curvature.raised(jet.metric, lower)

    def ricci_tensor(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """R_bd = R^a_bad."""
        jet = self.metric_jet(coordinates)
        return curvature.ricci(jet.metric, curvature.riemann(jet))

    def scalar_curvature(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """R = g^bd R_bd; n (n - 1) on the unit sphere."""
        return curvature.scalar(self.metric_jet(coordinates))

    def sectional_curvature(
        self,
        coordinates: Float[Tensor, "*b n"],
        first: Float[Tensor, "*b n"],
        second: Float[Tensor, "*b n"],
    ) -> Float[Tensor, "*b"]:
        """K(u, v) = R_abcd u^a v^b u^c v^d / (g(u, u) g(v, v) - g(u, v)^2)."""
        return curvature.sectional(self.metric_jet(coordinates), first, second)

    def kretschmann(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """R_abcd R^abcd."""
        return curvature.kretschmann(self.metric_jet(coordinates))

    def _connection(self, coordinates: Tensor) -> Tensor:
        return curvature.christoffel(*first_jet(self.metric_matrix, coordinates))


def _given(times: Tensor | None) -> Tensor:
    if times is None:
        raise ArgumentError("times", None, "[t]", "say when the path begins and ends")
    return times
