"""The parts that every block of queries needs: near field, sinks, scouts and its plan."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..softmax_attention import EMPTY, Partial, partial_attention
from .control import Control
from .cut import AbstractDecision, ByBudget, ByResolution, ByTolerance, Cut, descend
from .layout import TileLayout
from .native_plan import planned, scout_costs
from .pyramid import Pyramid, cover
from .risk import error_cost, risk_of
from .tiles import Summary


class Scouts(NamedTuple):
    """Queries that plan for a block: query [h, s, D]; lse [h, s], inf hides one (padding)."""

    query: Tensor
    lse: Tensor


@functools.cache
@torch.inference_mode(False)  # what is kept serves training too
def scout_rows(size: int, count: int) -> Tensor:
    """Which of a super-block's queries plan for the next: half spread over it, half its last."""
    if count >= size:
        return torch.arange(size)
    last = count // 2
    spread = torch.linspace(0, size - last - 1, count - last).round().long()
    return torch.cat([spread, torch.arange(size - last, size)])


class Sinks(NamedTuple):
    """First tokens of each sequence: keys, values [B, G, s, *]; visible [B, s]."""

    keys: Tensor
    values: Tensor
    visible: Tensor


def query_scale(
    query: Float[Tensor, "h t D"], valid: Bool[Tensor, "n t"] | None, key_heads: int
) -> Float[Tensor, "n D"]:
    """Rms of each coordinate of the queries that read a key head: the metric of its tiles.

    Every fourth query is enough.
    """
    rows = query.detach()[:, ::4].unflatten(0, (key_heads, -1))
    count = torch.tensor(rows.shape[1] * rows.shape[2], device=query.device)
    if valid is not None:
        valid = valid[:, ::4]
        rows = rows * valid[:, None, :, None]
        count = valid.sum(-1).clamp_min(1)[:, None] * rows.shape[1]
    length: Tensor = torch.linalg.vector_norm(rows.flatten(1, 2), dim=1)
    return length / count.sqrt()


