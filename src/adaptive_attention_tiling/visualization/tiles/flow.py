"""A text broken into lines of cells, one cell a token, that SVG can draw."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ...errors import ArgumentError

LINE_HEIGHT = 24.0
_COLUMNS = 100
_COLUMN = 6.7
_MOST_TOKENS = 4096
# What XML 1.0 does not allow in a document, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Cell:
    """One token's place: the left end of its box, its line's number, and the box's width."""

    token: int
    text: str
    line: int
    x: float
    width: float

    def top(self, y: float) -> float:
        """The box's upper edge, if the text begins at `y`."""
        return y + self.line * LINE_HEIGHT


WIDTH = _COLUMNS * _COLUMN


def lay_out(pieces: Sequence[str], *, x: float, first: int = 0) -> list[Cell]:
    """Cells for the pieces in reading order; a line break in the text breaks the line.

    Args:
        x: the left end of every line.
        first: the number of the first piece's token.
    """
    if not pieces or len(pieces) > _MOST_TOKENS:
        raise ArgumentError(
            "pieces", f"{len(pieces)} pieces", f"1 to {_MOST_TOKENS:,}", "show a part with `span`"
        )
    cells, line, column = [], 0, 0
    for token, piece in enumerate(pieces, first):
        text = visible(piece)
        columns = min(max(1, sum(_columns(letter) for letter in text)), _COLUMNS)
        if column + columns > _COLUMNS:
            line, column = line + 1, 0
        cells.append(Cell(token, text, line, x + column * _COLUMN, columns * _COLUMN))
        column += columns
        if "\n" in piece:
            line, column = line + 1, 0
    return cells


def height(cells: Sequence[Cell]) -> float:
    """Of all lines together."""
    return (cells[-1].line + 1) * LINE_HEIGHT


def visible(piece: str) -> str:
    """The piece with signs in place of line breaks, tabs and what a document may not hold."""
    text = piece.replace("\r\n", "\n").replace("\n", "⏎").replace("\r", "⏎").replace("\t", "⇥")
    return _FORBIDDEN.sub("\ufffd", text)


def word(cell: Cell, y: float, *, style: str) -> str:
    """The token's letters, fitted to its box."""
    return (
        f'<text class="{style}" x="{cell.x:.1f}" y="{cell.top(y) + 13:.1f}" '
        f'textLength="{cell.width:.1f}" lengthAdjust="spacingAndGlyphs" xml:space="preserve">'
        f"{escape(cell.text)}</text>"
    )


def box(cell: Cell, y: float, *, style: str, top: float, height: float) -> str:
    """A rectangle as wide as the token's box, `top` below its upper edge."""
    return (
        f'<rect class="{style}" x="{cell.x:.1f}" y="{cell.top(y) + top:.1f}" '
        f'width="{cell.width:.1f}" height="{height:.1f}"/>'
    )


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
