"""Bundles to start from: trivial, induced in R^N, tangent, Hopf, Möbius."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from ....errors import ArgumentError
from .atlas import Atlas, Chart, PointMap, circle_atlas, sphere_atlas
from .bundle import FiberBundle, Transition
from .connection import Connection, partials
from .structure_group import StructureGroup, charge_representation


def trivial_bundle(
    atlas: Atlas, group: StructureGroup, connection: Connection | None = None
) -> FiberBundle:
    """M x F over a manifold with one chart.

    Args:
        atlas: of one chart.
        group: acts on F.
        connection: A in that chart, x [*p, n] -> [*p, n, r, r]; None is A = 0.
    """
    if len(atlas.charts) != 1:
        raise ArgumentError(
            "atlas", f"{len(atlas.charts)} charts", "one", "pass transitions to FiberBundle"
        )
    found = flat_connection(group) if connection is None else connection
    return FiberBundle(atlas, group, {}, {atlas.charts[0].name: found})


def flat_connection(group: StructureGroup) -> Connection:
    """A = 0."""
    return lambda x: torch.zeros(
        *x.shape, group.size, group.size, dtype=group.dtype(x.dtype), device=x.device
    )


def induced_bundle(
    atlas: Atlas, group: StructureGroup, frames: Mapping[str, PointMap]
) -> FiberBundle:
    """The subbundle of M x C^k (or R^k) that frames span, with the projected connection.

        A_i = e^H d_i e,   g_ba = e_b^H e_a,   e^H e = 1

    Tangent bundles in R^N get their Levi-Civita connection in this way, and eigenvectors of a
    family of matrices their Berry connection.

    Args:
        atlas: the base M.
        group: O(r) or U(r), or a part of it.
        frames: chart -> e, coordinates [*p, n] -> [*p, k, r] with orthonormal columns.

    Simon, Holonomy, the quantum adiabatic theorem, and Berry's phase (1983).
    """

    def connection(frame: PointMap) -> Connection:
        def form(x: Tensor) -> Tensor:
            product = frame(x)[..., None, :, :].mH @ partials(frame, x)
            return (product - product.mH) / 2

        return form

    def transition(one: Chart, two: Chart) -> Transition:
        def change(points: Tensor) -> Tensor:
            last = frames[two.name](two.coordinates(points))
            return last.mH @ frames[one.name](one.coordinates(points))

        return change

    transitions = {(a.name, b.name): transition(a, b) for a, b in combinations(atlas.charts, 2)}
    return FiberBundle(
        atlas, group, transitions, {name: connection(frame) for name, frame in frames.items()}
    )


def tangent_bundle(atlas: Atlas) -> FiberBundle:
    """TM of a manifold in R^N with the Levi-Civita connection of the metric it has there.

    With the Jacobian J [N, n] of points and g = J^T J = L L^T, vectors are told in the orthonormal
    frame e = J L^(-T), so that the group is O(n) and transport keeps lengths.

    do Carmo, Riemannian Geometry (1992), exercise 2.3: the projection of the flat derivative.
    """

    def frame(chart: Chart) -> PointMap:
        return lambda x: orthonormal_frame(chart, x)

    return induced_bundle(
        atlas,
        StructureGroup(atlas.dimension, isometric=True),
        {chart.name: frame(chart) for chart in atlas.charts},
    )


def orthonormal_frame(chart: Chart, x: Tensor) -> Tensor:
    """e = J L^(-T), [*p, N, n], the columns of J made orthonormal from the first to the last."""
    rows = partials(chart.point, x)  # J^T
    lower = torch.linalg.cholesky(rows @ rows.mT)
    frame: Tensor = torch.linalg.solve_triangular(lower, rows, upper=False).mT
    return frame


def monopole_bundle(charge: int, dtype: torch.dtype = torch.float64) -> FiberBundle:
    """The U(1) bundle over S^2 of first Chern number m; the Hopf bundle is that of m = -1.

    In spherical coordinates, with z the third axis,

        A_north = -i m (1 - cos theta) dphi / 2,   A_south = +i m (1 + cos theta) dphi / 2
        g_south,north = exp(-i m phi),             F = -i m sin(theta) dtheta ^ dphi / 2

    and c_1 = (i / 2 pi) integral of F = m, which is also how often g_north,south turns along the
    equator. Built from the bundle with m = 1 by the representation z -> z^m.

    Nakahara, Geometry, Topology and Physics (2003), section 10.5.2, where A is anti-Hermitian too.
    """
    unit = FiberBundle(
        sphere_atlas(2, dtype),
        StructureGroup(1, isometric=True, is_complex=True),
        {("north", "south"): _one_turn_back},
        {"north": _half_monopole, "south": _half_monopole},
    )
    return unit.associated(charge_representation(charge))


def hopf_bundle(dtype: torch.dtype = torch.float64) -> FiberBundle:
    """The principal U(1) bundle S^3 -> S^2 of lines in C^2, with the connection of S^3.

    The point u = tan(theta / 2) exp(i phi) of the north chart is the line through (1, u), the point
    w = 1 / u of the south chart the one through (w, 1). Its first Chern number is -1.
    """

    def north(x: Tensor) -> Tensor:
        u = torch.complex(x[..., 0], x[..., 1])
        return _unit_column(torch.ones_like(u), u)

    def south(x: Tensor) -> Tensor:
        w = torch.complex(x[..., 0], x[..., 1])
        return _unit_column(w, torch.ones_like(w))

    group = StructureGroup(1, isometric=True, is_complex=True)
    frames = {"north": north, "south": south}
    return induced_bundle(sphere_atlas(2, dtype), group, frames).frames()


def flat_circle_bundle(group: StructureGroup, holonomy: Tensor) -> FiberBundle:
    """A bundle over the circle with A = 0 that is glued with a turn.

    Args:
        group: G.
        holonomy: [r, r], in G: transport once around counterclockwise, in the frame of "east".

    Bundles with A = 0 in every chart are told apart by such matrices, up to conjugation: Kobayashi
    and Nomizu I (1963), section II.9.
    """

    def change(points: Tensor) -> Tensor:
        upper = (points[..., 1] >= 0)[..., None, None]
        turned = torch.linalg.inv(holonomy)
        return torch.where(upper, group.identity(points), turned)

    flat = flat_connection(group)
    atlas = circle_atlas(holonomy.real.dtype)
    return FiberBundle(atlas, group, {("east", "west"): change}, {"east": flat, "west": flat})


def mobius_bundle(dtype: torch.dtype = torch.float64) -> FiberBundle:
    """The Möbius band, a line bundle over the circle: once around is -1."""
    group = StructureGroup(1, isometric=True)
    return flat_circle_bundle(group, -torch.ones(1, 1, dtype=dtype))


def _half_monopole(x: Tensor) -> Tensor:
    """-i (x_1 dx_2 - x_2 dx_1) / (1 + |x|^2), which both charts of m = 1 share."""
    turned = torch.stack([-x[..., 1], x[..., 0]], -1)
    form = turned / (1 + x.square().sum(-1, keepdim=True))
    return torch.complex(torch.zeros_like(form), -form)[..., None, None]


def _one_turn_back(points: Tensor) -> Tensor:
    """exp(-i phi)."""
    x, y = points[..., 0], points[..., 1]
    return (torch.complex(x, -y) / torch.hypot(x, y))[..., None, None]


def _unit_column(first: Tensor, second: Tensor) -> Tensor:
    column = torch.stack([first, second], -1)
    norm = (column * column.conj()).real.sum(-1, keepdim=True).sqrt()
    return (column / norm)[..., None]
