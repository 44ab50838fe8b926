"""A table of numbers with a shade behind each: layers down, heads across."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .shades import Shades, per_cent


def heat_map(values: Sequence[Sequence[float]], shades: Shades) -> str:
    """`values[layer][head]` as whole per cents; the exact number shows on hover."""
    heads = max((len(row) for row in values), default=0)
    head = "".join(f'<th scope="col">{number}</th>' for number in range(heads))
    rows = "".join(
        f'<tr><th scope="row">{layer}</th>'
        + "".join(_cell(layer, head, value, shades) for head, value in enumerate(row))
        + "</tr>"
        for layer, row in enumerate(values)
    )
    return (
        f'<table class="heat"><thead><tr><th scope="col">layer</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _cell(layer: int, head: int, value: float, shades: Shades) -> str:
    title = f"layer {layer}, head {head}: {per_cent(value)}"
    if math.isnan(value):
        return f'<td title="{title}">–</td>'
    return f'<td class="h{shades.shade(value)}" title="{title}">{100 * value:.0f}</td>'
