"""The kinds of metrics that laws accept, and their derivatives at points."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.geometry import AbstractManifold
from ...mathematics.geometry.jets import MetricJet, second_jet

Metric = Tensor | Callable[[Tensor], Tensor] | AbstractManifold

_KINDS = "samples [*b, n, n], a function of points [*b, n], or a manifold of mathematics.geometry"
_EDGE = 2  # points at each side of a grid that have no central difference of order 4


def metric_values(metric: Metric, points: Tensor | None) -> Float[Tensor, "*b n n"]:
    """g_ij, as it is given or at the points.

    Raises:
        ArgumentError: another kind, no points to evaluate at, or values of another shape.
    """
    if isinstance(metric, Tensor):
        values = metric.detach()
    else:
        function = _function(metric)
        with torch.no_grad():
            values = function(_checked(points))
        at = _checked(points).shape
        if values.shape != (*at, at[-1]):
            raise ArgumentError(
                "metric", f"values {list(values.shape)} at points {list(at)}", "[*b, n, n]",
                "return g_ij of every point",
            )  # fmt: skip
    square = values.dim() >= 2 and values.shape[-1] == values.shape[-2]
    if not square or not values.numel() or not values.is_floating_point():
        raise ArgumentError(
            "metric", f"{values.dtype} {list(values.shape)}", _KINDS, "pass real square matrices"
        )
    return values


def metric_jets(
    metric: Metric, points: Tensor | None, spacings: tuple[float, ...] | None
) -> tuple[MetricJet, MetricJet | None]:
    """g, dg and ddg at each point; a second, coarser estimate of them where they are not exact.

    Of functions and manifolds by forward mode. Of samples on a grid [*grid, n, n], with one axis
    and one spacing for each coordinate, by central differences of order 4 and of order 2 at the
    points that lie two or more from an edge.
    """
    values = metric_values(metric, points)
    if not isinstance(metric, Tensor):
        with torch.no_grad():
            exact = second_jet(_function(metric), _checked(points))
        return MetricJet(*(part.detach() for part in exact)), None
    size = values.shape[-1]
    if spacings is None or len(spacings) != size or values.dim() != size + 2:
        raise ArgumentError(
            "spacings", f"{spacings} for samples {list(values.shape)}",
            f"{size} numbers, for samples on a grid of {size} axes",
            "say how far apart the samples lie, or pass the metric as a function",
        )  # fmt: skip
    if not all(0 < h < math.inf for h in spacings) or min(values.shape[:size]) < 2 * _EDGE + 1:
        raise ArgumentError(
            "spacings", f"{spacings} on a grid {list(values.shape[:size])}",
            "numbers > 0, on 5 samples or more along each axis", "sample the metric more finely",
        )  # fmt: skip
    return _grid_jet(values, spacings, 4), _grid_jet(values, spacings, 2)


def inside(values: Tensor, axes: int) -> Tensor:
    """The part of samples on a grid at which `metric_jets` has derivatives."""
    for axis in range(axes):
        values = values.narrow(axis, _EDGE, values.shape[axis] - 2 * _EDGE)
    return values


def directional_jacobian(
    function: Callable[[Tensor], Tensor], points: Float[Tensor, "*b n"]
) -> tuple[Tensor, Tensor]:
    """f(x) and d_k f [*b, *s, n], one direction at a time, for functions that look at values."""
    derivatives = []
    for direction in torch.eye(points.shape[-1], dtype=points.dtype, device=points.device):
        along = direction.expand_as(points).contiguous()
        derivatives.append(torch.func.jvp(function, (points,), (along,))[1])
    return function(points).detach(), torch.stack(derivatives, -1).detach()


def _grid_jet(values: Tensor, spacings: tuple[float, ...], order: int) -> MetricJet:
    axes = len(spacings)
    slopes = [_difference(values, k, spacings[k], order) for k in range(axes)]
    first = torch.stack([_trimmed(slope, axes, {k}) for k, slope in enumerate(slopes)], -1)
    rows = []
    for k in range(axes):
        row = []
        for m in range(axes):
            if k == m:
                bent = _bend(values, k, spacings[k], order)
            else:
                bent = _difference(slopes[k], m, spacings[m], order)
            row.append(_trimmed(bent, axes, {k, m}))
        rows.append(torch.stack(row, -1))
    return MetricJet(inside(values, axes), first, torch.stack(rows, -2))


def _trimmed(values: Tensor, axes: int, done: set[int]) -> Tensor:
    """Cut the edges of the axes along which no difference has been taken."""
    for axis in set(range(axes)) - done:
        values = values.narrow(axis, _EDGE, values.shape[axis] - 2 * _EDGE)
    return values


def _shifts(values: Tensor, axis: int) -> list[Tensor]:
    count = values.shape[axis] - 2 * _EDGE
    return [values.narrow(axis, start, count) for start in range(2 * _EDGE + 1)]


def _difference(values: Tensor, axis: int, h: float, order: int) -> Tensor:
    far_left, left, _, right, far_right = _shifts(values, axis)
    if order == 2:
        return (right - left) / (2 * h)
    return (far_left - far_right + 8 * (right - left)) / (12 * h)


def _bend(values: Tensor, axis: int, h: float, order: int) -> Tensor:
    far_left, left, here, right, far_right = _shifts(values, axis)
    if order == 2:
        return (left + right - 2 * here) / h**2
    return (16 * (left + right) - far_left - far_right - 30 * here) / (12 * h**2)


def _function(metric: Metric) -> Callable[[Tensor], Tensor]:
    if isinstance(metric, AbstractManifold):
        return metric.metric_matrix
    if isinstance(metric, Tensor) or not callable(metric):
        raise ArgumentError("metric", type(metric).__name__, _KINDS, "pass one of these")
    return metric


def _checked(points: Tensor | None) -> Tensor:
    if points is None:
        raise ArgumentError(
            "points", None, "[*b, n], where the metric is evaluated",
            "pass MetricValidation(points=...)",
        )  # fmt: skip
    good = points.dim() >= 1 and points.is_floating_point() and points.numel()
    if not good or not bool(points.detach().isfinite().all()):
        raise ArgumentError(
            "points", f"{points.dtype} {list(points.shape)}", "finite floating [*b, n]",
            "pass coordinates",
        )  # fmt: skip
    return points.detach()
