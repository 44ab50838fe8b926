"""Time against length, both logarithmic, as one SVG file with a panel for each pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

# Of time in ms by length in tokens.
Lines = Mapping[str, Mapping[int, float]]

_WIDTH, _HEIGHT = 460, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 30, 46
_COLOURS = ("#444444", "#b3541e", "#1b6ca8", "#2e8b57", "#7a4fa3", "#a8891b")
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2", "4 4")
_LEGEND_LINE = 18


def time_plot(panels: Mapping[str, Lines]) -> str:
    """A whole SVG document; a panel without points is left out."""
    drawn = {title: lines for title, lines in panels.items() if any(lines.values())}
    names = list(dict.fromkeys(name for lines in drawn.values() for name in lines))
    height = _HEIGHT + _LEGEND_LINE * (len(names) + 1)
    body = "".join(
        f'<g transform="translate({place * _WIDTH} 0)">{_panel(title, lines, names)}</g>'
        for place, (title, lines) in enumerate(drawn.items())
    )
    width = _WIDTH * max(1, len(drawn))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{body}{_legend(names)}</svg>\n'
    )


def _panel(title: str, lines: Lines, names: Sequence[str]) -> str:
    points = [(t, ms) for line in lines.values() for t, ms in line.items() if ms > 0]
    x = _Axis(points_of(points, 0), _LEFT, _WIDTH - _RIGHT, base=2)
    y = _Axis(points_of(points, 1), _HEIGHT - _BOTTOM, _TOP, base=10)
    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    for tick in x.ticks():
        place = x.place(tick)
        parts.append(_rule(f"M{place:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"))
        parts.append(_label(place, _HEIGHT - _BOTTOM + 16, _tokens(tick), "middle"))
    for tick in y.ticks():
        place = y.place(tick)
        parts.append(_rule(f"M{_LEFT} {place:.1f}H{_WIDTH - _RIGHT}"))
        parts.append(_label(_LEFT - 6, place + 4, f"{tick:g}", "end"))
    parts.append(_label((_LEFT + _WIDTH) / 2, _HEIGHT - 10, "tokens", "middle"))
    middle = _HEIGHT / 2
    parts.append(
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
        "processor time, ms</text>"
    )
    for name, line in lines.items():
        parts.append(_line(names.index(name), sorted(line.items()), x, y))
    return "".join(parts)


def points_of(points: Sequence[tuple[float, float]], part: int) -> list[float]:
    return [point[part] for point in points]


class _Axis:
    """A logarithmic axis between whole powers of its base."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, base: int) -> None:
        self.base, self.start, self.end = base, start, end
        logs = [math.log(value, base) for value in values]
        self.low, self.high = math.floor(min(logs) + 1e-9), math.ceil(max(logs) - 1e-9)
        self.high = max(self.high, self.low + 1)

    def place(self, value: float) -> float:
        share = (math.log(value, self.base) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> Iterable[float]:
        return (float(self.base) ** power for power in range(self.low, self.high + 1))


def _line(number: int, points: Sequence[tuple[int, float]], x: _Axis, y: _Axis) -> str:
    places = [(x.place(t), y.place(ms)) for t, ms in points if ms > 0]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
    colour, dots = (
        _colour(number),
        "".join(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.6"/>' for px, py in places),
    )
    return f'<g fill="{colour}"><polyline points="{path}" {_stroke(number)}/>{dots}</g>'


def _legend(names: Sequence[str]) -> str:
    parts = []
    for number, name in enumerate(names):
        y = _HEIGHT + _LEGEND_LINE * (number + 0.5)
        parts.append(f'<path d="M{_LEFT} {y}h34" {_stroke(number)}/>')
        parts.append(_label(_LEFT + 42, y + 4, name, "start"))
    return "".join(parts)


def _stroke(number: int) -> str:
    dash = _DASHES[number % len(_DASHES)]
    return f'fill="none" stroke="{_colour(number)}" stroke-width="2" stroke-dasharray="{dash}"'


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _rule(path: str) -> str:
    return f'<path d="{path}" stroke="#dddddd" fill="none"/>'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _tokens(tick: float) -> str:
    return f"{tick / 1024:g}k" if tick >= 1024 else f"{tick:g}"
