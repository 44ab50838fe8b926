"""The optimal tiling of one short text by trying all of them: what `TileManager` must equal."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .tiler import TileManager


def segment_energy(signal: Float[Tensor, L * C]) -> float:
    """Energy that a segment loses to its mean: measured in states, expected from a density."""
    tokens = len(signal)
    if signal.dim() == 2:
        return float((signal - signal.mean(0)).square().sum())
    return sum(float(signal[k]) * k * (tokens - k) / tokens for k in range(1, tokens))


def reference_loss(signal: Float[Tensor, L * C], span: int) -> float:
    """Energy that a tile loses when it is read in segments of `span` tokens."""
    return sum(segment_energy(segment) for segment in signal.split(span))


def every_tiling(signal: Float[Tensor, T * C], tiler: TileManager) -> Float[Tensor, "Z 2"]:
    """(cost, loss) of every tiling of one super-block, good or bad, in float64.

    Those of the first t tokens are those of fewer tokens and one more tile; none is left out, so
    that there are r (1 + r)^(T-1) of them, with r resolutions, where all sizes are permitted.
    """
    tokens, step = len(signal), tiler.granularity
    borders = [*range(0, tokens, step), tokens]
    found = {0: torch.zeros(1, 2, dtype=torch.float64)}
    for stop in borders[1:]:
        is_short = stop == tokens < tiler.super_block
        shortest = 1 if is_short else tiler.min_size
        found[stop] = torch.cat(
            [torch.zeros(0, 2, dtype=torch.float64)]
            + [
                found[start] + _cost_and_loss(signal[start:stop], span, tiler.overhead)
                for start in borders
                if shortest <= stop - start <= tiler.max_size
                for span in tiler.spans
            ]
        )
    return found[tokens]


def best_at_price(tilings: Float[Tensor, "Z 2"], price: float) -> Float[Tensor, 2]:
    """(cost, loss) of the tiling with least loss + price * cost."""
    return tilings[(tilings[:, 1] + price * tilings[:, 0]).argmin()]


def best_within(tilings: Float[Tensor, "Z 2"], most: float) -> Float[Tensor, 2]:
    """The corner of the lower convex hull of all (cost, loss) with the largest cost <= most."""
    corners: list[tuple[float, float]] = []
    for cost in tilings[:, 0].unique().tolist():
        loss = float(tilings[tilings[:, 0] == cost, 1].min())
        if corners and loss >= corners[-1][1]:
            continue
        while len(corners) > 1 and _is_above(corners[-1], corners[-2], (cost, loss)):
            corners.pop()
        corners.append((cost, loss))
    return torch.tensor([each for each in corners if each[0] <= most][-1], dtype=torch.float64)


def _cost_and_loss(signal: Float[Tensor, L * C], span: int, overhead: float) -> Tensor:
    rows = len(signal.split(span))
    return torch.tensor([rows + overhead, reference_loss(signal, span)], dtype=torch.float64)


Point = tuple[float, float]


def _is_above(middle: Point, left: Point, right: Point) -> bool:
    """Whether the middle point lies on or above the line through the others."""
    run, rise = right[0] - left[0], right[1] - left[1]
    return (middle[1] - left[1]) * run >= rise * (middle[0] - left[0])
