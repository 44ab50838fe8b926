"""The tiles that may be cut from a super-block, as flat lists for the dynamic programme."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Offers:
    """Every tile that a super-block of `tokens` tokens may hold.

    A position p is the border at token min(p * granularity, tokens). The K spans are listed by
    where they stop, then by where they start.

    Attributes:
        tokens: of the super-block.
        positions: P; the super-block ends at position P.
        borders: token at each position [P+1].
        spans: segment lengths 1/R on offer, finest first.
        start, stop: positions of each span [K].
        rows: ceil(L/span) + overhead of each span at each resolution [R, K].
        ending: for each position but 0, (its spans as a slice, their starts as one).
        overhead: rows that a tile costs besides its segments.
        least_cost: at which the super-block can be read at all.
    """

    tokens: int
    positions: int
    borders: Int[Tensor, " P"]
    spans: tuple[int, ...]
    start: Int[Tensor, " K"]
    stop: Int[Tensor, " K"]
    rows: Float[Tensor, "R K"]
    ending: tuple[tuple[slice, slice], ...]
    overhead: float
    least_cost: float

    @property
    def units(self) -> int:
        """Units of cost in a row: the fewest of which an overhead is a whole number."""
        return next(units for units in (1, 2, 4, 8) if self.overhead * units % 1 == 0)

    @property
    def cost_bits(self) -> int:
        """Bits that hold the cost of any tiling in units."""
        most = self.tokens + self.overhead * self.positions
        return int(most * self.units).bit_length()

    def in_units(self, rows: Float[Tensor, "*k"]) -> Float[Tensor, "*k"]:
        """Costs in units: whole numbers."""
        return rows * self.units

    @property
    def is_aligned(self) -> bool:
        """Whether segments never cross a position, wherever their tile starts."""
        granule = int(self.borders[1])
        return self.tokens % granule == 0 and not any(granule % span for span in self.spans)

    @property
    def is_free(self) -> bool:
        """Whether a tile may run from any position to any later one."""
        return len(self.start) == self.positions * (self.positions + 1) // 2

    @property
    def length(self) -> Int[Tensor, " K"]:
        """Tokens of each span."""
        return self.borders[self.stop] - self.borders[self.start]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept serves training too
def offers(
    tokens: int,
    *,
    is_finished: bool,
    min_size: int,
    max_size: int,
    granularity: int,
    spans: tuple[int, ...],
    overhead: float,
) -> Offers:
    """All spans of min_size to max_size tokens in steps of `granularity`.

    The last tile of an unfinished super-block may be shorter than min_size.
    """
    positions = -(-tokens // granularity)
    borders = torch.arange(positions + 1) * granularity
    borders[-1] = tokens
    least, most = min_size // granularity, max_size // granularity
    starts: list[int] = []
    stops: list[int] = []
    ending = []
    for stop in range(1, positions + 1):
        shortest = 1 if stop == positions and not is_finished else least
        first, last = max(0, stop - most), max(0, stop - shortest + 1)
        ending.append((slice(len(starts), len(starts) + last - first), slice(first, last)))
        starts += range(first, last)
        stops += [stop] * (last - first)
    start, stop_ = torch.tensor(starts), torch.tensor(stops)
    length = borders[stop_] - borders[start]
    rows = torch.stack([-(-length // span) for span in spans]).double() + overhead
    least_cost = _least_cost(rows.amin(0).tolist(), ending)
    return Offers(
        tokens, positions, borders, spans, start, stop_, rows, tuple(ending), overhead, least_cost
    )


def _least_cost(rows: list[float], ending: list[tuple[slice, slice]]) -> float:
    cost = [0.0]
    for pairs, starts in ending:
        whole = (before + own for before, own in zip(cost[starts], rows[pairs], strict=True))
        cost.append(min(whole, default=math.inf))
    return cost[-1]
