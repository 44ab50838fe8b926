"""Pictures of mathematics: sound XML whose marks are where the numbers are."""

import math
import re
from xml.etree import ElementTree

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    BrillouinZone,
    body_centred_cubic,
    face_centred_cubic,
    hexagonal,
    orthogonal,
    simple_cubic,
)
from adaptive_attention_tiling.mathematics.dynamics import RotationalFlow, Singularity
from adaptive_attention_tiling.visualization.mathematics import (
    band_picture,
    energy_drift_picture,
    largest_errors,
    neck_radius,
    pattern_picture,
    ricci_flow_picture,
    zone_wireframe_picture,
    zones_picture,
)
from adaptive_attention_tiling.visualization.mathematics.ricci_flow import outline
from adaptive_attention_tiling.visualization.mathematics.zones import zone_edges, zone_pieces

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<b>&\"'</b>"


def root_of(picture):
    return ElementTree.fromstring(picture.svg)


def marks(picture, tag, style=None):
    found = root_of(picture).iter(f"{SVG}{tag}")
    return [mark for mark in found if style is None or mark.get("class") == style]


def texts(picture):
    return [text.text for text in marks(picture, "text")]


def places(mark):
    return [tuple(float(x) for x in place.split(",")) for place in mark.get("points").split()]


def double(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def drift(**more):
    times = torch.arange(41).double() / 4
    energies = {name: -0.5 + n * 1e-4 * times for n, name in enumerate(("level", HOSTILE))}
    return energy_drift_picture(times, energies, period=1.0, title=HOSTILE, note=HOSTILE, **more)


def pattern(**more):
    x = torch.arange(24).double() * 2 * math.pi / 24
    options = {"lengths": (1.0, 2.0), "unstable": (0.5, 1.5), "theory": 1.0} | more
    return pattern_picture(
        x.sin() * (x[:, None]).cos(), double(0, 1, 2), double(0, 4, 1), title=HOSTILE, note=HOSTILE,
        name=HOSTILE, **options,
    )  # fmt: skip


def bands(**more):
    k = torch.linspace(0, 2, 9).double()
    options = {
        "density": (torch.linspace(-1, 4, 12).double(), torch.linspace(0, 1, 12).double()),
        "free": torch.stack([k, 3 * k], -1),
        "gaps": [(0.2, 0.6)],
    } | more
    return band_picture(
        k, torch.stack([k.cos(), 2 + k.sin()], -1), [(0.0, "Γ"), (1.0, HOSTILE), (2.0, "X")],
        title=HOSTILE, note=HOSTILE, **options,
    )  # fmt: skip


def zones(**more):
    points = {HOSTILE: double(1.0, 0.5)}
    return zones_picture(
        BrillouinZone(hexagonal()), points=points, title=HOSTILE, note=HOSTILE, **more
    )


def wireframe(lattice=None, **more):
    points = {"Γ": double(0, 0, 0), HOSTILE: double(0, 2 * math.pi, 0)}
    zone = BrillouinZone(face_centred_cubic() if lattice is None else lattice)
    options = {"points": points, "path": ("Γ", HOSTILE)} | more
    return zone_wireframe_picture(zone, title=HOSTILE, note=HOSTILE, **options)


def dumbbell():
    """Two states, lengths 3 and 2, whose necks have radii 0.5 and 0.1."""
    radii = double(0, 1, 0.5, 1, 0), double(0, 0.9, 0.1, 0.9, 0)
    return RotationalFlow(double(0, 0.1), torch.stack(radii), double(5, 4), double(4, 100), True, 3)


def ricci(**more):
    singularity = Singularity(0.105, 0.5, "neck", double(2))
    options = {"times": double(0, 0.1), "singularity": singularity} | more
    return ricci_flow_picture(dumbbell(), title=HOSTILE, note=HOSTILE, **options)


DRAWERS = {
    "drift": drift, "pattern": pattern, "bands": bands, "zones": zones, "wireframe": wireframe,
    "ricci": ricci,
}  # fmt: skip


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
def test_pictures_are_sound_and_their_text_stays_text(draw):
    picture = draw()
    root = root_of(picture)
    assert root.get("role") == "img"
    assert (root[0].text, root[1].text) == (HOSTILE, HOSTILE)
    assert not list(root.iter(f"{SVG}b"))
    assert "nan" not in picture.svg
    assert "inf" not in picture.svg
    assert not re.search(r"<script|url\(|href|@import", picture.svg)


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
def test_every_style_in_use_has_a_light_and_a_dark_value(draw):
    svg = draw().svg
    light, dark = svg.split("@media (prefers-color-scheme:dark)")
    for colour in set(re.findall(r"var\(--(\w+)\)", svg)):
        both = [re.search(rf"--{colour}:(#\w{{6}})", part) for part in (light, dark.split("}}")[0])]
        assert all(both), colour
        assert both[0][1] != both[1][1], colour
    styles = set(re.findall(r'class="(\w+)"', svg)) - {"aat"}
    assert all(f".aat .{style}{{" in svg for style in styles), styles


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
def test_everything_drawn_lies_on_the_paper(draw):
    root = root_of(draw())
    wide, high = float(root.get("width")), float(root.get("height"))
    markers = {
        part for mark in root.iter(f"{SVG}g") if mark.get("transform") for part in mark.iter()
    }
    for mark in set(root.iter()) - markers:
        found = [(float(mark.get(x, 0)), float(mark.get(y, 0))) for x, y in (("x", "y"),)]
        if mark.tag in (f"{SVG}polyline", f"{SVG}polygon"):
            found = places(mark)
        if mark.tag == f"{SVG}rect":
            found.append((found[0][0] + float(mark.get("width")), found[0][1]))
            found.append((found[0][0], found[0][1] + float(mark.get("height"))))
        elif mark.tag == f"{SVG}circle" and mark.get("cx"):
            found = [(float(mark.get("cx")), float(mark.get("cy")))]
        assert all(0 <= x <= wide + 0.1 and 0 <= y <= high for x, y in found), mark.attrib


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
def test_lines_of_text_do_not_lie_on_each_other(draw):
    boxes = []
    for text in marks(draw(), "text"):
        if text.get("transform"):
            continue
        x, y, wide = float(text.get("x")), float(text.get("y")), 5.5 * len(text.text or "")
        left = x - {"middle": wide / 2, "end": wide}.get(text.get("text-anchor"), 0)
        boxes.append((left, y - 9, left + wide, y, text.text))
    for n, (left, top, right, foot, text) in enumerate(boxes):
        for l2, t2, r2, f2, other in boxes[:n]:
            assert right <= l2 or r2 <= left or foot <= t2 or f2 <= top, (text, other)


# Energies


def test_golden_largest_errors():
    """Periods of length 2 hold the times 0 to 2, 3 and 4, 5 and 6."""
    energies = double(-2, -2.2, -1.8, -2, -2.6, -2, -9)
    found = largest_errors(torch.arange(7).double(), energies, 2.0)
    assert found.tolist() == pytest.approx([0.1, 0.3, 3.5])
    assert len(largest_errors(torch.arange(5).double(), energies[:5], 2.0)) == 2
    assert len(largest_errors(torch.arange(6).double(), energies[:6], 2.0)) == 2


def test_a_line_for_each_integrator_at_its_errors():
    first, second = marks(drift(), "polyline", "line")
    assert len(places(second)) == 10
    assert {y for _, y in places(first)} == {max(y for _, y in places(first))}
    # Error 2e-4 p of period p, so a decade of 230 / 14 from the first to the tenth.
    assert places(second)[0][1] - places(second)[9][1] == pytest.approx(230 / 14, abs=0.11)
    assert places(first)[0][1] == 62 + 230


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"period": 0.0}, "period: got"),
        ({"period": 4.0}, "period: got"),
        ({"period": math.nan}, "period: got"),
        ({"energies": double(1, 2)}, "energies: got"),
        ({"energies": double(1, 1, math.nan, 1)}, "energies: got"),
        ({"energies": double(0, 1, 1, 1)}, "energies: got"),
    ],
)
def test_energies_that_have_no_errors_are_refused(change, message):
    options = {"times": double(0, 1, 2, 3), "energies": double(1, 1, 1, 1), "period": 1.0}
    with pytest.raises(ArgumentError, match=message):
        largest_errors(**{**options, **change})


