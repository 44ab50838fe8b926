"""What a call of tiled attention read, and how far from exact it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .layout import TileLayout
from .plan import level_resolution
from .stream import BlockRead
from .tiles import TileStore, split_nodes


@dataclass(frozen=True)
class TiledAttentionReport:
    """Measures of one call; B sequences, H query heads, blocks of queries, M tiles.

    fraction_read  far keys read exactly over far keys, over all queries; 1.0 without a far field
    read_by_block  [B, H, blocks] the same for the queries of each block; nan without a far field
    error_bound    [B, H, T] bound on ||o - o_full|| in units of the largest value norm in view:
                   an estimate, or a certificate if `certified`; 0 where everything was exact.
                   nan where far tiles were dropped: nothing is known of them.
    resolution     [B, H, blocks, M] rows read per token of each tile: 1 exact, 1 / tile through
                   its own summary, 1 / (tile * group) through its group's, 0 dropped; nan where
                   the tile is not far for the block (its tokens are near, or to come)
    tiles          [B, G, M, L] positions of each tile's tokens
    certified      whether error_bound is rigorous
    """

    fraction_read: float
    read_by_block: Float[Tensor, "B H blocks"]
    error_bound: Float[Tensor, "B H T"]
    resolution: Float[Tensor, "B H blocks M"]
    tiles: Int[Tensor, "B G M L"]
    certified: bool

    def token_resolution(self) -> Float[Tensor, "B H S"]:
        """Mean resolution at which the far readers of each token read it; nan without any."""
        batch, heads = self.resolution.shape[:2]
        mean = self.resolution.nanmean(2)
        repeat = heads // self.tiles.shape[1]
        position = self.tiles.repeat_interleave(repeat, 1).flatten(2)
        tokens = int(self.tiles.max()) + 1 if self.tiles.numel() else 0
        out = mean.new_full((batch, heads, tokens), math.nan)
        return out.scatter(2, position, mean.repeat_interleave(self.tiles.shape[-1], 2))


def make_report(
    pieces: list[BlockRead],
    store: TileStore | None,
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G S D"],
    layout: TileLayout,
    *,
    certified: bool,
) -> TiledAttentionReport:
    """Collect the measures of a call from its pieces."""
    (batch, heads), groups = query.shape[:2], key.shape[1]
    error = query.new_zeros(query.shape[:3])
    if pieces:
        error = torch.cat([piece.read.error for piece in pieces], 1).view(query.shape[:3])
    count = 0 if store is None else len(store)
    resolution = error.new_full((batch, heads, len(pieces), count), math.nan)
    by_block = error.new_full((batch, heads, len(pieces)), math.nan)
    table = torch.tensor(level_resolution(layout), dtype=error.dtype, device=error.device)
    exact_total = far_total = 0.0
    for index, piece in enumerate(pieces):
        if piece.levels is None or piece.far is None or store is None:
            continue
        tiles = piece.levels.shape[1]
        rows = table[piece.levels.long()].unflatten(0, (batch, heads))
        size = split_nodes(store.nodes.count, layout)[0][:, :tiles].view(batch, groups, 1, tiles)
        size = size.expand(-1, -1, heads // groups, -1).flatten(1, 2)
        is_far = piece.far.to(size.dtype)
        far_keys = (size * is_far).sum(-1)
        exact = (size * (rows == 1.0)).sum(-1)
        refined = piece.read.refined.mean(-1).unflatten(0, (batch, heads))
        queries = piece.read.error.shape[1]
        by_block[:, :, index] = (exact + refined) / far_keys
        resolution[:, :, index, :tiles] = torch.where(piece.far, rows, math.nan)
        unread = piece.far & (rows != 1.0 if layout.rest == "drop" else rows == 0.0)
        blind = unread.any(-1)[..., None].expand(-1, -1, queries)
        first = index * layout.super_block
        error[:, :, first : first + queries].masked_fill_(blind, math.nan)
        exact_total += float((exact + refined).sum()) * queries
        far_total += float(far_keys.sum()) * queries
    if store is None:
        tiles_at = torch.zeros(batch, groups, 0, layout.tile, dtype=torch.long, device=error.device)
    else:
        tiles_at = store.positions.unflatten(0, (batch, groups))
    return TiledAttentionReport(
        fraction_read=exact_total / far_total if far_total else 1.0,
        read_by_block=by_block,
        error_bound=error,
        resolution=resolution,
        tiles=tiles_at,
        certified=certified,
    )
