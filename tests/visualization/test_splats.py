"""Pictures of splat fields: sound XML whose marks are where the numbers are."""

import math
import re
from xml.etree import ElementTree

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.splats import KINDS, SplatField
from adaptive_attention_tiling.visualization.shaded_grid import shaded_grid
from adaptive_attention_tiling.visualization.shades import Shades
from adaptive_attention_tiling.visualization.splats import (
    activation_picture,
    attention_picture,
    coverage_picture,
    field_picture,
)
from adaptive_attention_tiling.visualization.splats.activation import responsibilities
from adaptive_attention_tiling.visualization.splats.attention import implied_weights
from adaptive_attention_tiling.visualization.splats.coverage import histogram
from adaptive_attention_tiling.visualization.splats.field import principal_plane

HEADS, COUNT, WIDTH, TOKENS = 2, 6, 5, 40
SVG = "{http://www.w3.org/2000/svg}"


def make(kind="diagonal", *, dead=(), **options):
    field = SplatField.random(heads=HEADS, splats=COUNT, width=WIDTH, kind=kind, **options)
    for head, slot in dead:
        field.alive[head, slot] = False
    return field


def points(tokens=TOKENS):
    return torch.randn(HEADS, tokens, WIDTH)


def marks(picture, tag, style):
    root = ElementTree.fromstring(picture.svg)
    return [mark for mark in root.iter(f"{SVG}{tag}") if mark.get("class") == style]


def texts(picture):
    return [text.text for text in ElementTree.fromstring(picture.svg).iter(f"{SVG}text")]


DRAWERS = {
    "field": lambda field, x, **more: field_picture(field, x, **more),
    "activation": lambda field, x, **more: activation_picture(field, x, **more),
    "coverage": lambda field, x, **more: coverage_picture(field, x, **more),
    "attention": lambda field, x, **more: attention_picture(field, x, x + 1, **more),
}


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_sound_and_name_their_head(draw, kind):
    picture = draw(make(kind, dead=[(1, 2)]), points(), head=1)
    root = ElementTree.fromstring(picture.svg)
    assert root.tag == f"{SVG}svg"
    assert "head 1" in texts(picture)[0]
    assert "nan" not in picture.svg
    assert picture._repr_html_() == picture.svg


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
def test_every_colour_in_use_has_a_light_and_a_dark_value(draw):
    svg = draw(make(), points()).svg
    light, dark = svg.split("@media (prefers-color-scheme:dark)")
    dark = dark.split("}}")[0]
    for name in set(re.findall(r"var\(--(\w+)\)", svg)):
        first = re.search(rf"--{name}:(#\w{{6}})", light)
        second = re.search(rf"--{name}:(#\w{{6}})", dark)
        assert first, name
        assert second, name
        assert first[1] != second[1], name
    styles = set(re.findall(r'class="(\w+)"', svg)) - {"aat"}
    assert all(f".aat .{style}{{" in svg for style in styles), styles


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
def test_a_batch_axis_changes_nothing(draw):
    field, x = make(), points()
    assert draw(field, x).svg == draw(field, x[None]).svg


def test_golden_ellipses_of_a_plane():
    """Points spread along x, so the plane is x and y; Sigma = diag(9, 1) is 3 by 1 and upright."""
    x = torch.tensor([[[-4.0, 0.0], [4.0, 0.0], [0.0, 1.0], [0.0, -1.0]]])
    field = SplatField.diagonal(
        torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[3.0, 1.0]]]), torch.ones(1, 1)
    )
    (ellipse,) = marks(field_picture(field, x), "ellipse", "splat")
    place = [float(ellipse.get(name)) for name in ("cx", "cy", "rx", "ry")]
    assert place == pytest.approx([1.0, 0.5, 3.0, 1.0], rel=1e-5)
    turn = float(re.match(r"rotate\((\S+)", ellipse.get("transform"))[1])
    assert turn % 180 == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_one_ellipse_a_living_splat_with_the_axes_of_its_shadow(kind):
    field, x = make(kind, dead=[(0, 1), (0, 4)]), points()
    ellipses = marks(field_picture(field, x), "ellipse", "splat")
    assert len(ellipses) == COUNT - 2
    middle, plane, _ = principal_plane(x[0].double())
    splats = field.splats().detached()
    living = [slot for slot in range(COUNT) if slot not in (1, 4)]
    for ellipse, slot in zip(ellipses, living, strict=True):
        assert ellipse[0].text.startswith(f"splat {slot}: amplitude 1")
        shadow = plane.mT @ splats.covariance[0, slot].double() @ plane
        expected = torch.linalg.eigvalsh(shadow).sqrt().flip(0).tolist()
        assert [float(ellipse.get(r)) for r in ("rx", "ry")] == pytest.approx(expected, rel=1e-5)
        centre = ((splats.mean[0, slot].double() - middle) @ plane).tolist()
        assert [float(ellipse.get(c)) for c in ("cx", "cy")] == pytest.approx(centre, abs=1e-5)
        angle = math.radians(float(re.match(r"rotate\((\S+)", ellipse.get("transform"))[1]))
        along = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        assert (shadow @ along - expected[0] ** 2 * along).abs().max() < 1e-5 * expected[0] ** 2