def test_a_picture_without_energies_is_refused():
    with pytest.raises(ArgumentError, match="points: got none"):
        energy_drift_picture(double(0, 1, 2), {}, period=1.0)


# Patterns


def test_the_spectrum_is_drawn_with_its_band_and_its_theory():
    picture = pattern()
    (band,) = marks(picture, "rect", "band")
    left, wide = float(band.get("x")), float(band.get("width"))
    (line,) = marks(picture, "polyline", "line")
    (low, _), (peak, top), (high, right) = places(line)
    assert [left, left + wide] == pytest.approx([(low + peak) / 2, (peak + high) / 2], abs=0.2)
    (mark,) = marks(picture, "path", "mark")
    assert float(re.match("M([0-9.]+)", mark.get("d"))[1]) == peak
    foot = places(line)[0][1]
    assert (foot - top) / (foot - right) == pytest.approx(4, abs=0.02)


def test_the_box_keeps_its_shape():
    (frame,) = [mark for mark in marks(pattern(), "g") if "scale" in (mark.get("transform") or "")]
    scale = re.search(r"scale\(([0-9.]+) ([0-9.]+)\)", frame.get("transform"))
    assert float(scale[1]) == pytest.approx(2 * float(scale[2]), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"field": torch.zeros(3, 3)}, "field: got"),
        ({"field": torch.full((3, 3), math.nan)}, "field: got"),
        ({"field": torch.rand(3)}, "field: got"),
        ({"power": double(1, 1)}, "power: got"),
        ({"power": double(0, 0, 0)}, "power: got"),
        ({"power": double(0, math.nan, 1)}, "power: got"),
        ({"lengths": (0.0, 1.0)}, "lengths: got"),
        ({"most": -1.0}, "most: got"),
    ],
)
def test_patterns_that_cannot_be_drawn_are_refused(change, message):
    options = {
        "field": torch.rand(3, 3), "wavenumbers": double(0, 1, 2), "power": double(0, 1, 0),
        "lengths": (1.0, 1.0), "unstable": (0.5, 1.5), "theory": 1.0,
    }  # fmt: skip
    with pytest.raises(ArgumentError, match=message):
        pattern_picture(**{**options, **change})


