"""Lines, bands and marks between two axes, as SVG that tells series apart without any colour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ..errors import ArgumentError
from .axis import Axis
from .picture import LETTER

# Drawn around (0, 0). Shape and, in the style of the page, dash tell the series apart.
MARKERS = (
    '<circle r="4"/>',
    '<rect x="-3.6" y="-3.6" width="7.2" height="7.2"/>',
    '<path d="M0-5 5 4H-5Z"/>',
    '<path d="M0-5.4 5.4 0 0 5.4-5.4 0Z"/>',
    '<path d="M0 5-5-4H5Z"/>',
    '<path d="M-1.4-5h2.8v3.6h3.6v2.8h-3.6v3.6h-2.8v-3.6h-3.6v-2.8h3.6z"/>',
)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line through points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A rectangle of a drawing between two axes: `x` along its foot, `y` up its left side."""

    x: Axis
    y: Axis
    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def across(self, x: float) -> float:
        """Where x lies on the drawing."""
        return self.left + self.x.share(x) * self.width

    def up(self, y: float) -> float:
        """Where y lies on the drawing."""
        return self.bottom - self.y.share(y) * self.height

    def axes(self, *, foot: float = 36.0, side: float = 41.0) -> str:
        """Grid, numbers and labels; the labels `foot` below and `side` left of the rectangle."""
        return "".join([*self._across(), *self._up(), *self._labels(foot, side)])

    def line(
        self,
        number: int,
        series: Series,
        *,
        marks: int | None = None,
        tip: Callable[[float, float], str] | None = None,
    ) -> str:
        """The series as the numbered one of the picture, which says its dash, shape and colour.

        Args:
            number: 0 to 5.
            marks: how many of the points are marked, evenly in x; all of them if None.
            tip: what a mark tells of its point (x, y); "x, y" with both labels if None.

        Raises:
            ArgumentError: no points, or some that have no place between the axes.
        """
        tell = self._tip if tip is None else tip
        places = self._places(series)
        shown = range(len(places)) if marks is None else self._spread(places, marks, number)
        marked = "".join(
            f'<g transform="translate({places[n][0]:.1f} {places[n][1]:.1f})"><title>'
            f"{escape(series.name)}: {escape(tell(*series.points[n]))}</title>"
            f"{MARKERS[number]}</g>"
            for n in shown
        )
        return f'<g class="s{number}"><polyline class="line" points="{_path(places)}"/>{marked}</g>'

    def thin_line(self, series: Series, *, style: str = "thin") -> str:
        """The series as a line without marks, in a style of the picture."""
        return (
            f'<polyline class="{style}" points="{_path(self._places(series))}"><title>'
            f"{escape(series.name)}</title></polyline>"
        )

    def upright_band(self, low: float, high: float, *, name: str, style: str = "band") -> str:
        """A shaded stretch of x, from foot to top."""
        left, right = self.across(low), self.across(high)
        return _rectangle(left, self.top, right - left, self.height, name, style)

    def level_band(self, low: float, high: float, *, name: str, style: str = "band") -> str:
        """A shaded stretch of y, from side to side."""
        top, bottom = self.up(high), self.up(low)
        return _rectangle(self.left, top, self.width, bottom - top, name, style)

    def upright_mark(self, x: float) -> str:
        """A dashed line at x."""
        return f'<path class="mark" d="M{self.across(x):.1f} {self.top:g}V{self.bottom:g}"/>'

    def _across(self) -> Iterator[str]:
        for number, text in self.x.ticks:
            x = self.across(number)
            yield f'<path class="grid" d="M{x:.1f} {self.top:g}V{self.bottom:g}"/>'
            yield (
                f'<text x="{x:.1f}" y="{self.bottom + 15:g}" text-anchor="middle">'
                f"{escape(text)}</text>"
            )

    def _up(self) -> Iterator[str]:
        for number, text in self.y.ticks:
            y = self.up(number)
            yield f'<path class="grid" d="M{self.left:g} {y:.1f}H{self.right:g}"/>'
            yield (
                f'<text x="{self.left - 6:g}" y="{y + 4:.1f}" text-anchor="end">'
                f"{escape(text)}</text>"
            )

    def _labels(self, foot: float, side: float) -> Iterator[str]:
        x, y = self.left + self.width / 2, self.top + self.height / 2
        if self.x.label:
            yield (
                f'<text x="{x:g}" y="{self.bottom + foot:g}" text-anchor="middle">'
                f"{escape(self.x.label)}</text>"
            )
        if self.y.label:
            turned = f'transform="translate({self.left - side:g} {y:g}) rotate(-90)"'
            yield f'<text {turned} text-anchor="middle">{escape(self.y.label)}</text>'

    def _places(self, series: Series) -> list[tuple[float, float]]:
        if not series.points:
            raise ArgumentError("points", "none", "a point at least", f"leave {series.name!r} out")
        places = [(self.across(x), self.up(y)) for x, y in series.points]
        for (x, y), point in zip(places, series.points, strict=True):
            inside = self.left - 0.1 <= x <= self.right + 0.1
            if not (inside and self.top - 0.1 <= y <= self.bottom + 0.1):
                raise ArgumentError(
                    "points", f"{point} of {series.name!r}", "points between the axes",
                    "make the axes of all the numbers",
                )  # fmt: skip
        return places

    def _spread(self, places: list[tuple[float, float]], marks: int, number: int) -> list[int]:
        """The points nearest to even distances across, other ones for each series."""
        offset = (number + 0.5) / len(MARKERS)
        wanted = [self.left + self.width * (n + offset) / marks for n in range(marks)]
        nearest = {min(range(len(places)), key=lambda n: abs(places[n][0] - x)) for x in wanted}
        return sorted(nearest)

    def _tip(self, x: float, y: float) -> str:
        return f"{self.x.label} {x:.4g}, {self.y.label} {y:.4g}"


def key(number: int) -> str:
    """What marks a numbered series, 32 wide around (0, 0)."""
    return f'<g class="s{number}"><path class="line" d="M-16 0H16"/>{MARKERS[number]}</g>'


def plot_legend(names: Sequence[str], *, x: float, y: float, width: float) -> tuple[str, float]:
    """Keys and names in rows from the line `y` on, and how high these are together."""
    if len(names) > len(MARKERS):
        raise ArgumentError("series", len(names), f"at most {len(MARKERS)}", "draw two pictures")
    parts, at, row = [], x, 0
    for number, name in enumerate(names):
        wide = 52 + LETTER * len(name)
        if at > x and at + wide > x + width:
            at, row = x, row + 1
        middle = y + 18 * row
        parts.append(
            f'<g transform="translate({at + 16:.1f} {middle:g})">{key(number)}</g>'
            f'<text x="{at + 38:.1f}" y="{middle + 4:g}">{escape(name)}</text>'
        )
        at += wide
    return "".join(parts), 18.0 * (row + 1)


def _path(places: Iterable[tuple[float, float]]) -> str:
    """Places to a tenth; those that a straight or standing line passes anyway are left out."""
    kept: list[str] = []
    for x, y in places:
        place = f"{x:.1f},{y:.1f}"
        if not kept or place != kept[-1]:
            kept.append(place)
    return " ".join(kept)


def _rectangle(x: float, y: float, width: float, height: float, name: str, style: str) -> str:
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}"><title>{escape(name)}</title></rect>'
    )
