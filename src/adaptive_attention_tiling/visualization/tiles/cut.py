"""What one block of queries reads of the text, and how."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...errors import ArgumentError
from ...ops.tiled_attention import TiledAttentionReport, TileLayout
from ..picture import Picture, label, picture
from ..shades import per_cent
from . import flow
from .bars import tokens_named

_LEFT, _TOP = 24.0, 56.0

_LATER, _DROPPED, _NODE, _TILE, _EXACT, _NEAR, _QUERY = range(7)
# How a token is read: the words for it, the style of its letters, the shade behind them, and the
# lines along them (how far down, how thick). No two look alike without the shades.
LOOKS = (
    ("not in view", "later", None, ()),
    ("not read", "gone", None, ()),
    ("through the mean of several tiles", "piece", 1, ((17.5, 1.0),)),
    ("through the mean of its tile", "piece", 3, ((17.5, 2.5),)),
    ("exactly, opened by the plan", "piece", 6, ((17.5, 5.0),)),
    ("exactly, as always", "piece", None, ((17.5, 1.5), (20.5, 1.5))),
    ("the queries themselves, exactly", "piece", 0, ((0.0, 1.5), (17.5, 1.5))),
)


def cut_picture(
    report: TiledAttentionReport,
    pieces: Sequence[str],
    *,
    layout: TileLayout,
    block: int = -1,
    head: int = 0,
    sequence: int = 0,
    is_causal: bool = True,
) -> Picture:
    """The text as one block of queries reads it: exactly, through a mean of tokens, or not.

    A tile's tokens need not be neighbours: where tiles are cells of key space, a title tells for
    each token which tile it is in. The note tells how many rows are read in place of how many
    tokens in view. What a certificate or a low tolerance opens for single queries is not shown.

    Args:
        report: of the call, from `tiled_attention(..., return_report=True)`.
        pieces: the text, a string for every token, at most 4,096.
        layout: that of the call.
        block: of queries, in order; -1 is the last.
        is_causal: as in the call.
    """
    tokens = report.error_bound.shape[2]
    _check(report, pieces, sequence=sequence, head=head)
    blocks = report.resolution.shape[2]
    if not -blocks <= block < blocks:
        raise ArgumentError("block", block, f"{-blocks} to {blocks - 1}", "choose one of the call")
    first = block % blocks * layout.super_block
    last = min(tokens, first + layout.super_block)
    ways, tiles, rows = _ways(report, layout, sequence, head, block, (first, last), is_causal)
    cells = flow.lay_out(pieces, x=_LEFT)
    found = [way for way in range(len(LOOKS)) if way in ways]
    text_top = _TOP + flow.LINE_HEIGHT * len(found) + 10
    body = _key(ways, found) + _text(cells, ways, tiles, text_top)
    return picture(
        body,
        title=f"What the queries at {tokens_named(first, last)} read, head {head}",
        note=_note(ways, rows),
        width=_LEFT + flow.WIDTH + 20,
        height=text_top + flow.height(cells) + 16,
    )


def _ways(
    report: TiledAttentionReport,
    layout: TileLayout,
    sequence: int,
    head: int,
    block: int,
    queries: tuple[int, int],
    is_causal: bool,
) -> tuple[list[int], list[int | None], list[float]]:
    """How each token is read, its tile's number, and the rows that are read for it."""
    tokens = report.error_bound.shape[2]
    ways = torch.full((tokens,), _NEAR)
    if is_causal:
        ways[queries[1] :] = _LATER
    ways[queries[0] : queries[1]] = _QUERY
    tiles = torch.full((tokens,), -1)
    group = head * report.tiles.shape[1] // report.resolution.shape[1]
    positions = report.tiles[sequence, group].cpu()  # [M, L]
    tiles[positions.flatten()] = torch.arange(len(positions)).repeat_interleave(layout.tile)
    resolution = report.resolution[sequence, head, block].double().cpu()
    coarse = torch.full_like(resolution, _NODE, dtype=torch.long)
    coarse[resolution > 0.99 / layout.tile] = _TILE
    coarse[resolution == 1] = _EXACT
    coarse[resolution == 0] = _DROPPED
    far = ~resolution.isnan()
    members = positions[far]
    ways[members] = coarse[far][:, None].expand_as(members)
    ways[: layout.sinks] = torch.where(ways[: layout.sinks] == _QUERY, _QUERY, _NEAR)
    rows = torch.ones(tokens, dtype=torch.float64)
    rows[members] = resolution[far][:, None].expand_as(members).contiguous()
    rows[ways == _NEAR] = 1.0
    rows[ways == _LATER] = 0.0
    numbers = [None if tile < 0 else tile for tile in tiles.tolist()]
    return ways.tolist(), numbers, rows.tolist()


def _text(
    cells: Sequence[flow.Cell], ways: Sequence[int], tiles: Sequence[int | None], y: float
) -> str:
    parts = []
    for cell, way, tile in zip(cells, ways, tiles, strict=True):
        named = "" if tile is None or way in (_LATER, _NEAR, _QUERY) else f", tile {tile}"
        title = f"<title>token {cell.token:,}{named}: {LOOKS[way][0]}</title>"
        parts.append(f"<g>{title}{_drawn(cell, way, y)}</g>")
    return "".join(parts)


def _drawn(cell: flow.Cell, way: int, y: float) -> str:
    _, style, shade, lines = LOOKS[way]
    behind = "" if shade is None else flow.box(cell, y, style=f"k{shade}", top=1, height=16)
    along = [flow.box(cell, y, style="near", top=top, height=thick) for top, thick in lines]
    return behind + flow.word(cell, y, style=style) + "".join(along)


def _key(ways: Sequence[int], found: Sequence[int]) -> str:
    """A line for each way in use: how it looks, and how many tokens are read so."""
    lines = []
    for line, way in enumerate(found):
        y = _TOP + line * flow.LINE_HEIGHT
        count = sum(one == way for one in ways)
        lines.append(_drawn(flow.Cell(0, "token", 0, _LEFT, 34.0), way, y))
        lines.append(label(_LEFT + 46, y + 13, f"{LOOKS[way][0]}: {count:,} tokens"))
    return "".join(lines)


def _note(ways: Sequence[int], rows: Sequence[float]) -> str:
    seen = [way for way in ways if way != _LATER]
    read = sum(rows)
    far = [way for way in seen if way not in (_NEAR, _QUERY)]
    opened = f"{per_cent(far.count(_EXACT) / len(far))} of {len(far):,}" if far else "none"
    return f"{read:,.0f} rows for {len(seen):,} tokens in view; far tokens read exactly: {opened}"


def _check(
    report: TiledAttentionReport, pieces: Sequence[str], *, sequence: int, head: int
) -> None:
    batch, heads, tokens = report.error_bound.shape
    for name, number, end in (("sequence", sequence, batch), ("head", head, heads)):
        if not 0 <= number < end:
            raise ArgumentError(name, number, f"0 to {end - 1}", "choose one of the call")
    if len(pieces) != tokens:
        raise ArgumentError(
            "pieces", f"{len(pieces)} pieces", f"{tokens}, one a token", "pass the text"
        )