# Zones


@pytest.mark.parametrize(
    ("lattice", "count"),
    [
        (hexagonal(), 6),
        (orthogonal(1.0, 1.0), 8),
        (orthogonal(1.0, 1.7), 5),
        (double([1, 0], [0.3, 1.2]), 4),
    ],
    ids=["hexagonal", "square", "rectangular", "oblique"],
)
def test_all_zones_have_the_area_of_the_first(lattice, count):
    zone = BrillouinZone(lattice)
    areas = [0.0] * (count + 1)
    for number, piece in zone_pieces(zone, count):
        if number <= count:
            closed = [*piece, piece[0]]
            areas[number] += (
                abs(sum(a * d - b * c for (a, b), (c, d) in zip(piece, closed[1:], strict=True)))
                / 2
            )
    assert areas[1:] == pytest.approx([float(zone.volume())] * count, rel=1e-9)


def test_pieces_hold_the_wavevectors_of_their_zone():
    zone = BrillouinZone(hexagonal())
    for number, piece in zone_pieces(zone, 4):
        if number <= 4:
            corners = torch.tensor(piece, dtype=torch.float64)
            middle = corners.mean(0)
            assert zone.number(0.9 * corners + 0.1 * middle).tolist() == [number] * len(piece)


def test_each_zone_has_its_shade_and_its_key():
    picture = zones(count=3)
    drawn = {title.text for title in marks(picture, "title")} - {HOSTILE}
    assert drawn == {"zone 1", "zone 2", "zone 3"}
    shades = {mark.get("class") for mark in marks(picture, "polygon") if mark[0].text == "zone 2"}
    assert len(shades) == 1
    assert texts(picture).count("2") == 6 + 1
    assert len(marks(picture, "circle", "ink")) == 1


