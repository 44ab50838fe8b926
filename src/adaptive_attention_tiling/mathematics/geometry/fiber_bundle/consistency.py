"""Whether the parts of a bundle go together: what is checked when one is built."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ....errors import ArgumentError
from .atlas import Chart, tolerance
from .connection import gauge_transformed, partials

if TYPE_CHECKING:
    from .bundle import FiberBundle


def check_transitions(bundle: FiberBundle) -> None:
    """Transitions are in the group and satisfy the cocycle condition g_ac g_cb g_ba = 1."""
    names = [chart.name for chart in bundle.atlas.charts]
    for one, two in permutations(names, 2):
        points = bundle.atlas.common(one, two)
        if len(points):
            elements = bundle.transition_functions(one, two)(points)
            bundle.group.check(f"transitions[{one!r}, {two!r}]", elements)
    for a, b, c in [*((a, b, a) for a, b in permutations(names, 2)), *permutations(names, 3)]:
        points = bundle.atlas.common(a, b, c)
        if not len(points):
            continue
        first, second, third = (
            bundle.transition_functions(one, two)(points) for one, two in ((a, b), (b, c), (c, a))
        )
        defect = (third @ second @ first - bundle.group.identity(points)).abs().max()
        if not bool(defect <= tolerance(points)):
            raise ArgumentError(
                "transitions",
                f"charts {(a, b, c)} with a defect of {float(defect):.3g}",
                "g_ac g_cb g_ba = 1 where charts meet",
                "correct one of these transitions, or leave its inverse out",
            )


def check_connections(bundle: FiberBundle) -> None:
    """Connections are in the Lie algebra and go along with transitions."""
    for chart in bundle.atlas.charts:
        _check_algebra(bundle, chart)
    for one, two in permutations((chart.name for chart in bundle.atlas.charts), 2):
        points = bundle.atlas.common(one, two)
        if len(points):
            _check_gauge(bundle, one, two, points)


def _check_algebra(bundle: FiberBundle, chart: Chart) -> None:
    name, size = f"connections[{chart.name!r}]", bundle.group.size
    x = chart.coordinates(bundle.atlas.common(chart.name))
    form = bundle.connections[chart.name](x)
    if form.shape != (*x.shape, size, size):
        raise ArgumentError(
            name,
            f"components of shape {list(form.shape)} at coordinates {list(x.shape)}",
            f"{[*x.shape, size, size]}",
            "return [*p, n, r, r], the form's index first",
        )
    defect = bundle.group.algebra_defect(form)
    if form.numel() and not bool(defect.max() <= tolerance(x) * form.abs().max().clamp(min=1)):
        raise ArgumentError(
            name,
            f"matrices {float(defect.max()):.3g} away from the Lie algebra of {bundle.group}",
            "elements of the Lie algebra",
            "project them onto it, or use a larger group",
        )


def _check_gauge(bundle: FiberBundle, one: str, two: str, points: Tensor) -> None:
    first, second = bundle.atlas.chart(one), bundle.atlas.chart(two)
    x = first.coordinates(points)

    def gauge(x: Tensor) -> Tensor:
        return bundle.transition_functions(one, two)(first.point(x))

    expected = gauge_transformed(bundle.connections[one], gauge)(x)
    slopes = partials(lambda x: second.coordinates(first.point(x)), x)
    other = bundle.connections[two](second.coordinates(points))
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
