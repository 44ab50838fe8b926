"""Density, tiles and their resolution along a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...tiling import Tiling
from ..picture import Picture, label, picture
from ..shaded_grid import shade_key
from ..shades import Shades, shades_for
from . import flow
from .bars import Span, bar_share, depth_of, fraction, resolution_bars, spans_of, tokens_named

_LEFT, _TOP, _BARS = 44.0, 60.0, 72.0
_INK = 5.0
# Shades span three orders of magnitude below the largest density.
_FAINTEST = 1e-3


def tiling_picture(
    tiling: Tiling,
    pieces: Sequence[str],
    density: Float[Tensor, "*n T"],
    *,
    row: int = 0,
    span: tuple[int, int] | None = None,
) -> Picture:
    """The text with a shade behind each token for its density, and the tiles it is cut into.

    Above, a bar for every tile of the part shown: as wide as its tokens, and lower by one step for
    every halving of its resolution. Below, the text: an upright line begins a tile, and the line
    under a token is as thick as its tile's bar is high.

    Args:
        pieces: the text, a string for every token.
        density: >= 0, shaded in per cent of the largest in the part shown; [T] or [n, T].
        row: the sequence that is shown.
        span: first token and the one after the last, at most 4,096; None shows all.
    """
    first, last = _checked_span(tiling, pieces, span)
    values = _row_of(density, row, tiling)[first:last]
    spans = [
        Span(max(one.start, first), min(one.stop, last), one.resolution)
        for one in spans_of(tiling, row)
        if one.start < last and one.stop > first
    ]
    share = (values / values.max().clamp(min=torch.finfo(values.dtype).tiny)).tolist()
    shades = shades_for(share, floor=_FAINTEST)
    depth = depth_of(one.resolution for one in spans)
    cells = flow.lay_out(pieces[first:last], x=_LEFT, first=first)
    text_top = _TOP + _BARS + 36
    foot = text_top + flow.height(cells)
    body = (
        resolution_bars(spans, depth, x=_LEFT, y=_TOP, width=flow.WIDTH, height=_BARS)
        + _text(cells, spans, share, shades, depth, text_top)
        + shade_key(shades, x=_LEFT, y=foot + 10, width=220)
        + label(_LEFT + 236, foot + 19, "density, of the largest shown")
    )
    mean = sum((one.stop - one.start) * one.resolution for one in spans) / (last - first)
    return picture(
        body,
        title=f"Density and tiles, {tokens_named(first, last)}",
        note=f"{len(spans)} tiles, mean resolution {mean:.3g}; an upright line begins a tile, "
        "a thicker line under the text is a finer resolution",
        width=_LEFT + flow.WIDTH + 20,
        height=foot + 48,
    )


def _text(
    cells: Sequence[flow.Cell],
    spans: Sequence[Span],
    share: Sequence[float],
    shades: Shades,
    depth: int,
    y: float,
) -> str:
    """Each tile's tokens as a group, so that one title names the tile."""
    begin, groups = cells[0].token, []
    for number, span in enumerate(spans):
        members = cells[span.start - begin : span.stop - begin]
        thick = _INK * bar_share(span.resolution, depth)
        marks = "".join(
            flow.box(cell, y, style=f"k{shades.shade(share[cell.token - begin])}", top=1, height=16)
            + flow.word(cell, y, style="piece")
            + flow.box(cell, y, style="near", top=17.5, height=thick)
            for cell in members
        )
        edge, top = members[0].x, members[0].top(y)
        border = f'<path class="border" d="M{edge:.1f} {top:.1f}v{flow.LINE_HEIGHT - 1:g}"/>'
        density = sum(share[cell.token - begin] for cell in members) / len(members)
        groups.append(
            f"<g><title>tile {number}, {tokens_named(span.start, span.stop)}: resolution "
            f"{fraction(span.resolution)}, mean density {100 * density:.3g} % of the largest"
            f"</title>{marks}{border}</g>"
        )
    return "".join(groups)


def _checked_span(
    tiling: Tiling, pieces: Sequence[str], span: tuple[int, int] | None
) -> tuple[int, int]:
    if len(pieces) != tiling.tokens:
        raise ArgumentError(
            "pieces", f"{len(pieces)} pieces", f"{tiling.tokens}, one a token", "pass the text"
        )
    first, last = (0, tiling.tokens) if span is None else span
    if not 0 <= first < last <= tiling.tokens:
        raise ArgumentError(
            "span", span, f"0 <= first < last <= {tiling.tokens}", "pass None for the whole text"
        )
    return first, last


def _row_of(density: Tensor, row: int, tiling: Tiling) -> Float[Tensor, " T"]:
    values = density.detach().double().cpu()
    values = values[row] if values.dim() == 2 and 0 <= row < len(values) else values
    if values.shape != (tiling.tokens,) or not bool((values.isfinite() & (values >= 0)).all()):
        raise ArgumentError(
            "density",
            f"shape {list(density.shape)}, or an entry that is negative or not finite",
            f"[T] or [n, T] with T = {tiling.tokens}, finite and >= 0",
            "pass the analyzer's density of these tokens",
        )
    return values