def test_the_stronger_splat_is_the_more_opaque():
    amplitude = torch.tensor([[1.0, 0.1]])
    field = SplatField.scalar(torch.zeros(1, 2, 2), torch.ones(1, 2), amplitude)
    strong, weak = marks(field_picture(field, torch.randn(1, 9, 2)), "ellipse", "splat")
    for opacity in ("fill-opacity", "stroke-opacity"):
        assert float(strong.get(opacity)) > float(weak.get(opacity)) > 0


def test_every_token_is_a_dot_until_there_are_too_many():
    assert len(marks(field_picture(make(), points(50)), "circle", "token")) == 50
    many = field_picture(make(), points(5000))
    assert len(marks(many, "circle", "token")) == 1667
    assert "1,667 shown" in texts(many)[1]


@pytest.mark.parametrize("width", [1, 2])
def test_narrow_heads_and_single_tokens_have_a_picture(width):
    field = SplatField.random(heads=1, splats=3, width=width)
    for tokens in (1, 7):
        assert len(marks(field_picture(field, torch.randn(1, tokens, width)), "ellipse", "splat"))
        activation_picture(field, torch.randn(1, tokens, width))
        coverage_picture(field, torch.randn(1, tokens, width))
        attention_picture(field, *torch.randn(2, 1, tokens, width))


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
@pytest.mark.parametrize("background", [None, 1e-3])
def test_a_head_without_splats_has_a_picture(draw, background):
    field = make(dead=[(0, slot) for slot in range(COUNT)], background=background)
    if draw is DRAWERS["activation"] and background is None:
        with pytest.raises(ArgumentError, match="field: got"):
            draw(field, points())
        return
    picture = draw(field, points())
    ElementTree.fromstring(picture.svg)
    assert not marks(picture, "ellipse", "splat")


def test_responsibilities_sum_to_one_and_leave_empty_slots_out():
    field, x = make(dead=[(0, 1)]), points()
    shares, names = responsibilities(field, x[0].double(), 0)
    assert names == ["0", "2", "3", "4", "5", "rest"]
    assert torch.allclose(shares.sum(0), torch.ones(TOKENS).double())
    expected = field.log_features(x[None])[0, 0].detach().softmax(-1)
    assert torch.allclose(shares, expected[:, [0, 2, 3, 4, 5, 6]].T.double(), atol=1e-6)


def test_long_texts_and_large_fields_are_gathered():
    field = SplatField.random(heads=1, splats=200, width=3)
    picture = activation_picture(field, torch.randn(1, 1000, 3))
    note = " ".join(texts(picture)[1:3])
    assert "the 96 most active of 201" in note
    assert "the mean of 4 tokens" in note


def test_golden_grid_joins_equal_neighbours():
    values = torch.tensor([[1.0, 1.0, 0.001], [0.001, 0.001, 1.0]])
    grid = shaded_grid(values, Shades(0.01, 1.0), x=10, y=20, width=30, height=40)
    assert '<path class="k8" d="M0 0h2v1h-2zM2 1h1v1h-1z"/>' in grid
    assert '<path class="k0" d="M2 0h1v1h-1zM0 1h2v1h-2z"/>' in grid
    assert 'transform="translate(10 20) scale(10 20)"' in grid


