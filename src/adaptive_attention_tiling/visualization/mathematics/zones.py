"""Brillouin zones: those of a plane by number, the first one of space from outside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.crystal import BrillouinZone
from ..picture import Picture, label, picture

_LEFT, _TOP, _SIDE = 20.0, 58.0, 400.0
_MIDDLE = _LEFT + _SIDE / 2, _TOP + _SIDE / 2
_MOST_ZONES = 8
_LEAST_AREA = 420.0  # of a piece that has room for its number

Point = tuple[float, float]
Polygon = list[Point]


def zones_picture(
    zone: BrillouinZone,
    *,
    count: int = 6,
    points: Mapping[str, Float[Tensor, " 2"]] | None = None,
    title: str = "Brillouin zones of the plane",
    note: str = "",
) -> Picture:
    """The first zones of a plane lattice, each in its shade, cut out by the lines half way to G.

    Args:
        zone: of a lattice in two dimensions.
        count: of zones, 1 to 8.
        points: wavevectors that are marked, by name.
    """
    _check_size(zone, 2)
    if not 1 <= count <= _MOST_ZONES:
        raise ArgumentError("count", count, f"1 to {_MOST_ZONES}", "draw fewer zones")
    pieces = [(number, piece) for number, piece in zone_pieces(zone, count) if number <= count]
    reach = max(math.hypot(x, y) for _, piece in pieces for x, y in piece)
    unit = _SIDE / 2 / reach
    drawn = "".join(_piece(number, piece, unit) for number, piece in pieces)
    marked = "".join(_mark(name, _on_page(k.tolist(), unit)) for name, k in (points or {}).items())
    foot = _TOP + _SIDE + 10
    step = 46.0
    swatches = "".join(
        f'<rect class="k{_shade(n)}" x="{_LEFT + (n - 1) * step:g}" y="{foot:g}" width="{step:g}" '
        f'height="12"/>' + label(_LEFT + (n - 0.5) * step, foot + 26, str(n), anchor="middle")
        for n in range(1, count + 1)
    )
    return picture(
        drawn + marked + swatches + label(_LEFT + count * step + 8, foot + 10, "zone"),
        title=title,
        note=note,
        width=_LEFT + _SIDE + 20,
        height=foot + 38,
    )


def zone_pieces(zone: BrillouinZone, count: int) -> list[tuple[int, Polygon]]:
    """Convex pieces of the plane around 0, each within one zone, with the number of the zone.

    Every wavevector of the first `count` zones is in one of them; the last zones are cut off far
    out. Crossing the line half way to one G changes the number by one, so no piece has lines
    inside.
    """
    basis = zone.reciprocal.detach().double()
    # No point is farther from the lattice than r, as the farthest corner is from 0. So a disc of
    # radius |k| around k holds (|k| / r - 1)^2 of its points or more, and n - 1 in zone n.
    far = float(zone.vertices().detach().norm(dim=-1).max()) * (math.sqrt(count) + 1)
    most = math.ceil(2 * far / float(torch.linalg.svdvals(basis).min()))
    steps = torch.arange(-most, most + 1, dtype=torch.float64)
    lattice = torch.cartesian_prod(steps, steps) @ basis
    size = lattice.norm(dim=-1)
    lattice = lattice[(size > 1e-9) & (size < 2 * far)]
    pieces: list[Polygon] = [[(-far, -far), (far, -far), (far, far), (-far, far)]]
    for normal in lattice.tolist():
        pieces = [part for piece in pieces for part in _cut(piece, normal) if len(part) > 2]
    centres = torch.tensor([_centre(piece) for piece in pieces], dtype=basis.dtype)
    numbers = zone.number(centres.to(zone.reciprocal)).tolist()
    return [(number, piece) for number, piece in zip(numbers, pieces, strict=True)]


def zone_wireframe_picture(
    zone: BrillouinZone,
    *,
    points: Mapping[str, Float[Tensor, " 3"]] | None = None,
    path: Sequence[str] = (),
    view: tuple[float, float] = (25.0, 18.0),
    title: str = "First Brillouin zone",
    note: str = "",
) -> Picture:
    """The first zone of a lattice in space, seen from afar; edges behind it are pale and dashed.

    Args:
        zone: of a lattice in three dimensions.
        points: wavevectors that are marked, by name.
        path: names of points that are joined in this order.
        view: angles in degrees, around the third axis and up from its plane.
    """
    _check_size(zone, 3)
    known = points or {}
    if not set(path) <= set(known):
        raise ArgumentError("path", list(path), f"names among {sorted(known)}", "add the points")
    frame = _frame(view).to(zone.reciprocal)
    corners = zone.vertices().detach()
    places = corners @ frame.mT
    unit = _SIDE / 2 / (1.12 * float(places[:, :2].norm(dim=-1).max()))

    def place(k: Tensor) -> Point:
        return _on_page((k.detach().to(frame) @ frame.mT).tolist(), unit)

    edges = zone_edges(zone, frame[2])
    lines = {
        style: "".join(
            "M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*place(corners[i]), *place(corners[j]))
            for i, j, seen in edges
            if seen is wanted
        )
        for style, wanted in (("behind", False), ("edge", True))
    }
    joined = " ".join("{:.1f},{:.1f}".format(*place(known[name])) for name in path)
    body = (
        f'<path class="behind" d="{lines["behind"]}"/><path class="edge" d="{lines["edge"]}"/>'
        + (f'<polyline class="path" points="{joined}"/>' if path else "")
        + "".join(_mark(name, place(k)) for name, k in known.items())
    )
    return picture(body, title=title, note=note, width=_LEFT + _SIDE + 20, height=_TOP + _SIDE + 12)


def zone_edges(zone: BrillouinZone, towards: Float[Tensor, " 3"]) -> list[tuple[int, int, bool]]:
    """Pairs of `zone.vertices()` that an edge joins, and whether it is seen from `towards`.

    Two corners that lie on two common faces have an edge; it is seen where one of the two looks
    at the viewer.
    """
    normals, corners = zone.normals.detach(), zone.vertices().detach()
    reach = normals.square().sum(-1) / 2
    on_face = ((corners @ normals.mT - reach) / reach).abs() <= 1e-5
    looks = normals @ towards.to(normals) > 1e-9 * normals.norm(dim=-1)
    edges = []
    for i, j in combinations(range(len(corners)), 2):
        shared = on_face[i] & on_face[j]
        if int(shared.sum()) == 2:
            edges.append((i, j, bool((shared & looks).any())))
    return edges


def _shade(number: int) -> int:
    """Neighbouring zones have shades that are told apart, whatever their numbers."""
    return (0, 5, 2, 7, 1, 6, 3, 8)[number - 1]


def _on_page(k: Sequence[float], unit: float) -> Point:
    return _MIDDLE[0] + unit * k[0], _MIDDLE[1] - unit * k[1]


def _piece(number: int, piece: Polygon, unit: float) -> str:
    places = [_on_page(k, unit) for k in piece]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = _centre(places)
    written = _area(places) > _LEAST_AREA and number > 1
    text = label(x, y + 4, str(number), anchor="middle", style="ink") if written else ""
    return (
        f'<g class="thread"><polygon class="k{_shade(number)}" points="{path}">'
        f"<title>zone {number}</title></polygon></g>{text}"
    )


def _mark(name: str, place: Point) -> str:
    """A dot and its name, on the side away from the middle."""
    (x, y), right = place, place[0] > _MIDDLE[0] + 1
    return f'<circle class="ink" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' + label(
        x + 6 if right else x - 6, y - 5, name, anchor="start" if right else "end", style="name"
    )


def _cut(piece: Polygon, normal: Sequence[float]) -> list[Polygon]:
    """The parts of a convex piece on both sides of k . G = |G|^2 / 2."""
    reach = (normal[0] ** 2 + normal[1] ** 2) / 2
    heights = [(x * normal[0] + y * normal[1]) / reach - 1 for x, y in piece]
    if all(h > -1e-9 for h in heights) or all(h < 1e-9 for h in heights):
        return [piece]
    parts: tuple[Polygon, Polygon] = ([], [])
    closed = [*zip(piece, heights, strict=True), (piece[0], heights[0])]
    for (here, h), (there, next_h) in pairwise(closed):
        if h > -1e-9:
            parts[0].append(here)
        if h < 1e-9:
            parts[1].append(here)
        if (h > 1e-9 and next_h < -1e-9) or (h < -1e-9 and next_h > 1e-9):
            share = h / (h - next_h)
            crossing = (
                here[0] + share * (there[0] - here[0]),
                here[1] + share * (there[1] - here[1]),
            )
            parts[0].append(crossing)
            parts[1].append(crossing)
    return list(parts)


def _centre(piece: Polygon) -> Point:
    """The mean of the corners, which lies inside a convex piece."""
    return sum(x for x, _ in piece) / len(piece), sum(y for _, y in piece) / len(piece)


def _area(piece: Polygon) -> float:
    closed = [*piece, piece[0]]
    return abs(sum(a * d - b * c for (a, b), (c, d) in pairwise(closed))) / 2


def _frame(view: tuple[float, float]) -> Tensor:
    """Rows: across the page, up the page, towards the viewer."""
    around, up = (math.radians(angle) for angle in view)
    towards = [math.cos(up) * math.cos(around), math.cos(up) * math.sin(around), math.sin(up)]
    across = [-math.sin(around), math.cos(around), 0.0]
    upwards = [-math.sin(up) * math.cos(around), -math.sin(up) * math.sin(around), math.cos(up)]
    return torch.tensor([across, upwards, towards], dtype=torch.float64)


def _check_size(zone: BrillouinZone, size: int) -> None:
    if len(zone.reciprocal) != size:
        raise ArgumentError(
            "zone", f"{len(zone.reciprocal)} dimensions", str(size), "take the other picture"
        )
