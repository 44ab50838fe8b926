"""Base manifolds given by charts: points are rows of some R^N, coordinates rows of R^n."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import ArgumentError

PointMap = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Chart:
    """A local chart x: U -> R^n of a manifold whose points lie in R^N.

    The three functions act row by row on any leading axes and are differentiable.

    Args:
        name: what errors and bundles call it.
        dimension: n.
        coordinates: points [*p, N] -> x [*p, n].
        point: the inverse, x [*p, n] -> points [*p, N].
        margin: points [*p, N] -> [*p], positive inside of U and larger where the chart is better.
    """

    name: str
    dimension: int
    coordinates: PointMap
    point: PointMap
    margin: PointMap


@dataclass(frozen=True)
class Atlas:
    """Charts that cover a manifold.

    Args:
        charts: with names that differ and one dimension n.
        samples: points [m, N] of the manifold at which bundles over it are checked.
    """

    charts: tuple[Chart, ...]
    samples: Float[Tensor, "m N"]

    def __post_init__(self) -> None:
        names = [chart.name for chart in self.charts]
        dimensions = {chart.dimension for chart in self.charts}
        if not names or len(set(names)) < len(names) or len(dimensions) != 1:
            raise ArgumentError(
                "charts",
                [(chart.name, chart.dimension) for chart in self.charts],
                "one chart or more, with names that differ and one dimension",
                "rename charts, or build one atlas a manifold",
            )
        if self.samples.dim() != 2 or not self.samples.is_floating_point():
            raise ArgumentError(
                "samples",
                f"{self.samples.dtype} {list(self.samples.shape)}",
                "floating [m, N]",
                "pass some points of the manifold",
            )
        self.check(self.samples, "samples")

    @property
    def dimension(self) -> int:
        """n, of coordinates."""
        return self.charts[0].dimension

    def chart(self, name: str) -> Chart:
        """The chart of this name."""
        for chart in self.charts:
            if chart.name == name:
                return chart
        raise ArgumentError(
            "chart",
            repr(name),
            f"one of {[c.name for c in self.charts]}",
            "use a name of the atlas",
        )

    def margins(self, points: Float[Tensor, "*p N"]) -> Float[Tensor, "*p charts"]:
        """How far inside of each chart points lie; without gradients, NaN counts as outside."""
        with torch.no_grad():
            rows = torch.stack([chart.margin(points.detach()) for chart in self.charts], -1)
        return rows.nan_to_num(nan=-torch.inf)

    def best(self, points: Float[Tensor, "*p N"]) -> Chart:
        """The one chart that holds all of these points with the widest margin.

        Raises:
            ArgumentError: no chart holds them all.
        """
        if not points.numel():
            return self.charts[0]
        margins = self.margins(points).view(-1, len(self.charts)).amin(0)
        if bool(margins.max() <= 0):
            raise ArgumentError(
                "points",
                "points that lie in no chart together",
                f"points inside of one of {[chart.name for chart in self.charts]}",
                "ask about fewer points at a time",
            )
        return self.charts[int(margins.argmax())]

    def holds(self, name: str, points: Float[Tensor, "*p N"]) -> bool:
        """Whether all of these points lie inside of the chart of this name."""
        with torch.no_grad():
            return bool((self.chart(name).margin(points.detach()) > 0).all())

    def chosen(self, points: Float[Tensor, "*p N"], name: str | None) -> Chart:
        """The chart of this name, which must hold these points, or the best one for None."""
        if name is None:
            return self.best(points)
        if not self.holds(name, points):
            raise ArgumentError(
                "chart",
                repr(name),
                "a chart that holds these points",
                f"pass {self.best(points).name!r}",
            )
        return self.chart(name)

    def common(self, *names: str) -> Float[Tensor, "k N"]:
        """The samples that all of these charts hold."""
        margins = torch.stack([self.chart(name).margin(self.samples) for name in names])
        return self.samples[margins.amin(0) > 0]

    def check(self, points: Float[Tensor, "*p N"], name: str = "points") -> None:
        """Raise an ArgumentError unless points are finite, of width N, and on the manifold.

        A point is on the manifold if its best chart's coordinates lead back to it within
        eps^(2/5) max(1, |p|), which is 5e-7 in float64.
        """
        width = self.samples.shape[-1]
        if points.dim() < 1 or points.shape[-1] != width:
            raise ArgumentError(
                name, f"shape {list(points.shape)}", f"[..., {width}]", "pass points of R^N"
            )
        points = points.detach()
        if not bool(points.isfinite().all()):
            raise ArgumentError(name, "NaN or infinity", "finite numbers", "leave such points out")
        for index, chart in enumerate(self.charts):
            held = points[self.margins(points).argmax(-1) == index]
            if not held.numel():
                continue
            error = (chart.point(chart.coordinates(held)) - held).abs().amax(-1)
            far = error - tolerance(points) * held.abs().amax(-1).clamp(min=1)
            if not bool(far.max() <= 0):
                raise ArgumentError(
                    name,
                    f"a point {float(error.max()):.3g} away from the manifold",
                    f"points that chart {chart.name!r} maps back to themselves",
                    "project points onto the manifold first",
                )


def tolerance(like: Tensor) -> float:
    """What checks forgive: eps^(2/5), 5.5e-7 in float64 and 1.7e-3 in float32."""
    return math.pow(torch.finfo(like.dtype).eps, 0.4)


def euclidean_atlas(dimension: int, dtype: torch.dtype = torch.float64) -> Atlas:
    """R^n with itself as its one chart, "all"."""
    chart = Chart("all", dimension, _same, _same, lambda points: torch.ones_like(points[..., 0]))
    return Atlas((chart,), _normal_rows(8, dimension, dtype))


def sphere_atlas(dimension: int = 2, dtype: torch.dtype = torch.float64) -> Atlas:
    """The unit sphere S^n in R^(n+1) by two stereographic charts of one orientation.

    With p = (y, z), z the last entry,

        "north": u = y / (1 + z),           all points but z = -1
        "south": w = (y_1, ..., y_(n-1), -y_n) / (1 - z),  all points but z = +1

    so that on S^2, as complex numbers, w = 1 / u. Lee, Introduction to Smooth Manifolds (2013),
    problem 1-7; the sign of y_n is ours and keeps the orientation.
    """
    if dimension < 1:
        raise ArgumentError("dimension", dimension, "1 or more", "pass dimension=2 for S^2")
    charts = tuple(_stereographic(name, dimension) for name in ("north", "south"))
    samples = torch.nn.functional.normalize(_normal_rows(24, dimension + 1, dtype), dim=-1)
    return Atlas(charts, samples)


def circle_atlas(dtype: torch.dtype = torch.float64) -> Atlas:
    """The unit circle in R^2 by two arcs, with angles in radians as coordinates.

    "east": all points but (-1, 0), angles in (-pi, pi); "west": all but (1, 0), angles in
    (0, 2 pi).
    """
    east = Chart("east", 1, _angle, _at_angle, lambda points: 1 + points[..., 0])
    west = Chart(
        "west",
        1,
        lambda points: _angle(-points) + torch.pi,
        _at_angle,
        lambda points: 1 - points[..., 0],
    )
    turns = torch.linspace(0.1, 6.2, 16, dtype=dtype)
    return Atlas((east, west), _at_angle(turns[:, None]))


def _stereographic(name: str, dimension: int) -> Chart:
    side = 1.0 if name == "north" else -1.0

    def turned(rows: Tensor) -> Tensor:
        return torch.cat([rows[..., :-1], side * rows[..., -1:]], -1)

    def coordinates(points: Tensor) -> Tensor:
        return turned(points[..., :-1]) / (1 + side * points[..., -1:])

    def point(x: Tensor) -> Tensor:
        squared = x.square().sum(-1, keepdim=True)
        return torch.cat([2 * turned(x), side * (1 - squared)], -1) / (1 + squared)

    return Chart(name, dimension, coordinates, point, lambda points: 1 + side * points[..., -1])


def _same(points: Tensor) -> Tensor:
    return points


def _angle(points: Tensor) -> Tensor:
    return torch.atan2(points[..., 1:], points[..., :1])


def _at_angle(x: Tensor) -> Tensor:
    return torch.cat([x.cos(), x.sin()], -1)


def _normal_rows(rows: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0), dtype=dtype)
