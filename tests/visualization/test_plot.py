"""Axes whose numbers lie where they are written, and lines between them."""

import math
import re
from xml.etree import ElementTree

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.visualization.axis import (
    Axis,
    linear_axis,
    logarithmic_axis,
    number_text,
    power_text,
)
from adaptive_attention_tiling.visualization.plot import MARKERS, Plot, Series, plot_legend


def make(x=None, y=None):
    """x from 0 to 10 lies at 100 to 300, y from 0.01 to 100 at 150 up to 50."""
    return Plot(
        x=x or linear_axis([0, 10], label="x"),
        y=y or logarithmic_axis([0.01, 100], label="y"),
        left=100, top=50, width=200, height=100,
    )  # fmt: skip


def tree(drawing):
    return ElementTree.fromstring(f"<svg>{drawing}</svg>")


def places(drawing):
    path = tree(drawing).find(".//polyline").get("points")
    return [tuple(float(x) for x in place.split(",")) for place in path.split()]


@pytest.mark.parametrize(
    ("numbers", "ends", "ticks"),
    [
        ([0, 1], (0, 1), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([-3, 3], (-4, 4), ["−4", "−2", "0", "2", "4"]),
        ([0.013, 0.049], (0.01, 0.05), ["0.01", "0.02", "0.03", "0.04", "0.05"]),
        ([7, 7], (2, 12), ["2", "4", "6", "8", "10", "12"]),
        ([0], (-0.6, 0.6), ["−0.6", "−0.4", "−0.2", "0", "0.2", "0.4", "0.6"]),
        ([990, 2600], (500, 3000), ["500", "1000", "1500", "2000", "2500", "3000"]),
    ],
)
def test_golden_linear_axes(numbers, ends, ticks):
    axis = linear_axis(numbers)
    assert (axis.low, axis.high) == pytest.approx(ends)
    assert [text for _, text in axis.ticks] == ticks
    for number, text in axis.ticks:
        assert float(text.replace("−", "-")) == pytest.approx(number, abs=1e-12)


@pytest.mark.parametrize(
    ("numbers", "ends", "ticks"),
    [
        ([0.02, 3], (0.01, 10), ["10⁻²", "10⁻¹", "1", "10"]),
        ([1], (1, 10), ["1", "10"]),
        ([1e-14, 1], (1e-14, 1), ["10⁻¹⁴", "10⁻¹²", "10⁻¹⁰", "10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "1"]),
    ],
)
def test_golden_logarithmic_axes(numbers, ends, ticks):
    axis = logarithmic_axis(numbers)
    assert (axis.low, axis.high) == pytest.approx(ends)
    assert [text for _, text in axis.ticks] == ticks
    assert [power_text(round(math.log10(number))) for number, _ in axis.ticks] == ticks


def test_golden_shares():
    assert linear_axis([0, 10]).share(2.5) == 0.25
    assert logarithmic_axis([0.01, 100]).share(10) == pytest.approx(0.75)
    assert number_text(-0.5) == "−0.5"


@pytest.mark.parametrize("bad", [[], [math.nan], [0, math.inf]])
@pytest.mark.parametrize("make_axis", [linear_axis, logarithmic_axis])
def test_axes_of_nothing_or_of_no_numbers_are_refused(make_axis, bad):
    with pytest.raises(ArgumentError, match="points: got"):
        make_axis(bad)


def test_logarithms_take_positive_numbers_only():
    with pytest.raises(ArgumentError, match="points: got 0, expected positive"):
        logarithmic_axis([0, 1])
    with pytest.raises(ArgumentError, match="points: got -1, expected positive"):
        logarithmic_axis([1, 2]).share(-1)
    with pytest.raises(ArgumentError, match="axis: got"):
        Axis(low=0, high=1, logarithmic=True)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_axes_rise_between_finite_ends(ends):
    with pytest.raises(ArgumentError, match="axis: got"):
        Axis(low=ends[0], high=ends[1])


def test_golden_line_lies_where_the_numbers_are():
    drawing = make().line(2, Series(name="a", points=[(0, 0.01), (5, 1), (10, 100)]))
    assert places(drawing) == [(100.0, 150.0), (200.0, 100.0), (300.0, 50.0)]
    group = tree(drawing)[0]
    assert group.get("class") == "s2"
    assert [mark.get("transform") for mark in group.findall("g")] == [
        "translate(100.0 150.0)", "translate(200.0 100.0)", "translate(300.0 50.0)",
    ]  # fmt: skip
    assert [title.text for title in group.iter("title")] == [
        "a: x 0, y 0.01", "a: x 5, y 1", "a: x 10, y 100",
    ]  # fmt: skip


def test_ticks_lie_under_their_numbers():
    root = tree(make().axes())
    written = {text.text: (text.get("x"), text.get("y")) for text in root.iter("text")}
    assert written["0"] == ("100.0", "165")
    assert written["10"][1] in ("165", "79.0")
    assert written["10⁻²"] == ("94", "154.0")
    assert written["10²"] == ("94", "54.0")
    assert {"x", "y"} <= set(written)
    assert len(root.findall("path")) == 6 + 5


@pytest.mark.parametrize(("marks", "drawn"), [(0, 0), (1, 1), (3, 3), (200, 41)])
def test_marks_are_spread_and_each_point_has_one_at_most(marks, drawn):
    points = [(n / 4, 1.0) for n in range(41)]
    drawing = make().line(0, Series(name="a", points=points), marks=marks)
    found = [mark.get("transform") for mark in tree(drawing)[0].findall("g")]
    assert len(found) == len(set(found)) == drawn


def test_marks_of_lines_that_coincide_lie_apart():
    points = [(n / 4, 1.0) for n in range(41)]
    first, second = (
        set(re.findall("translate.*?\\)", make().line(n, Series(name="a", points=points), marks=4)))
        for n in (0, 1)
    )
    assert not first & second


def test_places_that_repeat_are_written_once():
    drawing = make().thin_line(Series(name="a", points=[(1, 1), (1.0001, 1), (2, 1)]))
    assert places(drawing) == [(120.0, 100.0), (140.0, 100.0)]


def test_bands_and_marks_lie_where_the_numbers_are():
    plot = make()
    rect = tree(plot.upright_band(2.5, 5, name="b < c"))[0]
    assert [rect.get(n) for n in ("x", "y", "width", "height")] == [
        "150.0",
        "50.0",
        "50.0",
        "100.0",
    ]
    assert rect[0].text == "b < c"
    rect = tree(plot.level_band(0.1, 10, name="b"))[0]
    assert [rect.get(n) for n in ("x", "y", "width", "height")] == [
        "100.0",
        "75.0",
        "200.0",
        "50.0",
    ]
    assert tree(plot.upright_mark(7.5))[0].get("d") == "M250.0 50V150"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "points: got none"),
        ([(1, math.nan)], "points: got nan"),
        ([(math.inf, 1)], "points: got inf"),
        ([(1, 0)], "points: got 0, expected positive"),
        ([(11, 1)], "expected points between the axes"),
        ([(1, 1000)], "expected points between the axes"),
    ],
)
def test_lines_that_have_no_place_are_refused(points, message):
    for draw in (lambda one: make().line(0, one), make().thin_line):
        with pytest.raises(ArgumentError, match=message):
            draw(Series(name="a", points=points))


def test_names_and_labels_stay_text():
    hostile = "<b>&\"'</b>"
    axis = Axis(low=0, high=1, ticks=[(0, hostile)], label=hostile)
    plot = make(axis, axis)
    drawing = plot.axes() + plot.line(0, Series(name=hostile, points=[(0, 0)]))
    drawing += (
        plot.thin_line(Series(name=hostile, points=[(0, 0)]))
        + plot_legend([hostile], x=0, y=0, width=9)[0]
    )
    root = tree(drawing)
    assert not list(root.iter("b"))
    assert sum(hostile in (text.text or "") for text in root.iter()) == 7


def test_series_differ_in_shape_and_the_legend_breaks_into_rows():
    assert len(set(MARKERS)) == len(MARKERS) == 6
    names = ["a long name of a series"] * 4
    drawing, high = plot_legend(names, x=10, y=100, width=420)
    texts = [(float(text.get("x")), float(text.get("y"))) for text in tree(drawing).iter("text")]
    assert [y for _, y in texts] == [104, 104, 122, 122]
    assert texts[0][0] == texts[2][0] < texts[1][0]
    assert high == 36
    with pytest.raises(ArgumentError, match="series: got 7"):
        plot_legend(["a"] * 7, x=0, y=0, width=99)
