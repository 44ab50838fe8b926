"""The resolution of tiles along a text as bars, one a tile, of logarithmic height."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from ...errors import ArgumentError
from ...tiling import Tiling
from ..picture import label


class Span(NamedTuple):
    """Tokens start <= t < stop of one tile, at one resolution."""

    start: int
    stop: int
    resolution: float


def spans_of(tiling: Tiling, row: int) -> list[Span]:
    """The tiles of one sequence."""
    if not 0 <= row < len(tiling.start):
        raise ArgumentError(
            "row", row, f"a sequence, 0 to {len(tiling.start) - 1}", "choose one of the tiling"
        )
    columns = (tiling.start[row], tiling.length[row], tiling.resolution[row])
    return [
        Span(start, start + length, resolution)
        for start, length, resolution in zip(*(c.tolist() for c in columns), strict=True)
        if length
    ]


def depth_of(resolutions: Iterable[float]) -> int:
    """How many bars of height deep a picture must be: 1 + the halvings of the lowest resolution."""
    return 1 + math.ceil(-math.log2(min(resolutions)) - 1e-6)


def bar_share(resolution: float, depth: int) -> float:
    """The height of a bar, 1 at resolution 1 and 1 / depth less for every halving."""
    return 1 + math.log2(resolution) / depth


def fraction(resolution: float) -> str:
    """A resolution as a person reads it: "1", "1/4", "0.300"."""
    near = Fraction(resolution).limit_denominator(512)
    if abs(near - Fraction(resolution)) > 1e-6 * resolution or near.numerator != 1:
        return "1" if near == 1 else f"{resolution:.3g}"
    return "1" if near.denominator == 1 else f"1/{near.denominator}"


def tokens_named(start: int, stop: int) -> str:
    """ "token 7" or "tokens 7 to 12"."""
    return f"token {start:,}" if stop == start + 1 else f"tokens {start:,} to {stop - 1:,}"


def resolution_bars(
    spans: Sequence[Span], depth: int, *, x: float, y: float, width: float, height: float
) -> str:
    """Bars that stand on the line y + height, each as wide as its tile, with a scale beside."""
    first, last = spans[0].start, spans[-1].stop
    unit = width / (last - first)
    bars = "".join(
        f'<rect class="bar" x="{x + (span.start - first) * unit:.2f}" '
        f'y="{y + height * (1 - bar_share(span.resolution, depth)):.2f}" '
        f'width="{(span.stop - span.start) * unit:.2f}" '
        f'height="{height * bar_share(span.resolution, depth):.2f}">'
        f"<title>{tokens_named(span.start, span.stop)}: resolution {fraction(span.resolution)}"
        f"</title></rect>"
        for span in spans
    )
    ticks = "".join(
        label(x - 6, y + height * halvings / depth + 4, fraction(0.5**halvings), anchor="end")
        for halvings in range(depth)
    )
    frame = f'<rect class="frame" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>'
    ends = label(x, y + height + 15, f"token {first:,}") + label(
        x + width, y + height + 15, f"token {last - 1:,}", anchor="end"
    )
    return bars + frame + ticks + ends
