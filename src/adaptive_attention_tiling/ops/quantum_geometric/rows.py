"""From tensors as they are given to whole tiles of states, row by row without padding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ..linear_attention.ragged import Ragged
from .blocks import BlockReader, Tokens
from .state import QuantumGeometricState


class RouteShares(NamedTuple):
    """Which of S memories tiles are written to, and which of them queries read.

    Attributes:
        reads: g_s(i), shares of the routes with a sum of 1 [B, H, T, S].
        writes: logits of the routes and, last, of nowhere [B, G, T, S + 1]; a_s(t) is the softmax
            of their mean over the tokens of tile t.
    """

    reads: Float[Tensor, "B H T S"]
    writes: Float[Tensor, "B G T S+1"]


class Heads(NamedTuple):
    """Tokens as they are given: `Tokens` before states, tiles and channels of ones."""

    query: Tensor
    key: Tensor
    value: Tensor
    gate: Tensor
    points: Tensor | None
    reads: Tensor | None
    writes: Tensor | None

    def mapped(self, rows: Ragged) -> Heads:
        return Heads._make(None if t is None else rows.rows(t) for t in self)

    def behind(self, state: QuantumGeometricState) -> Heads:
        """With the tokens of the open tile before them, whose queries were answered already."""
        batch, _, slots, _ = state.key.shape
        shape = batch, self.query.shape[1], slots
        asked = self.query.new_zeros(*shape, self.query.shape[-1])
        reads = None if self.reads is None else self.reads.new_zeros(*shape, self.reads.shape[-1])
        older = asked, state.key, state.value, state.gate, state.points, reads, state.writes
        joined = zip(older, self, strict=True)
        return Heads._make(
            None if o is None or n is None else torch.cat([o, n], 2) for o, n in joined
        )


def given_heads(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    gate: Tensor | None,
    points: Tensor | None,
    routes: RouteShares | None,
) -> Heads:
    """All in one, in float32 at least."""
    dtype = torch.promote_types(value.dtype, torch.float32)
    return Heads(
        query.to(dtype),
        key.to(dtype),
        value.to(dtype),
        torch.zeros_like(key[..., :1], dtype=dtype) if gate is None else gate.to(dtype)[..., None],
        None if points is None else points.to(dtype),
        None if routes is None else routes.reads.to(dtype),
        None if routes is None else routes.writes.to(dtype),
    )


def live_slots(heads: Heads, rows: Ragged | None) -> Tensor:
    """Which slots hold a token [B, L]."""
    if rows is not None:
        return rows.live
    return heads.key.new_ones(heads.key.shape[0], heads.key.shape[2], dtype=torch.bool)


def whole_tiles(reader: BlockReader, heads: Heads, live: Tensor, *, everywhere: bool) -> Tokens:
    """Whole tiles: states instead of amplitudes, weights instead of gates, a channel of ones."""
    missing = -heads.key.shape[2] % reader.tile_size
    alive = live[:, None, :, None]
    weight = torch.where(alive, heads.gate, -torch.inf).exp()
    value = torch.cat([heads.value, torch.ones_like(heads.key[..., :1])], -1)
    states = reader.kernel.states
    tokens = Tokens(
        states(heads.query),
        states(heads.key),
        value,
        weight,
        heads.points,
        heads.reads,
        heads.writes,
        alive.to(value) if everywhere else None,
    )
    if not missing:
        return tokens
    return Tokens._make(None if t is None else pad(t, (0, 0, 0, missing)) for t in tokens)
