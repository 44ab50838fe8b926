"""Vector bundles and principal bundles with a connection, made from charts and transitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import permutations

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
    gauge_transformed,
    partials,
    slope_along,
)
from .path import Path
from .structure_group import Representation, StructureGroup
from .transport import gauss_nodes, magnus_exponent, ordered_product

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

    Fibres over chart a and chart b are told apart by v_b = g_ba v_a. Where three charts meet
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
            self._check_transitions()
            self._check_connections()

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
        """A(v), [*p, r, r], in the Lie algebra and in the frame of the tangent vector's chart."""
        self.atlas.check(tangent_vector.base, "tangent_vector")
        chart = self._chart(tangent_vector.base, tangent_vector.chart)
        return self._form(chart, tangent_vector.base, tangent_vector.vector)

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
        chart = section.chart if self._holds(section.chart, end) else self.atlas.best(end).name
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
        count = steps * path.pieces
        shares = torch.tensor(gauss_nodes(order), dtype=path.dtype, device=path.device)
        times = path.times(count)
        nodes = (times[:-1, None] + shares / count).flatten()
        corners = path.points(times)
        self.atlas.check(corners, "path")
        points, velocities = path.velocities(nodes)
        batch, width = points.shape[:-2], points.shape[-1]
        points = points.view(*batch, count, len(shares), width)
        chosen = self._charts_of_steps(corners, points)
        form = self._forms(chosen[..., None].expand(points.shape[:-1]), points, velocities)
        factors = torch.linalg.matrix_exp(magnus_exponent(-form, 1 / count))
        first = self._chart(corners[..., 0, :], chart1).name
        last = chart2 or (first if self._holds(first, corners[..., -1, :]) else None)
        last = self._chart(corners[..., -1, :], last).name
        changes = self._changes(first, chosen, last, corners)
        if changes is None:
            return ordered_product(factors)
        return ordered_product(changes[..., 1:, :, :] @ factors) @ changes[..., 0, :, :]

    def holonomy(
        self, loop: Path, chart: str | None = None, *, steps: int = 32, order: int = 4
    ) -> Tensor:
        """Transport once around, [*b, r, r], in the frame of a chart at the loop's start."""
        ends = loop.points(loop.times(1))
        gap = (ends[..., 0, :] - ends[..., 1, :]).detach().abs().max()
        if float(gap) > tolerance(ends):
            raise ArgumentError(
                "loop", f"ends {float(gap):.3g} apart", "gamma(0) = gamma(1)", "close the path"
            )
        name = self._chart(ends[..., 0, :], chart).name
        return self.transport(loop, name, name, steps=steps, order=order)

    def curvature(self, point: Float[Tensor, "*p N"], chart: str | None = None) -> Tensor:
        """F_ij = d_i A_j - d_j A_i + [A_i, A_j], [*p, n, n, r, r], in a chart's coordinates.

        From one chart to another F_b = g_ba F_a g_ba^(-1), besides the change of coordinates.
        """
        self.atlas.check(point, "point")
        held = self._chart(point, chart)
        return curvature_form(self.connections[held.name], held.coordinates(point))

    def bianchi(self, point: Float[Tensor, "*p N"], chart: str | None = None) -> Tensor:
        """dF + [A, F], [*p, n, n, n, r, r], which is zero."""
        self.atlas.check(point, "point")
        held = self._chart(point, chart)
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
            self._check_in_group("fiber", fiber.detach())

    def _identities(self, points: Tensor) -> Tensor:
        identity = self.group.identity(points)
        return identity.expand(*points.shape[:-1], *identity.shape)

    def _holds(self, name: str, points: Tensor) -> bool:
        with torch.no_grad():
            return bool((self.atlas.chart(name).margin(points.detach()) > 0).all())

    def _chart(self, points: Tensor, name: str | None) -> Chart:
        if name is None:
            return self.atlas.best(points)
        if not self._holds(name, points):
            raise ArgumentError(
                "chart",
                repr(name),
                "a chart that holds these points",
                f"pass {self.atlas.best(points).name!r}",
            )
        return self.atlas.chart(name)

    def _form(self, chart: Chart, points: Tensor, vectors: Tensor) -> Tensor:
        """A(v) of vectors [*p, N] in R^N."""
        x, velocity = slope_along(chart.coordinates, points, vectors)
        return along(self.connections[chart.name](x), velocity)

    def _forms(self, chosen: Tensor, points: Tensor, vectors: Tensor) -> Tensor:
        """A(v), [*p, r, r], each in the frame of the chart whose number is chosen [*p]."""
        rows = chosen.flatten()
        points, vectors = points.flatten(0, -2), vectors.reshape(-1, vectors.shape[-1])
        wanted = [(rows == i).nonzero()[:, 0] for i in range(len(self.atlas.charts))]
        parts = [
            self._form(chart, points[held], vectors[held])
            for chart, held in zip(self.atlas.charts, wanted, strict=True)
            if len(held)
        ]
        gathered = torch.cat(parts)[torch.cat(wanted).argsort()]
        return gathered.view(*chosen.shape, *gathered.shape[1:])

    def _charts_of_steps(self, corners: Tensor, nodes: Tensor) -> Tensor:
        """The chart [*b, k] with the widest margin over a step's ends and nodes."""
        ends = self.atlas.margins(corners)
        inside = self.atlas.margins(nodes).amin(-2)
        margins = torch.minimum(torch.minimum(ends[..., :-1, :], ends[..., 1:, :]), inside)
        widest, chosen = margins.max(-1)
        if bool((widest <= 0).any()):
            raise ArgumentError(
                "path",
                "a step that lies in no chart",
                "steps short enough for one chart each",
                "pass more steps",
            )
        return chosen

    def _changes(self, first: str, chosen: Tensor, last: str, corners: Tensor) -> Tensor | None:
        """Transitions [*b, k + 1, r, r] at the corners of steps; None if there are none."""
        names = [chart.name for chart in self.atlas.charts]
        ends = [torch.full_like(chosen[..., :1], names.index(name)) for name in (first, last)]
        before = torch.cat([ends[0], chosen], -1).flatten()
        after = torch.cat([chosen, ends[1]], -1).flatten()
        if bool((before == after).all()):
            return None
        points = corners.flatten(0, -2)
        pairs = (before * len(names) + after).unique().tolist()
        places, parts = [], []
        for one, other in (divmod(pair, len(names)) for pair in pairs):
            held = ((before == one) & (after == other)).nonzero()[:, 0]
            places.append(held)
            parts.append(self.transition_functions(names[one], names[other])(points[held]))
        gathered = torch.cat(parts)[torch.cat(places).argsort()]
        return gathered.view(*chosen.shape[:-1], -1, *gathered.shape[1:])

    def _check_in_group(self, name: str, elements: Tensor) -> None:
        defect = self.group.defect(elements)
        if elements.numel() and not bool(defect.max() <= tolerance(elements)):
            raise ArgumentError(
                name,
                f"matrices {float(defect.max()):.3g} away from {self.group}",
                f"elements of {self.group}",
                "pass elements of the group, or a larger group",
            )

    def _common(self, *names: str) -> Tensor:
        """The samples that all of these charts hold."""
        margins = torch.stack([self.atlas.chart(n).margin(self.atlas.samples) for n in names])
        return self.atlas.samples[margins.amin(0) > 0]

    def _check_transitions(self) -> None:
        names = [chart.name for chart in self.atlas.charts]
        for one, two in permutations(names, 2):
            points = self._common(one, two)
            if len(points):
                elements = self.transition_functions(one, two)(points)
                self._check_in_group(f"transitions[{one!r}, {two!r}]", elements)
        triples = [(a, b, a) for a, b in permutations(names, 2)]
        for a, b, c in [*triples, *permutations(names, 3)]:
            points = self._common(a, b, c)
            if not len(points):
                continue
            steps = [(a, b), (b, c), (c, a)]
            back = [self.transition_functions(one, two)(points) for one, two in steps]
            defect = (back[2] @ back[1] @ back[0] - self.group.identity(points)).abs().max()
            if not bool(defect <= tolerance(points)):
                raise ArgumentError(
                    "transitions",
                    f"charts {(a, b, c)} with a defect of {float(defect):.3g}",
                    "g_ac g_cb g_ba = 1 where charts meet",
                    "correct one of these transitions, or leave its inverse out",
                )

    def _check_connections(self) -> None:
        for chart in self.atlas.charts:
            self._check_algebra(chart)
        for one, two in permutations((chart.name for chart in self.atlas.charts), 2):
            points = self._common(one, two)
            if len(points):
                self._check_gauge(one, two, points)

    def _check_algebra(self, chart: Chart) -> None:
        x = chart.coordinates(self._common(chart.name))
        form = self.connections[chart.name](x)
        size = self.group.size
        if form.shape != (*x.shape, size, size):
            raise ArgumentError(
                f"connections[{chart.name!r}]",
                f"components of shape {list(form.shape)} at coordinates {list(x.shape)}",
                f"{[*x.shape, size, size]}",
                "return [*p, n, r, r], the form's index first",
            )
        defect = self.group.algebra_defect(form)
        if form.numel() and not bool(defect.max() <= tolerance(x) * form.abs().max().clamp(min=1)):
            raise ArgumentError(
                f"connections[{chart.name!r}]",
                f"matrices {float(defect.max()):.3g} away from the Lie algebra of {self.group}",
                "elements of the Lie algebra",
                "project them onto it, or use a larger group",
            )

    def _check_gauge(self, one: str, two: str, points: Tensor) -> None:
        first, second = self.atlas.chart(one), self.atlas.chart(two)
        x = first.coordinates(points)

        def gauge(x: Tensor) -> Tensor:
            return self.transition_functions(one, two)(first.point(x))

        expected = gauge_transformed(self.connections[one], gauge)(x)
        slopes = partials(lambda x: second.coordinates(first.point(x)), x)
        other = self.connections[two](second.coordinates(points))
        pulled = torch.einsum("...ij,...jkl->...ikl", slopes.to(other.dtype), other)
        scale = expected.abs().flatten(1).amax(1).clamp(min=1)
        defect = ((pulled - expected).abs().flatten(1).amax(1) / scale).max()
        if not bool(defect <= tolerance(points)):
            raise ArgumentError(
                "connections",
                f"charts {(one, two)} with a defect of {float(defect):.3g}",
                "A_b = g A_a g^(-1) - dg g^(-1) where charts meet",
                "correct one of these connections",
            )
