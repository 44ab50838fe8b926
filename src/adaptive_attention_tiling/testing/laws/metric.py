"""Laws of Riemannian metrics: positive, kept by their connection, of bounded curvature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.geometry import AbstractManifold, curvature
from ...mathematics.geometry.jets import MetricJet
from .balance import divided, divided_jet, in_lengths, lengths_of
from .connection import (
    bianchi_defect,
    compatibility_defect,
    connection_values,
    largest_change,
    torsion,
)
from .metric_samples import Metric, metric_jets, metric_values
from .plane_curvature import frame_of, in_frame, sectional_range
from .report import LawReport, at_place, judged, summarised

_POSITIVE = "metric is positive definite: g_ij = g_ji with least eigenvalue >= tolerance"
_REGULAR = "metric is not singular: least |eigenvalue| > 0, each coordinate scaled by its length"
_COMPATIBLE = "connection is the metric's: D_k g_ij = 0, T^k_ij = 0, R^a_[bcd] = 0"
_BETWEEN = "points that were not given"


@dataclass(frozen=True, kw_only=True)
class MetricValidation:
    """Laws of a metric, at the points where it is looked at.

    A metric is samples [*b, n, n]; a function of points, [*b, n] to [*b, n, n], by torch operations
    with forward derivatives; or a manifold of `mathematics.geometry`, in its chart. Laws with
    derivatives ask samples to lie on a grid, [*grid, n, n] with one axis for each coordinate, and
    allow what differences of order 2 and 4 disagree about.

    Args:
        points: where functions and manifolds are evaluated, [*b, n].
        spacings: of samples on a grid, one for each coordinate.
        absolute: compare eigenvalues in the units of g. Otherwise those of g_ij / sqrt(g_ii g_jj),
            which no choice of units changes.
        coordinate_scale: the change of coordinates over which a relative change of g by 1 is large;
            where g changes less at a point, defects of a connection are shares of that, or of the
            fastest change at any point if that is slower.
        curvature: "sectional", of all planes, or "scalar".
        curvature_tolerance: how far beyond bounds curvature may lie, relative to the larger one.
        planes: from how many random planes at each point the extreme ones are sought, n >= 4.
        seed: of these.
    """

    points: Float[Tensor, "*b n"] | None = None
    spacings: tuple[float, ...] | None = None
    absolute: bool = False
    coordinate_scale: float = 1.0
    curvature: Literal["sectional", "scalar"] = "sectional"
    curvature_tolerance: float = 1e-10
    planes: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.coordinate_scale < math.inf:
            raise ArgumentError("coordinate_scale", self.coordinate_scale, "a number > 0", "pass 1")
        if self.curvature not in ("sectional", "scalar"):
            raise ArgumentError("curvature", self.curvature, "sectional or scalar", "choose one")
        if not self.curvature_tolerance >= 0:
            raise ArgumentError("curvature_tolerance", self.curvature_tolerance, ">= 0", "pass 0")
        if self.planes < 1:
            raise ArgumentError("planes", self.planes, "an integer >= 1", "pass planes=4")

    def check_positive_definite(self, metric: Metric, tolerance: float = 1e-6) -> LawReport:
        """g = g^T, and no eigenvalue of g lies below the tolerance.

        The bound is lowered by the rounding of the metric's dtype, but never to where an eigenvalue
        could be 0: a metric that is the least bit indefinite fails at any tolerance.
        """
        if not tolerance > 0:
            raise ArgumentError("tolerance", tolerance, "a number > 0", "pass 1e-6")
        given = metric_values(metric, self.points)
        values = given.double() if self.absolute else _with_unit_lengths(given.double())
        symmetric = _symmetry(values, given.dtype)
        if not symmetric:
            return symmetric
        least, size = _least_and_size(values)
        n = values.shape[-1]
        sure = n * torch.finfo(torch.float64).eps * size
        lower = torch.maximum(tolerance - n * torch.finfo(given.dtype).eps * size, sure)
        return judged(
            least, law=_POSITIVE, quantity=f"least eigenvalue{'' if self.absolute else ', scaled'}",
            lower=lower, where=at_place("point", least.shape), not_shown=_BETWEEN,
        )  # fmt: skip

    def verify_compatibility(
        self,
        metric: Metric,
        connection: Tensor | Callable[[Tensor], Tensor] | None = None,
        tolerance: float = 1e-6,
    ) -> LawReport:
        """The connection is Levi-Civita's: it keeps the metric and has no torsion.

            D_k g_ij = d_k g_ij - Gamma^p_ki g_pj - Gamma^p_kj g_ip = 0,
            Gamma^k_ij = Gamma^k_ji,    R^a_bcd + R^a_cdb + R^a_dbc = 0

        with d_k g by forward mode or differences, and R from d Gamma where Gamma is a function.

        Args:
            metric: of any signature; not singular.
            connection: Gamma^k_ij [*b, k, i, j] where the metric is looked at, i the direction of
                the derivative; or a function of points; None asks a manifold for its own.
            tolerance: of each defect, as a share of |Gamma| or |g^il d_k g_lj|, or of the square of
                that for the last, each coordinate in units of its length.

        Source: Lee, Introduction to Riemannian Manifolds (2018), theorem 5.10; 7.12 for Bianchi.
        """
        if connection is None and isinstance(metric, AbstractManifold):
            connection = metric.christoffel_symbols
        jet, coarse = metric_jets(metric, self.points, self.spacings)
        regular = self._regular(jet.metric)
        if not regular:
            return regular
        gamma = connection_values(connection, self.points, jet.metric, on_grid=coarse is not None)
        lengths = lengths_of(jet.metric)
        even, symbols = divided_jet(jet, lengths), in_lengths(gamma, lengths, 2)
        scale, noise = self._scale_and_noise(largest_change(symbols, even), lengths)
        rounding = 64 * jet.metric.shape[-1] * torch.finfo(jet.metric.dtype).eps
        upper = tolerance + rounding * (1 + noise / scale)
        defect = compatibility_defect(symbols, even)
        slack = torch.zeros_like(defect)
        if coarse is not None:
            wide = divided_jet(coarse, lengths)
            slack = (compatibility_defect(symbols, wide) - defect).abs() / scale
        where = at_place("point", defect.shape)
        twist = judged(
            torsion(symbols) / scale, law=_COMPATIBLE, quantity="torsion, relative",
            upper=upper, where=where, not_shown=_BETWEEN,
        )  # fmt: skip
        kept = judged(
            defect / scale, law=_COMPATIBLE, quantity="derivative of the metric, relative",
            upper=upper + slack, where=where, not_shown=_BETWEEN if callable(connection)
            else f"{_BETWEEN}; Bianchi's identity, which needs the connection as a function",
        )  # fmt: skip
        parts = [kept, twist]
        if callable(connection) and self.points is not None:
            sums, slope = bianchi_defect(connection, self.points.detach(), lengths)
            largest = torch.maximum(scale.square(), slope)
            cyclic = judged(
                sums / largest, law=_COMPATIBLE, quantity="Bianchi's cyclic sum, relative",
                upper=tolerance + rounding * (1 + noise.square() / largest), where=where,
                not_shown=_BETWEEN,
            )  # fmt: skip
            parts.append(cyclic)
        return summarised(*parts)

    def check_curvature_bounds(self, metric: Metric, bounds: tuple[float, float]) -> LawReport:
        """Curvature lies within bounds: K of every plane at a point, or R = g^ac g^bd R_abcd.

        K is exact for n = 2 and 3, the extremes being eigenvalues of the curvature operator. For
        n >= 4 planes are sought by descent in one vector and the other; the eigenvalues then bound
        what was missed, and `not_shown` tells them.

        Args:
            metric: positive definite for sectional curvature, any signature for scalar.
            bounds: lowest and highest, of which one may be infinite.
        """
        low, high = bounds
        jet, coarse = metric_jets(metric, self.points, self.spacings)
        if jet.metric.shape[-1] < 2:
            raise ArgumentError("metric", "dimension 1", "dimension 2 or more", "curves are flat")
        sectional = self.curvature == "sectional"
        regular = self._regular(jet.metric)
        if not regular:
            return regular
        if sectional:
            positive = _positive(jet.metric)
            if not positive:
                return positive
        finite = [abs(bound) for bound in bounds if math.isfinite(bound)]
        slack = self.curvature_tolerance * max(finite, default=0.0) + _curvature_rounding(jet)
        widest = float(slack.max())
        found, missed = self._curvature(jet, (low - widest, high + widest))
        if coarse is not None:
            slack = slack + (self._curvature(coarse, bounds)[0] - found).abs().amax(0)
        return judged(
            found, law=f"{self.curvature} curvature lies within [{low:g}, {high:g}]",
            quantity="curvature", lower=low - slack.expand_as(found),
            upper=high + slack.expand_as(found),
            where=lambda case: at_place("point", found.shape[1:])(case % found[0].numel()),
            not_shown=f"{_BETWEEN}{missed}",
        )  # fmt: skip

    def all(
        self,
        metric: Metric,
        connection: Tensor | Callable[[Tensor], Tensor] | None = None,
        bounds: tuple[float, float] | None = None,
        tolerance: float = 1e-6,
    ) -> list[LawReport]:
        """Each law of the class for which there is something to judge."""
        found = [self.check_positive_definite(metric, tolerance)]
        if connection is not None or isinstance(metric, AbstractManifold):
            found.append(self.verify_compatibility(metric, connection, tolerance))
        if bounds is not None:
            found.append(self.check_curvature_bounds(metric, bounds))
        return found

    def _scale_and_noise(self, change: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What defects at each point are shares of, and what rounding is in proportion to.

        Where a metric is at rest by chance, what it does elsewhere, or over `coordinate_scale`,
        tells what is small.
        """
        unit = 1 / (self.coordinate_scale * lengths.amax(-1))
        most = change.double().amax()
        scale = torch.maximum(change.double(), torch.minimum(most, unit))
        steps = min([self.coordinate_scale, *(self.spacings or ())])
        return torch.where(scale > 0, scale, unit), 1 / (steps * lengths.amin(-1))

    def _regular(self, metric: Tensor) -> LawReport:
        values = divided(metric.double(), lengths_of(metric))
        symmetric = _symmetry(values, metric.dtype)
        if not symmetric:
            return symmetric
        least, size = _least_and_size(values, signed=False)
        sure = values.shape[-1] * torch.finfo(metric.dtype).eps * size
        return judged(
            least, law=_REGULAR, quantity="least |eigenvalue|, scaled", lower=sure,
            where=at_place("point", least.shape), not_shown=_BETWEEN,
        )  # fmt: skip

    def _curvature(self, jet: MetricJet, bounds: tuple[float, float]) -> tuple[Tensor, str]:
        """Least and largest curvature [2, *b], or scalar [1, *b], and what was missed."""
        if self.curvature == "scalar":
            return curvature.scalar(jet)[None], "; curvatures of single planes"
        return sectional_range(jet, bounds, self.planes, self.seed)


