"""A line chart as inline SVG: a fraction across and a positive number on a logarithm up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from .axis import Axis, logarithmic_axis
from .plot import Plot, Series, key

_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 20, 12, 44


def line_chart(series: Sequence[Series], *, title: str, x_label: str, y_label: str) -> str:
    """An `<svg>` element; points without a positive value have no place on it and are left out.

    Args:
        series: points are (fraction in [0, 1], positive value), both shown in per cent.
        x_label, y_label: what they are, beside the axes and in the tip of each mark.
    """
    drawn = [
        Series(name=one.name, points=[(x, y) for x, y in one.points if y > 0 and math.isfinite(y)])
        for one in series
    ]
    plot = _plot([point for one in drawn for point in one.points], x_label, y_label)

    def tip(x: float, y: float) -> str:
        return f"{x_label} {100 * x:.1f} %, {y_label} {100 * y:.3g} %"

    lines = "".join(
        plot.line(number, one, tip=tip) for number, one in enumerate(drawn) if one.points
    )
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{plot.axes()}{lines}</svg>'
    )


def legend(names: Iterable[str]) -> str:
    """What marks each series, in the order in which `line_chart` takes them."""
    items = "".join(
        f'<li><svg class="key" viewBox="-16 -7 32 14" aria-hidden="true">{key(number)}</svg>'
        f"{escape(name)}</li>"
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def _plot(points: list[tuple[float, float]], x_label: str, y_label: str) -> Plot:
    right = _round_up(max([x for x, _ in points] or [1.0]))
    quarters = [(right * n / 4, f"{100 * right * n / 4:.3g} %") for n in range(5)]
    return Plot(
        x=Axis(low=0.0, high=right, ticks=quarters, label=x_label),
        y=logarithmic_axis([y for _, y in points] or [1.0], label=y_label, text=_per_cent),
        left=_LEFT,
        top=_TOP,
        width=_WIDTH - _LEFT - _RIGHT,
        height=_HEIGHT - _TOP - _BOTTOM,
    )


def _round_up(fraction: float) -> float:
    steps = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    return next((step for step in steps if fraction <= step + 1e-9), 1.0)


def _per_cent(power: int) -> str:
    return f"{100 * 10.0**power:.10f}".rstrip("0").rstrip(".") + " %"
