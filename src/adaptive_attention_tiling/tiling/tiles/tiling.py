"""The tiles of many sequences at once, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .tile import Tile


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Contiguous tiles that cover `tokens` tokens of n sequences, super-block by super-block.

    Attributes:
        tokens: T.
        super_block: tokens of a finished super-block; no tile crosses a border between two.
        overhead: rows that a tile costs besides its segments.
        start: first token of each tile [n, M]; T where there is none.
        length: tokens of each tile [n, M]; 0 where there is none.
        resolution: R of each tile [n, M]; 1 where there is none.
        block_loss: energy lost in each super-block [n, S].
        block_cost: rows read and overheads of each super-block [n, S].
        price: energy per row at which each super-block's tiles are optimal [n, S]; nan where the
            tiles were not chosen by price.
    """

    tokens: int
    super_block: int
    overhead: float
    start: Int[Tensor, "n M"]
    length: Int[Tensor, "n M"]
    resolution: Float[Tensor, "n M"]
    block_loss: Float[Tensor, "n S"]
    block_cost: Float[Tensor, "n S"]
    price: Float[Tensor, "n S"]

    @property
    def finished(self) -> int:
        """Tokens in super-blocks that are full: their tiles no longer change as the text grows."""
        return self.tokens - self.tokens % self.super_block

    @property
    def information_loss(self) -> Float[Tensor, " n"]:
        """Energy lost in each sequence."""
        return self.block_loss.sum(-1)

    @property
    def compute_cost(self) -> Float[Tensor, " n"]:
        """Rows read and overheads of each sequence."""
        return self.block_cost.sum(-1)

    @property
    def segments(self) -> Int[Tensor, "n M"]:
        """Rows read in place of each tile, ceil(R L); 0 where there is none."""
        return torch.ceil(self.resolution.double() * self.length * (1 - 1e-6)).long()

    @property
    def mean_resolution(self) -> Float[Tensor, " n"]:
        """R averaged over tokens."""
        return (self.resolution * self.length).sum(-1) / self.tokens

    @property
    def rows_per_token(self) -> Float[Tensor, " n"]:
        """Rows read for each token, overheads left out."""
        return self.segments.sum(-1) / self.tokens

    def tiles(self, row: int) -> list[Tile]:
        """One sequence's tiles, in order."""
        columns = (self.start[row], self.length[row], self.resolution[row])
        return [
            Tile(start=start, stop=start + length, resolution=resolution)
            for start, length, resolution in zip(*(c.tolist() for c in columns), strict=True)
            if length
        ]

    def tile_ids(self) -> Int[Tensor, "n T"]:
        """The number, in its sequence, of the tile that holds each token."""
        marks = torch.zeros(
            len(self.start), self.tokens + 1, dtype=torch.long, device=self.start.device
        )
        marks.scatter_(1, self.start, 1)
        return marks[:, :-1].cumsum(1) - 1

    def token_resolution(self) -> Float[Tensor, "n T"]:
        """R at each token."""
        return self.resolution.gather(1, self.tile_ids())

    def segment_ids(self) -> Int[Tensor, "n T"]:
        """The number, in its sequence, of the segment that holds each token."""
        tile = self.tile_ids()
        before = self.segments.cumsum(1) - self.segments
        inside = torch.arange(self.tokens, device=tile.device) - self.start.gather(1, tile)
        span = torch.round(1 / self.resolution.double()).long().gather(1, tile)
        return before.gather(1, tile) + inside // span


def joined(parts: Sequence[Tiling]) -> Tiling:
    """Tilings of successive pieces of the same sequences as one; all but the last are finished."""
    if not parts:
        raise ArgumentError("parts", "none", "at least one tiling", "pass the pieces in order")
    for part in parts[:-1]:
        if part.finished != part.tokens:
            raise ArgumentError(
                "parts",
                f"{part.tokens} tokens",
                f"whole super-blocks of {part.super_block} but for the last part",
                "join the tilings of finished super-blocks",
            )
    tokens, starts = 0, []
    for part in parts:
        starts.append(part.start + tokens)
        tokens += part.tokens
    length = torch.cat([part.length for part in parts], 1)
    start, resolution = torch.cat(starts, 1), torch.cat([part.resolution for part in parts], 1)
    start, length, resolution = packed(length > 0, (start, tokens), (length, 0), (resolution, 1))
    return Tiling(
        tokens=tokens,
        super_block=parts[0].super_block,
        overhead=parts[0].overhead,
        start=start,
        length=length,
        resolution=resolution,
        block_loss=torch.cat([part.block_loss for part in parts], 1),
        block_cost=torch.cat([part.block_cost for part in parts], 1),
        price=torch.cat([part.price for part in parts], 1),
    )


def packed(there: Tensor, *columns: tuple[Tensor, float]) -> list[Tensor]:
    """Each tensor [n, G] with the entries that are `there` moved to the front, [n, M], and filled
    with its number behind them; M is the most that any row has.
    """
    count = there.sum(1)
    width = int(count.max()) if count.numel() else 0
    place = torch.where(there, there.cumsum(1) - 1, width)
    return [
        tensor.new_full((len(tensor), width + 1), fill).scatter_(1, place, tensor)[:, :-1]
        for tensor, fill in columns
    ]
