"""Manifolds whose metric the caller gives, with everything else derived from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from ..linalg import safe_sqrt
from .geodesic import Arc, GeodesicFlow, arc, carried, flow
from .integration import DEFAULT, Integration, unit_interval
from .jets import MetricFunction, MetricJet
from .manifold import AbstractManifold


class RiemannianStructure(AbstractManifold):
    """A region of R^n with a metric given as a function of coordinates.

    Points are coordinates [*b, n] and tangents are components in the basis of the coordinates.
    Derivatives of the metric are exact, by forward mode; geodesics are integrated and logarithms
    found by shooting. In the protocol of this name `metric_tensor, christoffel_symbols,
    covariant_derivative, geodesic_flow, curvature_tensor` are methods of the base class or of this.

    Args:
        metric: from [*b, n] to the symmetric g_ij [*b, n, n], each point on its own and by torch
            operations that have forward derivatives.
        dimension: n.
        signature: "riemannian" asks the metric to be positive definite, "pseudo" only not to be
            singular (Lorentzian metrics, signs in any order).
        jet: from [*b, n] to g, dg and ddg, where there is a faster way to them.
        integration: how geodesics are integrated.
        checks: look at points and at the metric there before use, which costs its eigenvalues; off
            for use inside `torch.func.vmap` or `torch.compile`.
    """

    def __init__(
        self,
        metric: MetricFunction,
        dimension: int,
        *,
        signature: Literal["riemannian", "pseudo"] = "riemannian",
        jet: Callable[[Tensor], MetricJet] | None = None,
        integration: Integration = DEFAULT,
        checks: bool = True,
    ) -> None:
        super().__init__(dimension)
        if signature not in ("riemannian", "pseudo"):
            raise ArgumentError(
                "signature", signature, '"riemannian" or "pseudo"', "choose one of these"
            )
        self.metric = metric
        self.signature = signature
        self.jet = jet
        self.integration = integration
        self.checks = checks

    def check_point(self, point: Tensor, name: str = "point") -> None:
        """Raise unless `point` is finite [*b, n] and the metric there is one of this signature."""
        self._check_coordinates(point, name)
        matrix = self.metric(point.detach())
        expected = (*point.shape, self.dimension)
        if matrix.shape != expected:
            raise ArgumentError(
                "metric", f"shape {list(matrix.shape)}", f"{list(expected)}", "return g_ij"
            )
        _refuse(~matrix.isfinite().all(-1).all(-1), point, "NaN or infinity", "finite numbers")
        scale = matrix.abs().amax(-1).sqrt()
        units = scale[..., :, None] * scale[..., None, :]
        matrix = matrix / torch.where(units == 0, 1, units)
        rounding = self.dimension * torch.finfo(matrix.dtype).eps
        skew = (matrix - matrix.mT).abs().amax((-1, -2))
        _refuse(skew > 1e3 * rounding, point, "a matrix that is not symmetric", "g_ij = g_ji")
        # A change of units keeps the signs of eigenvalues (Sylvester) and takes scales away.
        values = torch.linalg.eigvalsh(matrix)
        least = values.abs().amin(-1) <= rounding * values.abs().amax(-1)
        _refuse(least, point, "a singular matrix", "an invertible one")
        if self.signature == "riemannian":
            negative = values[..., 0] < 0
            _refuse(negative, point, "a negative eigenvalue", "a positive definite matrix")

    def metric_matrix(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """g_ij, as the caller gives it."""
        return self.metric(coordinates)

    def metric_tensor(self, point: Tensor, vectors: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """g(u, v) [*b] of a pair of tangents, or without one the matrix g_ij [*b, n, n]."""
        self._check(point, "point")
        return super().metric_tensor(point, vectors)

    def metric_jet(self, coordinates: Float[Tensor, "*b n"]) -> MetricJet:
        """g_ij, d_k g_ij [*b, i, j, k] and d_k d_l g_ij [*b, i, j, k, l]."""
        self._check(coordinates, "coordinates")
        return super().metric_jet(coordinates) if self.jet is None else self.jet(coordinates)

    def christoffel_symbols(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n n"]:
        """Gamma^k_ij [*b, k, i, j] = g^kl (d_i g_jl + d_j g_il - d_l g_ij) / 2."""
        self._check(coordinates, "coordinates")
        return super().christoffel_symbols(coordinates)

    def inner(self, point: Tensor, first: Tensor, second: Tensor) -> Float[Tensor, "*b"]:
        """g_ij u^i v^j."""
        return torch.einsum("...i,...ij,...j->...", first, self.metric(point), second)

    def geodesic_flow(
        self, initial_point: Tensor, initial_velocity: Tensor, times: Float[Tensor, " t"]
    ) -> GeodesicFlow:
        """x(t) and v(t) of D_v v = 0, with x and v given at time 0; g(v, v) stays what it is.

        Times rise from 0 or fall from it; 0 itself may be left out.

        Raises:
            ArgumentError: where a singularity of the coordinates or of the space is met.
        """
        self._check(initial_point, "initial_point")
        has_zero = times.dim() != 1 or bool((times[:1] == 0).all())
        asked = times if has_zero else torch.cat([times.new_zeros(1), times])
        found = flow(self.metric, initial_point, initial_velocity, asked, self.integration)
        if has_zero:
            return found
        return GeodesicFlow(times, found.positions[1:], found.velocities[1:])

    def exp(self, point: Tensor, tangent: Tensor) -> Tensor:
        """Where the geodesic from `point` with velocity `tangent` is at time 1."""
        return self.geodesic_flow(point, tangent, unit_interval(point)).positions[-1]

    def log(self, point: Tensor, other: Tensor) -> Tensor:
        """The tangent at `point` of a geodesic that is at `other` at time 1.

        Newton's method finds it from the straight line of the chart, by collocation: the minimal
        geodesic where that is the one near the line. First and second gradients are those of the
        exact solution.

        Raises:
            ArgumentError: where it does not converge.
        """
        return self._arc(point, other).start

    def distance(self, point: Tensor, other: Tensor) -> Float[Tensor, "*b"]:
        """The length of the geodesic that `log` finds.

        Raises:
            UnsupportedError: of pseudo-Riemannian metrics.
        """
        if self.signature == "pseudo":
            raise UnsupportedError(
                "a metric with both signs has no distance. Fix: take inner(p, v, v), v = log(p, q)"
            )
        tangent = self.log(point, other)
        return safe_sqrt(self.inner(point, tangent, tangent))

    def transport(self, point: Tensor, other: Tensor, tangent: Tensor) -> Tensor:
        """`tangent` at `point`, carried in parallel along the geodesic that `log` finds."""
        return carried(self._connection, self._arc(point, other), tangent)

    def _arc(self, point: Tensor, other: Tensor) -> Arc:
        self._check(point, "point")
        self._check(other, "other")
        return arc(self.metric, point, other, self.integration.tolerance_of(point.dtype))

    def _check(self, point: Tensor, name: str) -> None:
        if self.checks:
            self.check_point(point, name)

    def _check_coordinates(self, point: Tensor, name: str) -> None:
        if point.dim() < 1 or point.shape[-1] != self.dimension or not point.is_floating_point():
            raise ArgumentError(
                name,
                f"{point.dtype} {list(point.shape)}",
                f"floating [*b, {self.dimension}]",
                "pass coordinates",
            )
        if not bool(point.isfinite().all()):
            raise ArgumentError(name, "NaN or infinity", "finite coordinates", "leave it out")


def _refuse(wrong: Tensor, point: Tensor, got: str, expected: str) -> None:
    """Raise, naming the first of the points where the metric is wrong."""
    if bool(wrong.any()):
        first = point.detach().flatten(end_dim=-2)[wrong.flatten()][0] if point.dim() > 1 else point
        raise ArgumentError(
            "metric",
            f"{got} at {[round(c, 6) for c in first.tolist()]}",
            expected,
            'leave such points out, or say signature="pseudo" of a metric with both signs',
        )