@pytest.mark.parametrize("count", [0, 9])
def test_numbers_of_zones_that_cannot_be_shaded_are_refused(count):
    with pytest.raises(ArgumentError, match="count: got"):
        zones(count=count)


def test_zones_are_drawn_in_their_own_dimension():
    with pytest.raises(ArgumentError, match="zone: got 3 dimensions, expected 2"):
        zones_picture(BrillouinZone(simple_cubic()))
    with pytest.raises(ArgumentError, match="zone: got 2 dimensions, expected 3"):
        zone_wireframe_picture(BrillouinZone(hexagonal()))
    with pytest.raises(ArgumentError, match="path: got"):
        wireframe(path=("Γ", "Q"))


@pytest.mark.parametrize(
    ("lattice", "corners", "edges"),
    [
        (simple_cubic(), 8, 12),
        (face_centred_cubic(), 24, 36),
        (body_centred_cubic(), 14, 24),
        (hexagonal(1.0, 1.6), 12, 18),
    ],
    ids=["cube", "truncated octahedron", "rhombic dodecahedron", "hexagonal prism"],
)
def test_golden_edges_of_zones(lattice, corners, edges):
    """And Euler's relation: corners - edges + faces = 2."""
    zone = BrillouinZone(lattice)
    found = zone_edges(zone, double(0.3, 0.5, 0.8))
    assert len(zone.vertices()) == corners
    assert len(found) == edges == corners + zone.faces - 2


def test_the_three_edges_behind_a_cube_are_hidden():
    """They meet in the corner that is farthest from the viewer, in the direction (-1, -1, -1)."""
    zone = BrillouinZone(simple_cubic())
    corners = zone.vertices()
    hidden = [(i, j) for i, j, seen in zone_edges(zone, double(1, 1, 1)) if not seen]
    assert len(hidden) == 3
    far = int(corners.sum(-1).argmin())
    assert all(far in pair for pair in hidden)
    # Looked at along an axis, the faces at the sides look at nobody.
    assert sum(seen for *_, seen in zone_edges(zone, double(0, 0, 1))) == 4


def test_seen_and_hidden_edges_have_their_own_style():
    picture = wireframe(simple_cubic())
    (seen,), (hidden,) = (marks(picture, "path", style) for style in ("edge", "behind"))
    assert seen.get("d").count("M") == 9
    assert hidden.get("d").count("M") == 3
    assert len(places(marks(picture, "polyline", "path")[0])) == 2


# Bands


def test_bands_lie_at_their_energies():
    """The axis of energies runs from -1 to 3 over y from 332 up to 62."""
    picture = bands(density=None, gaps=[], free=None)
    first, second = marks(picture, "polyline", "curve")
    assert [title.text for title in (first[0], second[0])] == ["band 1", "band 2"]
    unit = (332 - 62) / 4
    assert places(first)[0] == pytest.approx((62, 332 - 2 * unit), abs=0.06)
    assert places(second)[-1] == pytest.approx((416, 332 - (3 + math.sin(2)) * unit), abs=0.06)
    assert {"Γ", HOSTILE, "X"} <= set(texts(picture))


def test_gaps_and_the_density_share_the_axis_of_energies():
    picture = bands()
    top = 62.0
    (gap,) = marks(picture, "rect", "gap")
    assert gap[0].text == "gap from 0.2 to 0.6"
    unit = 270 / 4
    assert float(gap.get("y")) == pytest.approx(top + (3 - 0.6) * unit, abs=0.06)
    assert float(gap.get("height")) == pytest.approx(0.4 * unit, abs=0.06)
    (area,) = marks(picture, "polygon", "area")
    # Of the energies from -1 to 4 those up to 3 are shown; the density rises with energy.
    assert min(y for _, y in places(area)) >= top
    assert max(y for _, y in places(area)) == pytest.approx(332)
    across = [x for x, _ in places(area)[:-2]]
    assert across == sorted(across)


