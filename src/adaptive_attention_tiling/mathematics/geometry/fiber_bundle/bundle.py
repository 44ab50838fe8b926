"""Vector bundles and principal bundles with a connection, made from charts and transitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import ArgumentError
from .atlas import Atlas, Chart, tolerance
from .connection import (
    Connection,
    along,
    bianchi_form,
    curvature_form,
    slope_along,
)
from .consistency import check_connections, check_transitions
from .path import Path
from .structure_group import Representation, StructureGroup
from .transport import path_ordered

Transition = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BundlePoint:
    """Points of the total space, told by where they are and by their fibre over a chart.

    Args:
        base: [*p, N].
        chart: the name of the chart whose frame the fibre is told in.
        fiber: vectors [*p, r], or group elements [*p, r, r] in a principal bundle.
    """

    base: Tensor
    chart: str
    fiber: Tensor


@dataclass(frozen=True)
class TangentVector:
    """Vectors tangent to the base.

    Args:
        base: [*p, N].
        vector: velocities [*p, N] of points in R^N.
        chart: in whose frame matrices are told; None takes the best one.
    """

    base: Tensor
    vector: Tensor
    chart: str | None = None


@dataclass(frozen=True)
class FiberChart:
    """Fibres over one chart U: pi^(-1)(U) = U x F."""

    bundle: FiberBundle
    chart: Chart

    def fiber(self, total: BundlePoint) -> Tensor:
        """The fibre's coordinates [*p, r] or [*p, r, r] in this chart's frame."""
        g = self.bundle.transition_functions(total.chart, self.chart.name)(total.base)
        return self.bundle.act(g, total.fiber)

    def total(self, base: Float[Tensor, "*p N"], fiber: Tensor) -> BundlePoint:
        """The points over base with these coordinates."""
        self.bundle.check_fiber(fiber, base)
        return BundlePoint(base, self.chart.name, fiber)


@dataclass(frozen=True)
class FiberBundle:
    """A bundle with structure group G over a manifold with charts, and a connection on it.

    One fibre told in the frames of charts a and b has v_b = g_ba v_a. Where three charts meet
    transitions satisfy the cocycle condition, and connections go along with them:

        g_cb g_ba = g_ca
        A_b = g_ba A_a g_ba^(-1) - d g_ba g_ba^(-1)

    Both are checked at the atlas's samples when the bundle is built. The fibre is R^r or C^r, on
    which G acts by its matrices, or G itself with G acting from the left (a principal bundle); the
    associated vector bundles of a principal one come from `associated`. The covariant derivative
    of a section is ds + A s, and parallel sections solve s' = -A(gamma') s.

    Args:
        atlas: the base.
        group: G, of r by r matrices.
        transitions: (a, b) -> g_ba, from fibres over chart a to those over chart b, as a function
            of points [*p, N] -> [*p, r, r]. One direction a pair is enough.
        connections: chart -> A, coordinates [*p, n] -> [*p, n, r, r], the form's index first.
        principal: the fibre is G.

    Raises:
        ArgumentError: a pair of charts that meet has no transition; transitions are outside of G or
            contradict each other (the triple and the defect are told); connections are outside of
            the Lie algebra or do not go along with transitions.

    Kobayashi and Nomizu, Foundations of Differential Geometry I (1963), chapters I.5 and II;
    Nakahara, Geometry, Topology and Physics (2003), chapters 9 and 10.
    """

    atlas: Atlas
    group: StructureGroup
    transitions: Mapping[tuple[str, str], Transition]
    connections: Mapping[str, Connection]
    principal: bool = False

    def __post_init__(self) -> None:
        names = {chart.name for chart in self.atlas.charts}
        if set(self.connections) != names:
            raise ArgumentError(
                "connections", sorted(self.connections), f"{sorted(names)}", "pass one a chart"
            )
        with torch.no_grad():
            check_transitions(self)
            check_connections(self)

    def bundle_projection(self, total: BundlePoint) -> Float[Tensor, "*p N"]:
        """pi: where points of the total space are, [*p, N]."""
        self.check_fiber(total.fiber, total.base)
        return total.base

    def local_trivialization(self, point: Float[Tensor, "*p N"]) -> tuple[Chart, FiberChart]:
        """The chart that holds these points best, and fibres over it."""
        self.atlas.check(point, "point")
        chart = self.atlas.best(point)
        return chart, FiberChart(self, chart)

    def transition_functions(self, chart1: str, chart2: str) -> Transition:
        """g_21: points [*p, N] -> [*p, r, r], with v_2 = g_21 v_1."""
        for chart in (chart1, chart2):
            self.atlas.chart(chart)
        if chart1 == chart2:
            return lambda points: self._identities(points)
        if (chart1, chart2) in self.transitions:
            return self.transitions[chart1, chart2]
        if (chart2, chart1) in self.transitions:
            backward = self.transitions[chart2, chart1]
            return lambda points: torch.linalg.inv(backward(points))
        raise ArgumentError(
            "transitions",
            f"none between {chart1!r} and {chart2!r}",
            "one for every pair of charts that meet",
            f"pass transitions[{chart1!r}, {chart2!r}]",
        )

    def connection_form(self, tangent_vector: TangentVector) -> Tensor:
        """A(v), [*p, r, r], in the Lie algebra and in the frame of the tangent vector's chart.

        In a principal bundle it is the pull-back of Ehresmann's form by that frame, and
        g^(-1) A(v) g + g^(-1) g' is the form on a curve of group elements g over the base.

        Kobayashi and Nomizu I (1963), proposition II.1.4.
        """
        base, vector = tangent_vector.base, tangent_vector.vector
        self.atlas.check(base, "tangent_vector")
        if vector.shape != base.shape:
            raise ArgumentError(
                "tangent_vector",
                f"vectors {list(vector.shape)} at points {list(base.shape)}",
                "one vector a point",
                "pass velocities in R^N",
            )
        chart = self.atlas.chosen(base, tangent_vector.chart)
        x, velocity = slope_along(chart.coordinates, base, vector)
        _check_tangent(vector, slope_along(chart.point, x, velocity)[1])
        return along(self.connections[chart.name](x), velocity)

    def covariant_derivative(
        self, section: Callable[[Tensor], Tensor], tangent_vector: TangentVector
    ) -> Tensor:
        """ds(v) + A(v) s, in the frame of the tangent vector's chart.

        Args:
            section: points [*p, N] -> fibres [*p, r] or [*p, r, r] in that frame.
            tangent_vector: v.
        """
        base, vector = tangent_vector.base, tangent_vector.vector
        form = self.connection_form(tangent_vector)
        value, slope = slope_along(section, base, vector)
        self.check_fiber(value, base)
        return slope + self.act(form, value)

    def parallel_transport(
        self, section: BundlePoint, path: Path, *, steps: int = 32, order: int = 4
    ) -> BundlePoint:
        """Carry fibres along paths: s' = -A(gamma') s.

        Args:
            section: fibres over the paths' starts, [*b, r] or [*b, r, r].
            path: a batch [*b] of them, or one.
            steps: for each smooth piece of the path.
            order: 2 or 4, of the Magnus method.

        Returns:
            Fibres over the paths' ends, in the frame of section's chart if that holds the ends, of
            the best chart otherwise.
        """
        ends = path.points(path.times(1))
        start, end = ends[..., 0, :], ends[..., 1, :]
        self.check_fiber(section.fiber, section.base)
        gap = (section.base - start).detach().abs().max()
        if float(gap) > tolerance(start):
            raise ArgumentError(
                "section",
                f"fibres {float(gap):.3g} away from the path's start",
                "fibres over gamma(0)",
                "pass section.base = path.points(times)[..., 0, :]",
            )
        chart = section.chart if self.atlas.holds(section.chart, end) else self.atlas.best(end).name
        matrix = self.transport(path, section.chart, chart, steps=steps, order=order)
        moved = self.act(matrix, section.fiber)
        return BundlePoint(end.expand_as(section.base), chart, moved)

    def transport(
        self,
        path: Path,
        chart1: str | None = None,
        chart2: str | None = None,
        *,
        steps: int = 32,
        order: int = 4,
    ) -> Tensor:
        """U = P exp(-integral of A along the path), [*b, r, r], in G to rounding.

        Args:
            path: each of its steps must lie in one chart, whichever.
            chart1: the frame at the start; None takes the best chart.
            chart2: the frame at the end; None takes chart1 if it holds the ends.
            steps: for each smooth piece of the path; the error falls as steps^(-order).
            order: 2 or 4, of the Magnus method.
        """
        if steps < 1:
            raise ArgumentError("steps", steps, "1 or more", "pass steps=32")
        start, end = path.points(path.times(1)).unbind(-2)
        first = self.atlas.chosen(start, chart1).name
        last = chart2 or (first if self.atlas.holds(first, end) else None)
        return path_ordered(self, path, (first, self.atlas.chosen(end, last).name), steps, order)

    def holonomy(
        self, loop: Path, chart: str | None = None, *, steps: int = 32, order: int = 4
    ) -> Tensor:
        """Transport once around, [*b, r, r], in the frame of a chart at the loop's start.

        Around squares of side h between coordinates i and j it is exp(-F_ij h^2) up to O(h^3), or
        O(h^4) about the centre. In a group of isometries |holonomy - 1| is at most the integral of
        |F| over any disc that the loop bounds.
        """
        ends = loop.points(loop.times(1))
        gap = (ends[..., 0, :] - ends[..., 1, :]).detach().abs().max()
        if float(gap) > tolerance(ends):
            raise ArgumentError(
                "loop", f"ends {float(gap):.3g} apart", "gamma(0) = gamma(1)", "close the path"
            )
        name = self.atlas.chosen(ends[..., 0, :], chart).name
        return self.transport(loop, name, name, steps=steps, order=order)

    def curvature(self, point: Float[Tensor, "*p N"], chart: str | None = None) -> Tensor:
        """F_ij = d_i A_j - d_j A_i + [A_i, A_j], [*p, n, n, r, r], in a chart's coordinates.

        From one chart to another F_b = g_ba F_a g_ba^(-1), besides the change of coordinates.
        """
        self.atlas.check(point, "point")
        held = self.atlas.chosen(point, chart)
        return curvature_form(self.connections[held.name], held.coordinates(point))

    def bianchi(self, point: Float[Tensor, "*p N"], chart: str | None = None) -> Tensor:
        """dF + [A, F], [*p, n, n, n, r, r], which is zero."""
        self.atlas.check(point, "point")
        held = self.atlas.chosen(point, chart)
        return bianchi_form(self.connections[held.name], held.coordinates(point))

    def is_flat(self, points: Float[Tensor, "m N"] | None = None) -> bool:
        """Whether F is zero to eps^(2/5) at these points, or at the atlas's samples.

        Where it is zero everywhere, transport along loops that can be drawn together to a point is
        the identity, and only the others may have a holonomy.
        """
        points = self.atlas.samples if points is None else points
        self.atlas.check(points)
        best = self.atlas.margins(points).argmax(-1)
        groups = [(c.name, points[best == i]) for i, c in enumerate(self.atlas.charts)]
        forms = [self.curvature(held, name).abs().flatten() for name, held in groups if len(held)]
        return bool(torch.cat(forms).max() <= tolerance(points))

    def associated(self, representation: Representation, principal: bool = False) -> FiberBundle:
        """The bundle with transitions rho(g) and connection d rho(A).

        Kobayashi and Nomizu I (1963), propositions I.5.4 and II.6.1.
        """

        def connection(name: str) -> Connection:
            return lambda x: representation.of_algebra(self.connections[name](x))

        def transition(pair: tuple[str, str]) -> Transition:
            return lambda points: representation.matrix(self.transitions[pair](points))

        return FiberBundle(
            self.atlas,
            representation.target,
            {pair: transition(pair) for pair in self.transitions},
            {name: connection(name) for name in self.connections},
            principal,
        )

    def frames(self) -> FiberBundle:
        """The principal bundle of a vector bundle: the same group, which is now the fibre."""
        return replace(self, principal=True)

    def act(self, matrices: Tensor, fiber: Tensor) -> Tensor:
        """g v of vectors [*p, r], or g h of group elements [*p, r, r] in a principal bundle."""
        moved: Tensor = matrices @ (fiber if self.principal else fiber[..., None])
        return moved if self.principal else moved[..., 0]

    def check_fiber(self, fiber: Tensor, base: Tensor) -> None:
        """Raise an ArgumentError unless fibres go with these base points and are finite."""
        self.atlas.check(base, "base")
        size = self.group.size
        shape = [*base.shape[:-1], size, size] if self.principal else [*base.shape[:-1], size]
        if list(fiber.shape) != shape:
            raise ArgumentError(
                "fiber", f"shape {list(fiber.shape)}", f"{shape}", "pass one fibre a base point"
            )
        if not bool(fiber.detach().isfinite().all()):
            raise ArgumentError("fiber", "NaN or infinity", "finite numbers", "leave it out")
        if self.principal:
            self.group.check("fiber", fiber)

    def _identities(self, points: Tensor) -> Tensor:
        identity = self.group.identity(points)
        return identity.expand(*points.shape[:-1], *identity.shape)


def _check_tangent(vector: Tensor, projected: Tensor) -> None:
    error = (projected - vector).detach().abs().amax(-1)
    allowed = tolerance(vector) * vector.detach().abs().amax(-1).clamp(min=1)
    if not bool((error <= allowed).all()):
        raise ArgumentError(
            "tangent_vector",
            f"a vector {float(error.max()):.3g} out of the tangent space",
            "velocities of curves in the base",
            "project vectors onto the tangent space",
        )
