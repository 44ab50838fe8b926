"""What a call of tiled attention read, and how far from exact it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .cut import level_resolution
from .layout import TileLayout
from .store import TileStore
from .stream import BlockRead


@dataclass(frozen=True)
class TiledAttentionReport:
    """Measures of one call; B sequences, H query heads, blocks of queries, M tiles.

    fraction_read  far keys read exactly over far keys, over all queries; 1.0 without a far field
    read_by_block  [B, H, blocks] the same for the queries of each block; nan without a far field
    error_bound    [B, H, T] bound on ||o - o_full|| in units of the largest value norm in view:
                   an estimate, or a certificate if `certified`; 0 where everything was exact.
                   nan where far tiles were dropped: nothing is known of them.
    resolution     [B, H, blocks, M] rows read per token of each tile: 1 exact, 1 / tile through
                   its own summary, 1 / (tile * group**k) through a node k heights above, 0
                   dropped; nan where the tile is not far for the block (its tokens are near, or
                   to come)
    rows_per_query [B, H, blocks] what a query of each block is multiplied with, on average: a key
                   and its value are one row, a summary one and a half (its variance is read as
                   well), a node looked at for the plan or on the way to a tile one. Near field and
                   the queries' part of the plan included, padding not left out. All keys in view:
                   plain attention.
    tiles          [B, G, M, L] positions of each tile's tokens
    certified      whether error_bound is rigorous
    """

    fraction_read: float
    read_by_block: Float[Tensor, "B H blocks"]
    error_bound: Float[Tensor, "B H T"]
    resolution: Float[Tensor, "B H blocks M"]
    rows_per_query: Float[Tensor, "B H blocks"]
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
    is_causal: bool,
) -> TiledAttentionReport:
    """Collect the measures of a call from its pieces."""
    (batch, heads), groups = query.shape[:2], key.shape[1]
    error = query.new_zeros(query.shape[:3])
    if pieces:
        error = torch.cat([piece.read.error for piece in pieces], 1).view(query.shape[:3])
    count = 0 if store is None else len(store)
    resolution = error.new_full((batch, heads, len(pieces), count), math.nan)
    by_block = error.new_full((batch, heads, len(pieces)), math.nan)
    all_rows = error.new_zeros(by_block.shape)
    exact_total = far_total = 0.0
    for index, piece in enumerate(pieces):
        all_rows[:, :, index] = _near_rows(piece, query, key, layout, is_causal=is_causal)
        if piece.levels is None or piece.far is None or store is None:
            continue
        levels = piece.levels()
        tiles = levels.shape[1]
        rows = level_resolution(levels, layout).to(error).unflatten(0, (batch, heads))
        size = store.pyramid.heights[0].count[:, :tiles].view(batch, groups, 1, tiles)
        size = size.expand(-1, -1, heads // groups, -1).flatten(1, 2)
        is_far = piece.far.to(size.dtype)
        far_keys = (size * is_far).sum(-1)
        exact = (size * (rows == 1.0)).sum(-1)
        refined = piece.read.refined.mean(-1).unflatten(0, (batch, heads))
        queries = piece.read.error.shape[1]
        by_block[:, :, index] = (exact + refined) / far_keys
        summaries = torch.where((rows > 0) & (rows < 1), 1.5 * layout.tile * rows, 0.0).sum(-1)
        all_rows[:, :, index] += exact + (0.0 if layout.rest == "drop" else summaries)
        all_rows[:, :, index] += _opening_rows(piece, layout).unflatten(0, (batch, heads))
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
        rows_per_query=all_rows,
        tiles=tiles_at,
        certified=certified,
    )


def _near_rows(
    piece: BlockRead, query: Tensor, key: Tensor, layout: TileLayout, *, is_causal: bool
) -> float:
    """Keys that a query of the block reads around it, and the sinks before them."""
    size, queries = layout.super_block, piece.read.error.shape[1]
    first = max(0, (piece.block - layout.neighbours) * size)
    if is_causal:
        return piece.block * size - first + (queries + 1) / 2 + min(layout.sinks, first)
    if query.shape[2] != key.shape[2]:
        return min(layout.sinks, key.shape[2])
    last = min(key.shape[2], (piece.block + layout.neighbours + 1) * size)
    return last - first + min(layout.sinks, first)


def _opening_rows(piece: BlockRead, layout: TileLayout) -> Float[Tensor, " h"]:
    """Rows that the plan and the refinement of single queries took, for each query of the block."""
    assert piece.looked is not None
    read, queries = piece.read, piece.read.error.shape[1]
    scouts = min(layout.scouts, layout.super_block)
    return piece.looked * (scouts / queries) + (read.refined + read.visited).mean(-1)