def test_curves_are_cut_where_they_leave_the_axis():
    """Of energies 0, 4, 8, 4, 0 with an axis up to 6, two stretches are left that end at 6."""
    k = torch.arange(5).double()
    energies = double(0, 4, 8, 4, 0)[:, None]
    picture = band_picture(k, energies, [(0.0, "a"), (4.0, "b")], most=6.0)
    curves = [places(mark) for mark in marks(picture, "polyline", "curve")]
    side = 354 / 4
    assert [[x for x, _ in curve] for curve in curves] == [
        pytest.approx([62, 62 + side, 62 + 1.5 * side], abs=0.06),
        pytest.approx([62 + 2.5 * side, 62 + 3 * side, 62 + 4 * side], abs=0.06),
    ]
    assert curves[0][-1][1] == curves[1][0][1] == 62.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distance": double(0)}, "distance: got"),
        ({"distance": double(0, 2, 1)}, "distance: got"),
        ({"distance": double(0, 1, math.nan)}, "distance: got"),
        ({"energies": torch.ones(2, 2)}, "energies: got"),
        ({"energies": torch.ones(3, 0)}, "energies: got"),
        ({"energies": torch.full((3, 1), math.nan)}, "energies: got"),
        ({"most": 0.5}, "most: got"),
        ({"corners": [(-1.0, "a")]}, "corners: got"),
        ({"density": (double(1, 2), double(1))}, "density: got"),
        ({"density": (double(1, 2), double(1, -1))}, "density: got"),
        ({"density": (double(8, 9), double(1, 1))}, "density: got"),
        ({"density": (double(1, 2), double(0, 0))}, "density: got"),
    ],
)
def test_bands_that_cannot_be_drawn_are_refused(change, message):
    options = {
        "distance": double(0, 1, 2), "energies": torch.ones(3, 2).double(), "corners": [],
    }  # fmt: skip
    with pytest.raises(ArgumentError, match=message):
        band_picture(**{**options, **change})


# Ricci flow


def test_golden_outline_of_a_sphere():
    s = torch.linspace(0, math.pi, 400).double()
    across, radii = outline(s.sin(), math.pi)
    assert float(across[-1]) == pytest.approx(2, abs=1e-3)
    assert (across - (1 - s.cos())).abs().max() < 1e-3
    assert torch.equal(radii, s.sin())


def test_golden_neck_radius():
    assert neck_radius(dumbbell().radii).tolist() == [0.5, 0.1]
    assert float(neck_radius(double(0, 0.5, 0.8, 1, 0.8, 0.5, 0))) == 1.0
    lopsided = double(0, 2, 0.3, 0.6, 0.7, 1, 0)
    assert float(neck_radius(lopsided)) == 0.3


def test_outlines_are_of_one_scale_with_their_times():
    picture = ricci()
    shapes = marks(picture, "polygon", "area")
    assert [shape[0].text for shape in shapes] == ["t = 0.0000", "t = 0.1000"]
    high = [max(y for _, y in places(s)) - min(y for _, y in places(s)) for s in shapes]
    assert high[1] / high[0] == pytest.approx(0.9, abs=0.01)
    assert min(y for _, y in places(shapes[1])) > max(y for _, y in places(shapes[0]))


def test_the_law_of_the_neck_ends_at_the_pinch():
    """T - t = 0.005 at last, so the law has (T - t) / C = 0.01 there, as the neck does."""
    picture = ricci()
    (law,) = marks(picture, "polyline", "free")
    (neck,) = marks(picture, "polyline", "line")
    (x, y), (end, foot) = places(law)
    last, height = places(neck)[-1]
    assert end > last
    on_law = foot + (last - end) / (x - end) * (y - foot)
    assert on_law == pytest.approx(height, abs=0.15)
    assert not marks(ricci(singularity=None), "polyline", "free")


@pytest.mark.parametrize("times", [double(), double(math.nan), torch.zeros(1, 1)])
def test_outlines_need_times(times):
    with pytest.raises(ArgumentError, match="times: got"):
        ricci(times=times)
