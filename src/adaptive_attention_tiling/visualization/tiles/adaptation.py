"""A text's tiles before and after they were adapted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...errors import ArgumentError
from ...tiling import Tiling
from ..picture import Picture, label, picture
from .bars import depth_of, fraction, resolution_bars, spans_of, tokens_named

_LEFT, _TOP, _WIDTH, _BARS, _GAP = 44.0, 82.0, 640.0, 84.0, 62.0
_STRIP = 14.0


def adaptation_picture(before: Tiling, after: Tiling, *, row: int = 0) -> Picture:
    """Two tilings of one text above each other, with mean resolution, loss and compute of each.

    Bars are as in `tiling_picture`. Between them lies a triangle along every run of tokens with one
    change of resolution: on its base where it rose, on its tip where it fell.

    Args:
        before, after: tilings of the same sequences.
        row: the sequence that is shown.
    """
    if before.tokens != after.tokens:
        raise ArgumentError(
            "after", f"{after.tokens} tokens", f"{before.tokens} as before", "tile the same text"
        )
    both = [spans_of(tiling, row) for tiling in (before, after)]
    depth = depth_of(span.resolution for spans in both for span in spans)
    tops = _TOP, _TOP + _BARS + _GAP + _STRIP
    parts = []
    for name, tiling, spans, top in zip(
        ("before", "after"), (before, after), both, tops, strict=True
    ):
        bars = resolution_bars(spans, depth, x=_LEFT, y=top, width=_WIDTH, height=_BARS)
        parts.append(label(_LEFT, top - 8, f"{name}: {_measures(tiling, len(spans), row)}") + bars)
    change = changes(before, after, row)
    raised = sum(one.stop - one.start for one in change if one.after > one.before)
    lowered = sum(one.stop - one.start for one in change if one.after < one.before)
    return picture(
        "".join(parts) + _triangles(change, before.tokens, tops[0] + _BARS + 20),
        title=f"Tiles before and after, {tokens_named(0, before.tokens)}",
        note=f"Resolution rose at {raised:,} tokens (triangles up) and fell at {lowered:,} "
        "(triangles down)",
        width=_LEFT + _WIDTH + 20,
        height=tops[1] + _BARS + 28,
    )


class Change(NamedTuple):
    """Tokens start <= t < stop whose resolution went from one value to another."""

    start: int
    stop: int
    before: float
    after: float


def changes(before: Tiling, after: Tiling, row: int) -> list[Change]:
    """The longest runs of tokens with one change of resolution; none where it stayed."""
    was, now = (tiling.token_resolution()[row].tolist() for tiling in (before, after))
    pairs = list(zip(was, now, strict=True))
    runs, start = [], 0
    for end in range(1, len(pairs) + 1):
        if end == len(pairs) or pairs[end] != pairs[start]:
            if pairs[start][0] != pairs[start][1]:
                runs.append(Change(start, end, *pairs[start]))
            start = end
    return runs


def _measures(tiling: Tiling, number: int, row: int) -> str:
    return (
        f"{number:,} tiles, mean resolution {float(tiling.mean_resolution[row]):.3f}, "
        f"loss {float(tiling.information_loss[row]):.4g}, "
        f"compute {float(tiling.compute_cost[row]):,.0f} rows"
    )


def _triangles(change: Sequence[Change], tokens: int, y: float) -> str:
    unit = _WIDTH / tokens
    marks = []
    for one in change:
        left, wide = _LEFT + one.start * unit, (one.stop - one.start) * unit
        up = one.after > one.before
        base, tip = (y + _STRIP, y) if up else (y, y + _STRIP)
        marks.append(
            f'<path class="{"near" if up else "far"}" d="M{left:.2f} {base:g}h{wide:.2f}'
            f'L{left + wide / 2:.2f} {tip:g}z"><title>{tokens_named(one.start, one.stop)}: '
            f"resolution {fraction(one.before)} before, {fraction(one.after)} after</title></path>"
        )
    return "".join(marks)
