"""Tiled attention of whole sequences: causal through a stream, bidirectional block by block."""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..softmax_attention import EMPTY
from .block import (
    Scouts,
    cut_for_block,
    near_part,
    query_scale,
    scout_rows,
    sink_positions,
    sinks_of,
    tile_members,
)
from .control import Control
from .layout import TileLayout
from .native import Near, Plan, read_block
from .pyramid import cover
from .read import compile_list, read_far
from .store import TileStore, build_store
from .stream import BlockRead, TiledState
from .tiles import order_block


def attend_causal(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G T D"],
    value: Float[Tensor, "B G T E"],
    valid: Bool[Tensor, "B T"] | None,
    control: Control,
    layout: TileLayout,
    resolution: Float[Tensor, "h blocks M"] | None,
    *,
    implementation: str,
) -> tuple[list[BlockRead], TileStore | None]:
    """All queries of a causal call, block by block, and the tiles they read."""
    state = TiledState(layout, control, implementation=implementation)
    state.resolution = resolution
    state.append(key, value, valid)
    state.prebuild(query)
    return state.attend(query), state.store


def attend_bidirectional(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G S D"],
    value: Float[Tensor, "B G S E"],
    valid: Bool[Tensor, "B S"] | None,
    control: Control,
    layout: TileLayout,
    resolution: Float[Tensor, "h blocks M"] | None,
    *,
    implementation: str,
) -> tuple[list[BlockRead], TileStore]:
    """All queries of a call without causality, block by block, and the tiles they read.

    Every super-block is far from all but its neighbours; a block of queries plans for itself.
    Queries and keys of different length (cross attention) have no near field.
    """
    native = implementation == "native"
    size, width = layout.super_block, layout.neighbours
    batch, length = key.shape[0], key.shape[2]
    known = valid
    if valid is None:
        valid = torch.ones(batch, length, dtype=torch.bool, device=key.device)
    missing = -length % size
    key, value = (torch.nn.functional.pad(x, (0, 0, 0, missing)) for x in (key, value))
    padded = torch.nn.functional.pad(valid, (0, missing))
    sinks = sink_positions(valid, layout.sinks)
    store = _all_tiles(query, key, value, padded, length, sinks, control, layout, native)
    rows = query.flatten(0, 1)
    pyramid = store.pyramid
    home = torch.arange(pyramid.scale.shape[1], device=key.device)
    aligned = query.shape[2] == length
    pieces = []
    for block, piece in enumerate(rows.split(size, 1)):
        near = range(0)
        if aligned:
            near = range(max(0, (block - width) * size), min(length, (block + width + 1) * size))
        span = slice(near.start, near.stop)
        around = Near(key[:, :, span], value[:, :, span], None if known is None else known[:, span])
        behind = sinks_of(key, value, sinks, near)
        far = torch.ones_like(home, dtype=torch.bool)
        if aligned:
            far = (home - block).abs() > width
        chosen = scout_rows(piece.shape[1], layout.scouts).to(key.device)
        asking = piece[:, chosen].detach()
        if native:
            with torch.no_grad():
                near_lse = read_block(asking, around, behind, None, causal=False).lse
        else:
            part = near_part(piece, *around, behind, causal=False)
            near_lse = part.lse.detach()[:, chosen]
        scouts = _scouts(asking, near_lse, store, far, layout)
        if aligned and known is not None:
            hidden = ~known[:, block * size + chosen].repeat_interleave(query.shape[1], 0)
            scouts = Scouts(scouts.query, scouts.lse.masked_fill(hidden, math.inf))
        asked = None if resolution is None else resolution[:, block]
        cut = cut_for_block(
            scouts, pyramid, far, control, layout, asked, batch=batch, native=native
        )
        if native:
            plan = Plan(cut, store, control, layout)
            read = read_block(piece, around, behind, plan, causal=False)
        else:
            listed = compile_list(cut, store, control, layout)
            read = read_far(piece, part, listed, control, layout)
        tiles = far.repeat_interleave(layout.tiles_per_block)
        pieces.append(BlockRead(block, partial(cut.levels, pyramid), cut.looked, tiles, read))
    return pieces, store


def _scouts(
    query: Tensor, near_lse: Tensor, store: TileStore, far: Tensor, layout: TileLayout
) -> Scouts:
    """Scouts with a normaliser from below: the near field and the far field's roots."""
    pyramid = store.pyramid
    stacked = query.reshape(len(pyramid.scale), -1, query.shape[-1])
    root = torch.cat(cover(far, pyramid.sizes, layout))
    log_count = pyramid.nodes.log_count.masked_fill(~root, EMPTY)[:, None]
    far_lse = torch.baddbmm(log_count, stacked, pyramid.nodes.key.detach().mT).logsumexp(-1)
    lse = torch.logaddexp(near_lse, far_lse.view(near_lse.shape))
    return Scouts(query, lse)


def _all_tiles(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    valid: Tensor,
    length: int,
    sinks: Tensor,
    control: Control,
    layout: TileLayout,
    native: bool,
) -> TileStore:
    groups, size = key.shape[1], layout.super_block
    asking = None
    if query.shape[2] == length:
        asking = valid[:, :length].repeat_interleave(groups, 0)
    scale = query_scale(
        query.flatten(0, 1),
        asking,
        len(key) * groups,
    )
    member = tile_members(valid, sinks, 0).repeat_interleave(groups, 0)
    flat = key.flatten(0, 1)
    orders = [
        start
        + order_block(
            flat[:, start : start + size],
            scale,
            member[:, start : start + size],
            layout,
            native=native,
        )
        for start in range(0, flat.shape[1], size)
    ]
    return build_store(
        flat,
        value.flatten(0, 1),
        member,
        torch.cat(orders, 1),
        scale[:, None].expand(-1, len(orders), -1),
        layout,
        bounds=control.certified,
        native=native,
    )