def test_a_grid_shades_as_one_number_does():
    shades = Shades(0.01, 0.7)
    values = torch.rand(1, 200)
    grid = shaded_grid(values, shades, x=0, y=0, width=1, height=1)
    for column, value in enumerate(values[0].tolist()):
        (shade,) = [
            int(n)
            for n, path in re.findall(r'class="k(\d)" d="([^"]*)"', grid)
            for start, run in re.findall(r"M(\d+) 0h(\d+)", path)
            if int(start) <= column < int(start) + int(run)
        ]
        assert shade == shades.shade(value)


def test_coverage_counts_every_token_once_and_names_the_share():
    field = SplatField.scalar(torch.zeros(1, 1, 2), torch.ones(1, 1), torch.ones(1, 1))
    x = torch.tensor([[[0.5, 0.0], [0.0, 2.0], [3.0, 0.0], [100.0, 0.0]]])
    picture = coverage_picture(field, x, radius=2.0)
    assert texts(picture)[0] == "Coverage, head 0: 50 % of 4 tokens"
    counted = {
        style: sum(int(bar[0].text.split(": ")[1]) for bar in marks(picture, "rect", style))
        for style in ("near", "far")
    }
    assert counted == {"near": 2, "far": 2}


@pytest.mark.parametrize("far", [0.3, 1.2, 1.9, 3.0, 7.0, 100.0, math.inf])
def test_histograms_break_at_the_radius(far):
    distance = torch.linspace(0, 1, 101) * 2 if far == math.inf else torch.linspace(0, far, 101)
    distance = torch.where(distance > 1.9, torch.inf, distance) if far == math.inf else distance
    counts, end = histogram(distance, 1.0)
    assert counts.sum() == 101
    inside = round(32 / end)
    assert inside * end / 32 == pytest.approx(1.0)
    assert counts[:inside].sum() == (distance <= 1.0).sum()


@pytest.mark.parametrize("is_causal", [True, False])
def test_implied_weights_are_the_attention_of_the_field(is_causal):
    field, query, key = make(), points(), points()
    hidden = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1) if is_causal else None
    hidden = torch.zeros(TOKENS, TOKENS, dtype=torch.bool) if hidden is None else hidden
    weights = implied_weights(field, query[1].double(), key[1].double(), 1, hidden)
    reading = field.log_features(query[None])[0, 1].exp().double()
    writing = field.log_features(key[None])[0, 1].exp().double()
    expected = (reading @ writing.T).masked_fill(hidden, 0.0)
    expected = expected / expected.sum(-1, keepdim=True)
    assert torch.allclose(weights, expected.detach(), atol=1e-5)


def test_a_field_that_is_softmax_is_at_no_distance():
    """Queries at the centre of one wide splat read evenly, as softmax of zero queries does."""
    field = SplatField.scalar(torch.zeros(1, 1, 3), torch.full((1, 1), 60.0), torch.ones(1, 1))
    key = 0.01 * torch.randn(1, 20, 3)
    picture = attention_picture(field, torch.zeros_like(key), key)
    assert "total variation distance 0.000" in texts(picture)[1]


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_pictures_are_saved(tmp_path, suffix):
    path = field_picture(make(), points()).save(tmp_path / f"splats{suffix}")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<svg" if suffix == ".svg" else "<!doctype html>")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("head", lambda: field_picture(make(), points(), head=2)),
        ("head", lambda: coverage_picture(make(), points(), head=-1)),
        ("points", lambda: field_picture(make(), points()[0])),
        ("points", lambda: field_picture(make(), points()[..., :3])),
        ("points", lambda: coverage_picture(make(), points()[:, :0])),
        ("points", lambda: field_picture(make(), points() / 0)),
        ("points", lambda: activation_picture(make(), points().expand(3, -1, -1, -1))),
        ("radius", lambda: coverage_picture(make(), points(), radius=0.0)),
        ("query", lambda: attention_picture(make(), points(600), points(600))),
        ("key", lambda: attention_picture(make(), points(), points(39))),
        ("path", lambda: field_picture(make(), points()).save("splats.png")),
    ],
)
def test_what_is_refused_is_named(name, draw):
    with pytest.raises(ArgumentError, match=f"^{name}: got ") as caught:
        draw()
    assert caught.value.name == name
