"""Path-ordered exponentials: U' = -A(gamma') U, one step at a time and within the group."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ....errors import ArgumentError
from .connection import along, slope_along
from .path import Path

if TYPE_CHECKING:
    from .bundle import FiberBundle

ORDERS = (2, 4)


def gauss_nodes(order: int) -> list[float]:
    """Where in a step, as shares of it, the Magnus method of this order asks for generators."""
    if order not in ORDERS:
        raise ArgumentError("order", order, f"one of {list(ORDERS)}", "pass order=4")
    if order == 2:
        return [0.5]
    return [0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6]


def magnus_exponent(generators: Tensor, step: float | Tensor) -> Tensor:
    """Omega of Y(t + h) = exp(Omega) Y(t) for Y' = B(t) Y, up to O(h^3) or O(h^5).

        order 2: h B(1/2)
        order 4: h (B_1 + B_2) / 2 - sqrt(3) h^2 [B_1, B_2] / 12

    It is in the Lie algebra if B is, and changes its sign if time runs back: steps there and back
    are inverse to each other.

    Args:
        generators: B at the gauss_nodes of the order, [*k, nodes, r, r].
        step: h.

    Blanes, Casas, Oteo and Ros, The Magnus expansion and some of its applications (2009), section
    5, on integrators.
    """
    first = generators[..., 0, :, :]
    if generators.shape[-3] == 1:
        return step * first
    last = generators[..., 1, :, :]
    commutator = first @ last - last @ first
    return step / 2 * (first + last) - step**2 * math.sqrt(3) / 12 * commutator


def ordered_product(matrices: Tensor) -> Tensor:
    """M_(k-1) ... M_1 M_0 of matrices [*b, k, r, r], the first one rightmost; k is 1 or more.

    Neighbours are multiplied in pairs, so that there are log2(k) rounds.
    """
    while matrices.shape[-3] > 1:
        even = matrices.shape[-3] // 2 * 2
        pairs = matrices[..., 1:even:2, :, :] @ matrices[..., 0:even:2, :, :]
        matrices = torch.cat([pairs, matrices[..., even:, :, :]], -3)
    return matrices[..., 0, :, :]


def path_ordered(
    bundle: FiberBundle, path: Path, ends: tuple[str, str], steps: int, order: int
) -> Tensor:
    """The transport matrices [*b, r, r] of a bundle's connection along paths [*b].

    Each step is taken in the chart that holds it best, whatever the others of its batch do, and
    transitions stand between steps that are taken in different charts.

    Args:
        bundle: whose A it is.
        path: gamma.
        ends: the charts whose frames matrices are told in at the start and at the end.
        steps: for each smooth piece.
        order: 2 or 4.
    """
    count = steps * path.pieces
    shares = torch.tensor(gauss_nodes(order), dtype=path.dtype, device=path.device)
    times = path.times(count)
    corners = path.points(times)
    bundle.atlas.check(corners, "path")
    points, velocities = path.velocities((times[:-1, None] + shares / count).flatten())
    points = points.unflatten(-2, (count, len(shares)))
    chosen = _charts_of_steps(bundle, corners, points)
    form = _forms(bundle, chosen[..., None].expand(points.shape[:-1]), points, velocities)
    factors = torch.linalg.matrix_exp(magnus_exponent(-form, 1 / count))
    changes = _changes(bundle, ends, chosen, corners)
    if changes is None:
        return ordered_product(factors)
    moved: Tensor = changes[..., 1:, :, :] @ factors
    return ordered_product(moved) @ changes[..., 0, :, :]


def _charts_of_steps(bundle: FiberBundle, corners: Tensor, nodes: Tensor) -> Tensor:
    """The chart [*b, k] with the widest margin over a step's ends and nodes."""
    ends = bundle.atlas.margins(corners)
    inside = bundle.atlas.margins(nodes).amin(-2)
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


def _forms(bundle: FiberBundle, chosen: Tensor, points: Tensor, vectors: Tensor) -> Tensor:
    """A(v), [*p, r, r], each in the frame of the chart whose number is chosen [*p]."""
    rows = chosen.flatten()
    points, vectors = points.flatten(0, -2), vectors.flatten(0, -2)
    places, parts = [], []
    for index, chart in enumerate(bundle.atlas.charts):
        held = (rows == index).nonzero()[:, 0]
        if len(held):
            x, velocity = slope_along(chart.coordinates, points[held], vectors[held])
            places.append(held)
            parts.append(along(bundle.connections[chart.name](x), velocity))
    return _gathered(parts, places, chosen)


def _changes(
    bundle: FiberBundle, ends: tuple[str, str], chosen: Tensor, corners: Tensor
) -> Tensor | None:
    """Transitions [*b, k + 1, r, r] at the corners of steps; None if no step changes its chart."""
    names = [chart.name for chart in bundle.atlas.charts]
    outer = [torch.full_like(chosen[..., :1], names.index(name)) for name in ends]
    before = torch.cat([outer[0], chosen], -1)
    after = torch.cat([chosen, outer[1]], -1)
    if torch.equal(before, after):
        return None
    points = corners.flatten(0, -2)
    pairs = (before * len(names) + after).flatten()
    places, parts = [], []
    for pair in pairs.unique().tolist():
        one, two = divmod(pair, len(names))
        held = (pairs == pair).nonzero()[:, 0]
        places.append(held)
        parts.append(bundle.transition_functions(names[one], names[two])(points[held]))
    return _gathered(parts, places, before)


def _gathered(parts: list[Tensor], places: list[Tensor], like: Tensor) -> Tensor:
    """Rows of parts, back at the places they were taken from in a tensor of like's shape."""
    rows = torch.cat(parts)[torch.cat(places).argsort()]
    return rows.view(*like.shape, *rows.shape[1:])
