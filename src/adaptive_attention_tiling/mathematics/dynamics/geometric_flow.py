"""Ricci flow of metrics on a periodic grid: dg/dt = -2 Ric, to its end or to a flat torus."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError, CorrectnessError
from ..geometry.curvature import ricci, riemann
from ..linalg import symmetric_part
from .exponential_integrators import EXPLICIT_REACH
from .flow_singularities import (
    FlowRecord,
    Record,
    Singularity,
    flow_singularities,
    normalized_flow,
)
from .periodic_grid import PeriodicGrid
from .sampled_metric import (
    check_sampled_form,
    check_sampled_metric,
    deturck_term,
    largest_symbol,
    principal_curvatures,
    sampled_jet,
    sampled_ricci,
    scalar_of_ricci,
)

_MAX_STEPS = 100_000


@dataclass(frozen=True)
class FlowMetrics:
    """Figures of a metric that flows, at the start of a step; each [*b].

    Args:
        volume: int sqrt(det g) dx.
        total_scalar_curvature: int R dV, which is -dV/dt; 4 pi chi on a surface.
        largest_curvature: the largest |K| of a plane.
        least_eigenvalue: of g_ij, over the grid.
        rate: the largest |eigenvalue| of g^-1 Ric, twice; sizes change by half of it.
    """

    volume: Float[Tensor, "*b"]
    total_scalar_curvature: Float[Tensor, "*b"]
    largest_curvature: Float[Tensor, "*b"]
    least_eigenvalue: Float[Tensor, "*b"]
    rate: Float[Tensor, "*b"]


@dataclass(frozen=True)
class MetricFlow:
    """A flow of metrics on a grid and where it ended.

    Args:
        times: t of each state kept, [t].
        metrics: g_ij, [t, *grid, n, n].
        volumes: [t].
        curvatures: the largest |K|, [t].
        places: coordinates of the point that has it, [t, n].
        singular: whether curvature reached the bound, before the time was over.
    """

    times: Float[Tensor, " t"]
    metrics: Float[Tensor, "t *grid n n"]
    volumes: Float[Tensor, " t"]
    curvatures: Float[Tensor, " t"]
    places: Float[Tensor, "t n"]
    singular: bool

    @property
    def dimension(self) -> int:
        """n."""
        return self.metrics.shape[-1]

    def rescaled(self, factors: Float[Tensor, " t"], times: Float[Tensor, " t"]) -> MetricFlow:
        """Each metric times a number, at other times."""
        wide = factors.reshape(-1, *(1,) * (self.metrics.dim() - 1))
        return MetricFlow(
            times, wide * self.metrics, factors ** (self.dimension / 2) * self.volumes,
            self.curvatures / factors, self.places, self.singular,
        )  # fmt: skip


class GeometricFlow:
    """Ricci flow of metrics [*b, *grid, n, n] on a torus, n = 2 or 3 the axes of the grid.

    Derivatives are spectral, so that smooth metrics have curvature to rounding. Hamilton's equation
    leaves changes of coordinates undamped; DeTurck's, dg/dt = -2 Ric + L_W g, moves coordinates
    along W so that every mode is damped, and has the same lengths, volumes and curvatures. Both are
    stable at the same steps. Noise of 1e-3 on a metric of size 2 has left 1e-4 in the shortest wave
    at t = 1 by Hamilton's and 1e-11 by DeTurck's, which costs a third more.

    Args:
        grid: the torus, with the spectral Laplacian.
        gauge: "hamilton" for -2 Ric alone, "deturck" with W against the flat connection.

    Raises:
        ArgumentError: a grid of one axis or with differences; no such gauge.

    Source: Hamilton, J. Diff. Geom. 17 (1982); DeTurck, J. Diff. Geom. 18 (1983).
    """

    def __init__(self, grid: PeriodicGrid, *, gauge: str = "hamilton") -> None:
        if len(grid.points) not in (2, 3) or grid.laplacian != "spectral":
            raise ArgumentError(
                "grid", f"{len(grid.points)} axes, {grid.laplacian}", "2 or 3 axes, spectral",
                "pass PeriodicGrid((32, 32), (1.0, 1.0))",
            )  # fmt: skip
        if gauge not in ("hamilton", "deturck"):
            raise ArgumentError("gauge", repr(gauge), "'hamilton' or 'deturck'", "use 'deturck'")
        self.grid = grid
        self.gauge = gauge

    def compute_ricci_tensor(
        self,
        metric: Float[Tensor, "*b *grid n n"],
        connection: Float[Tensor, "*b *grid n n n"] | None = None,
    ) -> Float[Tensor, "*b *grid n n"]:
        """R_ij of a metric, or of a connection Gamma^k_ij [*b, *grid, k, i, j] if one is given.

        Of a connection without torsion that is no metric's, the symmetric part, which alone can
        move a metric.

        Raises:
            ArgumentError: a metric that is not symmetric positive definite everywhere; a connection
                of another shape, with torsion or not finite.
        """
        check_sampled_metric(self.grid, metric)
        if connection is not None:
            self._check_connection(metric, connection)
        return sampled_ricci(self.grid, metric, connection)

    def flow_step(
        self,
        metric: Float[Tensor, "*b *grid n n"],
        ricci: Float[Tensor, "*b *grid n n"],
        timestep: float,
    ) -> tuple[Float[Tensor, "*b *grid n n"], FlowMetrics]:
        """g - 2 dt Ric, with dt L_W g in DeTurck's gauge, and figures of g; Euler's method.

        For Hamilton's normalised flow pass Ric - (r / n) g, r the mean scalar curvature.

        Args:
            ricci: R_ij of `compute_ricci_tensor`.
            timestep: dt, at most `stability_limit(metric)`.

        Raises:
            ArgumentError: dt <= 0 or beyond the limit; a metric that is or becomes indefinite.
        """
        check_sampled_metric(self.grid, metric)
        check_sampled_form(self.grid, ricci, "ricci")
        limit = self.stability_limit(metric)
        if not 0 < timestep <= limit:
            raise ArgumentError(
                "timestep", timestep, f"0 < dt <= {limit:.6g}, where Euler stops being stable",
                "take smaller steps, or evolve()",
            )  # fmt: skip
        change = -2 * ricci
        if self.gauge == "deturck":
            change = change + deturck_term(sampled_jet(self.grid, metric))
        found = metric + timestep * change
        check_sampled_metric(self.grid, found, "timestep")
        return found, self.flow_metrics(metric, ricci)

    def flow_metrics(
        self, metric: Float[Tensor, "*b *grid n n"], ricci: Float[Tensor, "*b *grid n n"]
    ) -> FlowMetrics:
        """The figures that `flow_step` tells."""
        axes = tuple(range(-len(self.grid.points), 0))
        density = torch.linalg.det(metric).sqrt()
        total = (scalar_of_ricci(metric, ricci) * density).sum(axes)
        root = torch.linalg.inv(torch.linalg.cholesky(metric))
        stretched = torch.linalg.eigvalsh(symmetric_part(root @ ricci @ root.mT)).abs()
        cell = math.prod(self.grid.spacings)
        return FlowMetrics(
            cell * density.sum(axes), cell * total,
            principal_curvatures(metric, ricci).abs().amax(-1).amax(axes),
            torch.linalg.eigvalsh(metric)[..., 0].amin(axes), 2 * stretched.amax(-1).amax(axes),
        )  # fmt: skip

    def stability_limit(
        self, metric: Float[Tensor, "*b *grid n n"], method: str = "euler"
    ) -> float:
        """The stable dt of fine grids: 2 (Euler) or 2.785 (rk4) over max g^kl k_k k_l."""
        if method not in EXPLICIT_REACH:
            raise ArgumentError(
                "method", repr(method), f"one of {sorted(EXPLICIT_REACH)}", "use euler"
            )
        return EXPLICIT_REACH[method] / largest_symbol(self.grid, metric)

    def evolve(
        self,
        metric: Float[Tensor, "*grid n n"],
        *,
        time: float,
        largest_curvature: float = 1e3,
        share: float = 0.5,
        every: int = 10,
    ) -> MetricFlow:
        """The flow for a time, or until curvature reaches a bound, by rk4; differentiable.

        Args:
            share: of the stable step that is taken.
            every: how many steps lie between states that are kept; the last one always is.

        Raises:
            ArgumentError: a metric that is not one everywhere, or stops being one.
        """
        check_sampled_metric(self.grid, metric)
        self._check_options(metric, time, largest_curvature, share, every)
        now, g, kept = 0.0, metric, []
        for number in range(_MAX_STEPS):
            check_sampled_metric(self.grid, g, "share")
            tensor = sampled_ricci(self.grid, g)
            sizes = principal_curvatures(g, tensor).abs().amax(-1)
            bound = float(sizes.detach().max())
            singular = not bound < largest_curvature
            if number % every == 0 or singular or now >= time:
                kept.append((now, g, *self._figures(g, sizes)))
            if singular or now >= time:
                break
            size = min(share * self.stability_limit(g, "rk4"), time - now)
            g = self._rk4(g, size)
            now = time if size == time - now else now + size
        else:
            raise CorrectnessError(f"{_MAX_STEPS} steps end at time {now:.6g}")
        times, metrics, volumes, curvatures, places = zip(*kept, strict=True)
        return MetricFlow(
            metric.new_tensor(times), torch.stack(metrics), torch.stack(volumes),
            torch.stack(curvatures), torch.stack(places), singular,
        )  # fmt: skip

    def detect_singularities(self, flow: FlowRecord, threshold: float) -> list[Singularity]:
        """The singularity that a record runs into, or none: `flow_singularities`."""
        return flow_singularities(flow, threshold)

    def normalize_flow(self, flow: Record, normalization: str = "ricci") -> Record:
        """The flow with its volume kept, or its curvature: `normalized_flow`."""
        return normalized_flow(flow, normalization)

    def _rate(self, metric: Tensor) -> Tensor:
        jet = sampled_jet(self.grid, metric)
        change = -2 * ricci(metric, riemann(jet))
        return change if self.gauge == "hamilton" else change + deturck_term(jet)

    def _rk4(self, g: Tensor, size: float) -> Tensor:
        a = self._rate(g)
        b = self._rate(g + size / 2 * a)
        c = self._rate(g + size / 2 * b)
        d = self._rate(g + size * c)
        return symmetric_part(g + size / 6 * (a + 2 * b + 2 * c + d))

    def _figures(self, metric: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        volume = torch.linalg.det(metric).sqrt().sum() * math.prod(self.grid.spacings)
        place = int(sizes.detach().argmax())
        points = self.grid.coordinates(metric.dtype, metric.device).flatten(0, -2)
        return volume, sizes.max(), points[place]

    def _check_connection(self, metric: Tensor, connection: Tensor) -> None:
        expected = (*metric.shape, metric.shape[-1])
        if tuple(connection.shape) != expected or not bool(connection.isfinite().all()):
            raise ArgumentError(
                "connection", list(connection.shape), f"finite {list(expected)}", "pass Gamma^k_ij"
            )
        torsion = float((connection - connection.mT).detach().abs().max())
        if torsion > torch.finfo(metric.dtype).eps ** 0.5 * float(connection.detach().abs().max()):
            raise ArgumentError(
                "connection", f"torsion {torsion:.3g}", "Gamma^k_ij = Gamma^k_ji", "symmetrise it"
            )

    def _check_options(
        self, metric: Tensor, time: float, bound: float, share: float, every: int
    ) -> None:
        if metric.dim() != len(self.grid.points) + 2:
            raise ArgumentError("metric", list(metric.shape), "one metric", "flow each on its own")
        if not 0 < time < math.inf:
            raise ArgumentError("time", time, "a number > 0", "pass time=0.1")
        if not 0 < bound < math.inf:
            raise ArgumentError("largest_curvature", bound, "a number > 0", "pass 1e3")
        if not 0 < share <= 1:
            raise ArgumentError("share", share, "in (0, 1]", "beyond 1 steps are not stable")
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ArgumentError("every", every, "an integer >= 1", "pass every=10")
