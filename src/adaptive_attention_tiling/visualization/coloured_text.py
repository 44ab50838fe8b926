"""A text whose pieces carry one shade for each of several settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .shades import Shades

# The letter of a setting's classes: the token with class "a3 b5" has shade 3 in the first setting.
LETTERS = "abcdefgh"


def coloured_text(pieces: Sequence[str], values: Sequence[Sequence[float]], shades: Shades) -> str:
    """The pieces in order; `values[s][i]` is the number of piece i in setting s, nan for none.

    Neighbours that look alike in every setting share one element, which keeps the page small.
    """
    looks = [_look([row[i] for row in values], shades) for i in range(len(pieces))]
    spans, start = [], 0
    for end in range(1, len(pieces) + 1):
        if end == len(pieces) or looks[end] != looks[start]:
            text = escape("".join(pieces[start:end]))
            spans.append(f'<i class="{looks[start]}">{text}</i>')
            start = end
    return "".join(spans)


def _look(values: Sequence[float], shades: Shades) -> str:
    return " ".join(
        "near" if math.isnan(value) else f"{letter}{shades.shade(value)}"
        for letter, value in zip(LETTERS, values, strict=False)
    )
