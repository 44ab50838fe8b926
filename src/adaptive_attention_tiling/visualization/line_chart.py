"""A line chart as inline SVG: linear x in per cent, logarithmic y."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 20, 12, 44

# Drawn around (0, 0). Shape and dash tell the series apart without any colour.
_MARKERS = (
    '<circle r="4"/>',
    '<rect x="-3.6" y="-3.6" width="7.2" height="7.2"/>',
    '<path d="M0-5 5 4H-5Z"/>',
    '<path d="M0-5.4 5.4 0 0 5.4-5.4 0Z"/>',
)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: points are (fraction in [0, 1], positive value)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Axes:
    """Where data lies on the drawing."""

    right: float
    low: int
    high: int

    def x(self, fraction: float) -> float:
        return _LEFT + fraction / self.right * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def line_chart(series: Sequence[Series], *, title: str, x_label: str, y_label: str) -> str:
    """An `<svg>` element; points without a positive value have no place on it and are left out."""
    drawn = [[(x, y) for x, y in one.points if y > 0 and math.isfinite(y)] for one in series]
    axes = _axes([point for points in drawn for point in points])
    lines = [
        _line(number, one.name, points, axes)
        for number, (one, points) in enumerate(zip(series, drawn, strict=True))
    ]
    body = "".join([*_grid(axes), *_labels(x_label, y_label), *lines])
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{body}</svg>'
    )


def legend(names: Iterable[str]) -> str:
    """What marks each series, in the order in which `line_chart` takes them."""
    items = "".join(
        f'<li><svg class="key" viewBox="-16 -7 32 14" aria-hidden="true"><g class="s{number}">'
        f'<path class="line" d="M-16 0H16"/>{_MARKERS[number]}</g></svg>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def _axes(points: list[tuple[float, float]]) -> _Axes:
    values = [y for _, y in points] or [1.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    right = max([x for x, _ in points] or [1.0])
    return _Axes(right=_round_up(right), low=low, high=max(high, low + 1))


def _round_up(fraction: float) -> float:
    steps = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    return next((step for step in steps if fraction <= step + 1e-9), 1.0)


def _grid(axes: _Axes) -> Iterable[str]:
    bottom, end = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for quarter in range(5):
        fraction = axes.right * quarter / 4
        x = axes.x(fraction)
        yield f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>'
        number = f"{100 * fraction:.3g} %"
        yield f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{number}</text>'
    for power in range(axes.low, axes.high + 1):
        y = axes.y(10.0**power)
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{end}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_per_cent(power)}</text>'


def _per_cent(power: int) -> str:
    return f"{100 * 10.0**power:.10f}".rstrip("0").rstrip(".") + " %"


def _labels(x_label: str, y_label: str) -> Iterable[str]:
    x, y = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
    yield f'<text x="{x}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>'
    turned = f'transform="translate(11 {y}) rotate(-90)" text-anchor="middle"'
    yield f"<text {turned}>{escape(y_label)}</text>"


def _line(number: int, name: str, points: list[tuple[float, float]], axes: _Axes) -> str:
    places = [(axes.x(x), axes.y(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marks = "".join(
        f'<g transform="translate({px:.1f} {py:.1f})"><title>{escape(name)}: {100 * x:.1f} % read, '
        f"error {100 * y:.3g} %</title>{_MARKERS[number]}</g>"
        for (x, y), (px, py) in zip(points, places, strict=True)
    )
    return f'<g class="s{number}"><polyline class="line" points="{path}"/>{marks}</g>'