def near_part(
    query: Float[Tensor, "h t D"],
    key: Float[Tensor, "B G s D"],
    value: Float[Tensor, "B G s E"],
    valid: Bool[Tensor, "B s"] | None,
    sinks: Sinks | None,
    *,
    causal: bool,
) -> Partial:
    """Exact attention over the near field and the sinks that lie outside it.

    If causal, the last query stands at the last key. `sinks` is None if none lie outside.
    """
    batch, groups = key.shape[:2]
    shared = query.unflatten(0, (batch * groups, -1))
    repeat, length = shared.shape[1], shared.shape[2]
    before = 0 if sinks is None else sinks.keys.shape[2]
    bias = None
    if causal and length > 1:
        bias = causal_bias(length, key.shape[2], before, query.dtype, query.device)
    if valid is not None or (sinks is not None and not bool(sinks.visible.all())):
        seen = key.new_ones(batch, key.shape[2], dtype=torch.bool) if valid is None else valid
        if sinks is not None:
            seen = torch.cat([sinks.visible, seen], 1)
        hidden = torch.where(seen, 0.0, EMPTY).to(query.dtype).repeat_interleave(groups, 0)
        bias = hidden[:, None, None] if bias is None else bias + hidden[:, None, None]
    if sinks is not None:
        key, value = torch.cat([sinks.keys, key], 2), torch.cat([sinks.values, value], 2)
    part = partial_attention(
        shared,
        key.flatten(0, 1)[:, None].expand(-1, repeat, -1, -1),
        value.flatten(0, 1)[:, None].expand(-1, repeat, -1, -1),
        bias=bias,
    )
    return Partial(part.out.flatten(0, 1), part.lse.flatten(0, 1))


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept serves training too
def causal_bias(
    queries: int, keys: int, before: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """[1, 1, T, before + S] bias that hides every key after the query, none of those `before`."""
    hidden = torch.ones(queries, before + keys, dtype=torch.bool, device=device)
    hidden = hidden.triu(before + keys - queries + 1)
    return torch.zeros(1, 1, *hidden.shape, dtype=dtype, device=device).masked_fill(hidden, EMPTY)


def sink_positions(valid: Bool[Tensor, "B S"], count: int) -> Int[Tensor, "B sinks"]:
    """Positions of the first `count` tokens that are not padding; S where there are fewer."""
    count = min(count, valid.shape[1])
    first = (~valid).to(torch.int8).sort(dim=-1, stable=True).indices[:, :count]
    return torch.where(valid.gather(1, first), first, valid.shape[1])


def sinks_of(
    key: Float[Tensor, "B G S D"],
    value: Float[Tensor, "B G S E"],
    position: Int[Tensor, "B sinks"],
    near: range,
) -> Sinks | None:
    """The sinks outside the near field, as keys of their own; None if there are none."""
    visible = (position < near.start) | ((position >= near.stop) & (position < key.shape[2]))
    if not bool(visible.any()):
        return None
    at = position.clamp_max(key.shape[2] - 1)[:, None, :, None].expand(-1, key.shape[1], -1, -1)
    keys = key.gather(2, at.expand(-1, -1, -1, key.shape[-1]))
    values = value.gather(2, at.expand(-1, -1, -1, value.shape[-1]))
    return Sinks(keys, values, visible)


def tile_members(
    valid: Bool[Tensor, "B t"], position: Int[Tensor, "B sinks"], start: int
) -> Bool[Tensor, "B t"]:
    """Which of the tokens from `start` on belong to tiles: neither padding nor sinks."""
    token = torch.arange(start, start + valid.shape[1], device=valid.device)
    return valid & ~(token[:, None] == position[:, None]).any(-1)


@torch.no_grad()
def cut_for_block(
    scouts: Scouts,
    pyramid: Pyramid,
    far: Bool[Tensor, " blocks"],
    control: Control,
    layout: TileLayout,
    resolution: Float[Tensor, "h M"] | None,
    *,
    batch: int,
    native: bool = False,
) -> Cut:
    """What one block of queries reads of the far super-blocks; `native` has compiled kernels
    price the nodes, and under a tolerance cut them.
    """
    heads = len(scouts.lse)
    if control.reads_all:
        resolution = scouts.lse.new_ones(heads, pyramid.sizes[0])
    cost = ScoutCost(scouts, control, layout, native=native)
    if native and resolution is None and control.budget is None:
        return planned(*scouts, pyramid, far, control, layout, cost.worst)
    roots = cover(far, pyramid.sizes, layout)
    if resolution is not None:
        found = descend(pyramid, roots, heads, ByResolution(pyramid, resolution, layout))
        return replace(found, exact=found.exact & (resolution > 0), looked=found.looked * 0)
    decision: AbstractDecision
    if control.budget is not None:
        decision = ByBudget(pyramid, cost, control.budget, batch)
    else:
        decision = ByTolerance(pyramid, cost, control.limit, heads)
    return descend(pyramid, roots, heads, decision)


class ScoutCost:
    """The mean `error_cost` over the scouts, each cut at the limit.

    A query for which one set is over the limit opens it for itself, so how far over it is does
    not matter to the block. Without a tolerance an error of 1 is as bad as any.
    """

    def __init__(
        self, scouts: Scouts, control: Control, layout: TileLayout, *, native: bool = False
    ) -> None:
        self.scouts, self.control, self.layout = scouts, control, layout
        self.native = native
        self.worst = 1.0 if control.tolerance is None else control.limit
        self.shown = (scouts.lse < math.inf).sum(1)[:, None].clamp_min(1)

    def __call__(self, nodes: Summary) -> Float[Tensor, "h m"]:
        scouts = self.scouts
        if self.native:
            return scout_costs(*scouts, nodes, self.control, self.layout, self.worst)
        logits = torch.baddbmm(nodes.log_count[:, None], scouts.query, nodes.key.mT)
        log_mass = logits.sub_(scouts.lse[..., None])
        cost = error_cost(log_mass, scouts.query, risk_of(nodes, self.control, self.layout))
        mean: Tensor = cost.clamp_(max=self.worst).sum(1) / self.shown
        return mean
