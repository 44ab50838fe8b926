"""A grid of numbers in nine shades, as SVG of one path a shade."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .picture import label
from .shades import Shades, per_cent

_COUNT = 9


def shaded_grid(
    values: Float[Tensor, "R C"], shades: Shades, *, x: float, y: float, width: float, height: float
) -> str:
    """Row 0 on top. Equal neighbours in a row share one stretch of the path of their shade."""
    rows, columns = values.shape
    stretches: list[list[str]] = [[] for _ in range(_COUNT)]
    for row, shade_row in enumerate(_shades_of(values, shades).tolist()):
        start = 0
        for column in range(1, columns + 1):
            if column == columns or shade_row[column] != shade_row[start]:
                stretch = f"M{start} {row}h{column - start}v1h{start - column}z"
                stretches[shade_row[start]].append(stretch)
                start = column
    paths = "".join(
        f'<path class="k{shade}" d="{"".join(parts)}"/>'
        for shade, parts in enumerate(stretches)
        if parts
    )
    scale = f"translate({x:g} {y:g}) scale({width / columns:.6g} {height / rows:.6g})"
    return (
        f'<g transform="{scale}" shape-rendering="crispEdges">{paths}'
        f'<rect class="frame" width="{columns}" height="{rows}"/></g>'
    )


def shade_key(
    shades: Shades,
    *,
    x: float,
    y: float,
    width: float,
    text: Callable[[float], str] = per_cent,
) -> str:
    """The shades side by side over the numbers at both ends and in the middle."""
    step = width / _COUNT
    swatches = "".join(
        f'<rect class="k{n}" x="{x + n * step:.1f}" y="{y:g}" width="{step:.2f}" height="10"/>'
        for n in range(_COUNT)
    )
    ends = ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    numbers = "".join(
        label(x + share * width, y + 24, text(shades.value(share)), anchor=anchor)
        for share, anchor in ends
    )
    return swatches + numbers


def _shades_of(values: Tensor, shades: Shades) -> Tensor:
    """`Shades.shade` of every number at once."""
    low = torch.tensor(shades.low, dtype=torch.float64)
    share = (values.double() - low) / (shades.high - low)
    if shades.logarithmic:
        share = (values.double().clamp(min=shades.low) / low).log() / (shades.high / low).log()
    return (share * _COUNT).long().clamp(0, _COUNT - 1)