def _positive(metric: Tensor) -> LawReport:
    """Signs of eigenvalues, which no units of coordinates change."""
    least, size = _least_and_size(divided(metric.double(), lengths_of(metric)))
    return judged(
        least, law=_POSITIVE, quantity="least eigenvalue, scaled",
        lower=metric.shape[-1] * torch.finfo(torch.float64).eps * size,
        where=at_place("point", least.shape), not_shown=_BETWEEN,
    )  # fmt: skip


def _symmetry(values: Tensor, dtype: torch.dtype) -> LawReport:
    skew = (values - values.mT).abs().amax((-1, -2))
    size = values.abs().amax((-1, -2)).nan_to_num(0.0, 0.0)
    rounding = 1e3 * values.shape[-1] * torch.finfo(dtype).eps
    return judged(
        skew, law=_POSITIVE, quantity="|g_ij - g_ji|", upper=rounding * size,
        where=at_place("point", skew.shape), not_shown=_BETWEEN,
    )  # fmt: skip


def _with_unit_lengths(values: Tensor) -> Tensor:
    """g_ij / sqrt(|g_ii g_jj|), of which no choice of units is left."""
    squared = values.diagonal(dim1=-2, dim2=-1).abs()
    return divided(values, torch.where(squared == 0, 1.0, squared).sqrt())


def _least_and_size(values: Tensor, signed: bool = True) -> tuple[Tensor, Tensor]:
    """The least eigenvalue or |eigenvalue| of each, NaN where g is not finite; the largest one."""
    finite = values.isfinite().all(-1).all(-1)
    found = torch.linalg.eigvalsh(torch.where(finite[..., None, None], values, 0.0))
    least = found[..., 0] if signed else found.abs().amin(-1)
    return torch.where(finite, least, math.nan), found.abs().amax(-1)


def _curvature_rounding(jet: MetricJet) -> Tensor:
    """1000 roundings of the terms that curvature is the sum of, in an orthonormal frame."""
    frame = frame_of(jet.metric)
    second = in_frame(jet.second, frame).abs().flatten(-4).amax(-1)
    first = in_frame(jet.first, frame).abs().flatten(-3).amax(-1)
    eps = torch.finfo(jet.metric.dtype).eps
    # What is not finite is told by the curvature itself.
    terms = (second + first.square()).nan_to_num(0.0, 0.0)
    return 1e3 * eps * jet.metric.shape[-1] * terms
