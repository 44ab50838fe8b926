"""Causal tiled attention over a growing sequence: prefill in any pieces, then token by token."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import ArgumentError
from .block import (
    Scouts,
    Sinks,
    cut_for_block,
    near_part,
    query_scale,
    scout_rows,
    sink_positions,
    sinks_of,
    tile_members,
)
from .choice import explain
from .control import Control
from .layout import TileLayout
from .native import Near, Plan, read_block
from .read import FarRead, ReadList, compile_list, read_far
from .store import TileStore, build_store
from .tiles import order_block


class BlockRead(NamedTuple):
    """One piece of a super-block's queries.

    levels gives the levels [h, M] of the tiles, which only reports ask for; None without a far
    field. far [M] tells which tiles are far; looked [h]: nodes of the pyramid at which each scout
    looked for the plan.
    """

    block: int
    levels: Callable[[], Tensor] | None
    looked: Tensor | None
    far: Tensor | None
    read: FarRead


class TiledState:
    """Keys, values, tiles and the current plan of one layer, for B sequences of equal length.

    `append` adds tokens; `attend` answers the queries of the last of them. A super-block is cut
    into tiles when it is finished, and the plan of the next is made by its last queries. Both
    depend on nothing but the tokens before: the same tokens give the same tiles and plans whether
    they come in one call or in many.

    Keys and values are kept in the dtype they come in. Half precision is computed in float32:
    tiles are float32, and queries must be.
    """

    def __init__(
        self, layout: TileLayout, control: Control, *, implementation: str | None = None
    ) -> None:
        self.layout = layout
        self.control = control
        self.implementation = implementation
        self.length = 0
        self.store: TileStore | None = None
        self.resolution: Tensor | None = None
        self._key: Tensor
        self._value: Tensor
        self._written: list[int] = []  # one number, shared by all forks that share the buffers
        self._valid: Tensor | None = None
        self._scales: list[Tensor] = []
        self._queries: list[Tensor] = []
        self._lses: list[Tensor] = []
        self._far: ReadList | Plan | None = None
        self._levels: Callable[[], Tensor] | None = None
        self._looked: Tensor | None = None
        self._far_sinks: Sinks | None = None
        self._answered = 0

    @property
    def answered(self) -> int:
        """How many of the tokens have had their queries answered."""
        return self._answered

    @property
    def key(self) -> Float[Tensor, "B G S D"]:
        """The keys so far."""
        return self._key[:, :, : self.length]

    @property
    def value(self) -> Float[Tensor, "B G S E"]:
        """The values so far."""
        return self._value[:, :, : self.length]

    def append(
        self,
        key: Float[Tensor, "B G t D"],
        value: Float[Tensor, "B G t E"],
        valid: Bool[Tensor, "B t"] | None = None,
    ) -> None:
        """Add tokens; `valid` marks those that are not padding, all of them if None."""
        if self.length == 0:
            self._key, self._value, self._valid = key, value, valid
            self._written = [key.shape[2]]
        else:
            if valid is not None or self._valid is not None:
                new = key.new_ones(key.shape[0], key.shape[2], dtype=torch.bool)
                self._valid = torch.cat([self._seen(), new if valid is None else valid], 1)
            self._write(key, value)
        self.length += key.shape[2]

    def fork(self) -> TiledState:
        """A state that goes on from here by itself; neither changes the other.

        No token is copied until both have gone on: they share the buffers, and the first to write
        behind the last common token goes on in place.
        """
        twin = copy.copy(self)
        twin._scales, twin._queries = list(self._scales), list(self._queries)
        twin._lses = list(self._lses)
        return twin

    def see(self, valid: Bool[Tensor, "B S"]) -> None:
        """Say of all tokens so far which are not padding, for those that come without `valid`.

        Raises ArgumentError if that changes for a token whose query has been answered: tiles and
        plans have been made of it.
        """
        if self._valid is None and bool(valid.all()):
            return
        if not torch.equal(valid[:, : self._answered], self._seen()[:, : self._answered]):
            raise ArgumentError(
                "key_padding_mask",
                "another mask for tokens that have been read",
                "the mask of earlier calls, with columns for the new tokens",
                "extend the mask on the right; start a new cache for other sequences",
            )
        self._valid = valid

    def attend(self, query: Float[Tensor, "B H t D"]) -> list[BlockRead]:
        """Answer the scaled queries of the last t tokens, in pieces of one super-block each."""
        first = self.length - query.shape[2]
        if first != self._answered:
            raise AssertionError(f"queries start at {first}, answered so far: {self._answered}")
        rows = query.flatten(0, 1)
        size = self.layout.super_block
        pieces = []
        while self._answered < self.length:
            start = self._answered
            block, end = start // size, min((start // size + 1) * size, self.length)
            if start % size == 0 and block > 0:
                self._turn(block)
            piece = rows[:, start - first : end - first]
            read = self._answer(piece, block, end)
            self._queries.append(piece.detach())
            self._lses.append(read.lse.detach())
            self._answered = end
            far = None
            if self._levels is not None:
                count = (block - self.layout.neighbours) * self.layout.tiles_per_block
                far = torch.ones(count, dtype=torch.bool, device=query.device)
            pieces.append(BlockRead(block, self._levels, self._looked, far, read))
        return pieces

    def answer(self, query: Float[Tensor, "B H t D"]) -> Float[Tensor, "B H t E"]:
        """The outputs of `attend` alone."""
        outs = [piece.read.out for piece in self.attend(query)]
        return torch.cat(outs, 1).view(*query.shape[:3], -1)

    def prebuild(self, query: Float[Tensor, "B H t D"]) -> None:
        """Cut the super-blocks that will be far at once, into the tiles `attend` would make."""
        size = self.layout.super_block
        blocks = -(-self.length // size) - 1 - self.layout.neighbours
        if blocks > 0:
            asking = query.detach()[:, :, : blocks * size].flatten(0, 1)
            cut = asking.unflatten(1, (blocks, size)).transpose(0, 1).flatten(0, 1)
            scale = self._scale(range(blocks), cut)
            self.store = self._tiles(range(blocks), scale)

    def _write(self, key: Tensor, value: Tensor) -> None:
        """Put tokens behind the last, in place where nobody has written and no gradient is kept."""
        parts = self._key, self._value, key, value
        needed = self.length + key.shape[2]
        if torch.is_grad_enabled() and any(part.requires_grad for part in parts):
            self._key, self._value = (
                torch.cat([self.key, key], 2),
                torch.cat([self.value, value], 2),
            )
            self._written = [needed]
            return
        if self._written != [self.length] or self._key.shape[2] < needed:
            self._key, self._value = _roomier(self.key, needed), _roomier(self.value, needed)
            self._written = [self.length]
        self._key[:, :, self.length : needed] = key
        self._value[:, :, self.length : needed] = value
        self._written[0] = needed

    def _turn(self, block: int) -> None:
        """Close the super-block before `block`: cut it into tiles, and plan for `block`."""
        queries, lse = torch.cat(self._queries, 1), torch.cat(self._lses, 1)
        self._queries, self._lses = [], []
        size, per_block = self.layout.super_block, self.layout.tiles_per_block
        finished, far_blocks = block - 1, block - self.layout.neighbours
        self._scales.append(self._scale(range(finished, block), queries))
        built = 0 if self.store is None else len(self.store) // per_block
        if built < far_blocks:
            new = self._tiles(range(built, built + 1), self._scales[built])
            self.store = (
                new
                if self.store is None
                else self.store.extended(new, self.layout, native=self._native(queries))
            )
        self._far = self._levels = self._looked = self._far_sinks = None
        if far_blocks > 0:
            near = range(far_blocks * size, self.length)
            self._far_sinks = sinks_of(self.key, self.value, self._sinks(), near)
            rows = scout_rows(size, self.layout.scouts).to(lse.device)
            scouts = Scouts(queries[:, rows], lse[:, rows])
            if self._valid is not None:
                hidden = ~self._valid[:, finished * size + rows]
                hidden = hidden.repeat_interleave(len(lse) // len(hidden), 0)
                scouts = Scouts(scouts.query, scouts.lse.masked_fill(hidden, math.inf))
            self._levels, self._looked, self._far = self._plan(block, far_blocks, scouts)

    def _plan(
        self, block: int, blocks: int, scouts: Scouts
    ) -> tuple[Callable[[], Tensor], Tensor, ReadList | Plan]:
        assert self.store is not None
        pyramid = self.store.pyramid
        far = torch.arange(pyramid.scale.shape[1], device=scouts.lse.device) < blocks
        asked = None if self.resolution is None else self.resolution[:, block, : len(self.store)]
        batch = self._key.shape[0]
        native = self._native(scouts.query)
        cut = cut_for_block(
            scouts, pyramid, far, self.control, self.layout, asked, batch=batch, native=native
        )
        levels = partial(cut.levels, pyramid, blocks * self.layout.tiles_per_block)
        listed = Plan if native else compile_list
        return levels, cut.looked, listed(cut, self.store, self.control, self.layout)

    def _native(self, query: Tensor) -> bool:
        return explain(query, implementation=self.implementation).implementation == "native"

    def _answer(self, query: Tensor, block: int, end: int) -> FarRead:
        first = max(0, (block - self.layout.neighbours) * self.layout.super_block)
        span = slice(first, end)
        near = Near(
            self._key[:, :, span].to(query.dtype),
            self._value[:, :, span].to(query.dtype),
            None if self._valid is None else self._valid[:, span],
        )
        if isinstance(self._far, Plan) or (self._far is None and self._native(query)):
            return read_block(query, near, self._far_sinks, self._far, causal=True)
        part = near_part(query, *near, self._far_sinks, causal=True)
        if self._far is None:
            nothing = torch.zeros_like(part.lse)
            return FarRead(part.out, part.lse, nothing, nothing, nothing)
        return read_far(query, part, self._far, self.control, self.layout)

    def _scale(self, blocks: range, queries: Float[Tensor, "bh s D"]) -> Float[Tensor, "bn D"]:
        """Metric of each key head in each block, from the block's queries."""
        valid = None
        if self._valid is not None:
            valid = self._blocks(self._valid[:, None, :, None], blocks)[..., 0]
            valid = valid.unflatten(0, (len(blocks), -1)).repeat_interleave(self._key.shape[1], 1)
            valid = valid.flatten(0, 1)
        return query_scale(queries, valid, len(blocks) * self._key.shape[0] * self._key.shape[1])

    def _tiles(self, blocks: range, scale: Tensor) -> TileStore:
        """Tiles of whole super-blocks, all at once."""
        size = self.layout.super_block
        span = slice(blocks.start * size, blocks.stop * size)
        member = tile_members(self._seen()[:, span], self._sinks(), span.start)
        member = member.repeat_interleave(self._key.shape[1], 0)
        cut = member.unflatten(1, (len(blocks), size)).transpose(0, 1).flatten(0, 1)
        work = torch.promote_types(self._key.dtype, torch.float32)
        native = self._native(self._key)
        keys = self._blocks(self._key, blocks).to(work)
        order = order_block(keys, scale, cut, self.layout, native=native)
        first = torch.arange(len(blocks), device=order.device)[:, None, None] * size
        order = (order.unflatten(0, (len(blocks), -1)) + first).transpose(0, 1).flatten(1)
        return build_store(
            self._key[:, :, span].to(work).flatten(0, 1),
            self._value[:, :, span].to(work).flatten(0, 1),
            member,
            order,
            scale.unflatten(0, (len(blocks), -1)).transpose(0, 1),
            self.layout,
            bounds=self.control.certified,
            start=span.start,
            native=native,
        )

    def _blocks(self, x: Float[Tensor, "B G S D"], blocks: range) -> Float[Tensor, "bBG s D"]:
        """Super-blocks as a leading axis, outside the batch."""
        size = self.layout.super_block
        cut = x[:, :, blocks.start * size : blocks.stop * size].flatten(0, 1)
        blocks_first: Tensor = cut.unflatten(1, (len(blocks), size)).transpose(0, 1)
        return blocks_first.flatten(0, 1)

    def _sinks(self) -> Tensor:
        if self._valid is None:
            count = min(self.layout.sinks, self.length)
            first = torch.arange(count, device=self._key.device)
            return first.expand(self._key.shape[0], count)
        return sink_positions(self._valid, self.layout.sinks)

    def _seen(self) -> Bool[Tensor, "B S"]:
        if self._valid is None:
            shape = (self._key.shape[0], self.length)
            return torch.ones(shape, dtype=torch.bool, device=self._key.device)
        return self._valid


def _roomier(tokens: Tensor, needed: int) -> Tensor:
    """A copy with room for `needed` tokens and as many again as there are."""
    length = tokens.shape[2]
    wider = tokens.new_empty(*tokens.shape[:2], max(needed, 2 * length), tokens.shape[3])
    wider[:, :, :length] = tokens
    return wider
