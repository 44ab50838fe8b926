import re

import pytest

from adaptive_attention_tiling.visualization import Series
from adaptive_attention_tiling.visualization.line_chart import legend, line_chart


def chart(points, name="series"):
    series = [Series(name=name, points=points)]
    return line_chart(series, title="t", x_label="across", y_label="up")


def places(drawing):
    path = re.search(r'<polyline class="line" points="([^"]*)"', drawing)[1]
    return [tuple(float(x) for x in place.split(",")) for place in path.split()]


def test_golden_corners_of_the_axes():
    """x runs from 52 to 340 for 0 to 40 %; y from 206 up to 12 for 1 % to 100 %."""
    drawing = chart([(0.0, 1.0), (0.4, 0.01), (0.2, 0.1)])
    assert places(drawing) == [(52.0, 12.0), (340.0, 206.0), (196.0, 109.0)]
    for label in (">0 %<", ">20 %<", ">40 %<", ">1 %<", ">10 %<", ">100 %<", ">across<", ">up<"):
        assert label in drawing


def test_a_point_without_a_logarithm_is_left_out():
    drawing = chart([(0.0, 0.1), (1.0, 0.0), (0.5, float("nan"))])
    assert len(places(drawing)) == 1
    assert drawing.count("<title>") == 1


def test_nothing_to_draw_still_gives_axes():
    assert ">across<" in chart([])


@pytest.mark.parametrize("value", [1.0, 0.01, 0.003])
def test_a_flat_line_has_a_place(value):
    (_, y), _ = places(chart([(0.0, value), (0.1, value)]))
    assert 12 <= y <= 206


def test_series_differ_in_shape_and_dash_as_well_as_in_colour():
    names = ["a", "b", "c", "d", "e", "f"]
    shapes = re.findall(r'd="M-16 0H16"/>(<.*?/>)', legend(names))
    assert len(set(shapes)) == len(names)


def test_a_tip_tells_both_numbers_by_the_labels_of_the_axes():
    assert "<title>series: across 10.0 %, up 2.5 %</title>" in chart([(0.1, 0.025)])


def test_a_series_that_has_no_place_keeps_the_marks_of_the_others():
    series = [Series(name="gone", points=[(0.5, 0.0)]), Series(name="there", points=[(0.5, 0.1)])]
    drawing = line_chart(series, title="t", x_label="across", y_label="up")
    assert '<g class="s1">' in drawing
    assert "gone" not in drawing
