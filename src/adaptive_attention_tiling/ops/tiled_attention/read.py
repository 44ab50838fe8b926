"""Reading the far field of one block of queries along a plan: vectorised torch, any device."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..softmax_attention import EMPTY, Partial, merge, partial_attention
from .control import Control
from .layout import TileLayout
from .plan import EXACT, GROUP, TILE, Risk, error_cost, error_total
from .tiles import TileStore, join_nodes

# Heads are sorted by how many tiles they read exactly and go through the kernel in this many
# parts, so that a head that reads little is not padded to one that reads much.
_PARTS = 3
# (query, tile) pairs refined at once; bounds the scratch memory of a refinement.
_PAIRS_AT_ONCE = 16_384


class FarRead(NamedTuple):
    """Attention over everything visible, and what it took.

    out [h, t, E]; lse [h, t]; error [h, t] in units of the largest value norm; refined [h, t]:
    far tokens read exactly for this query beyond the block's plan.
    """

    out: Tensor
    lse: Tensor
    error: Tensor
    refined: Tensor


@dataclass(frozen=True)
class ReadList:
    """All that a block of queries reads of the far field: m summaries and x exact tiles a head.

    keys, values [h, m, *] with bias [h, m] = log count are summaries; exact_keys, exact_values
    [h, x L, *] with exact_bias [h, x L] are tokens; exact_tiles [h] counts those of each head.
    Summary m stands for `tiles` [h, m] tiles from `first_tile` [h, m] on; 0 tiles are padding.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor
    risk: Risk
    first_tile: Tensor
    tiles: Tensor
    exact_keys: Tensor
    exact_values: Tensor
    exact_bias: Tensor
    exact_tiles: Tensor
    store: TileStore


def compile_list(
    levels: Int[Tensor, "h M"], store: TileStore, risk: Risk, layout: TileLayout
) -> ReadList:
    """Gather what `levels` names; `risk` is that of the store's nodes."""
    heads, tiles = levels.shape
    repeat = heads // len(store.keys)
    read = join_nodes(levels == TILE, (levels == GROUP)[:, :: layout.group], layout)
    closed = _padded_lists(read if layout.rest == "mean" else torch.zeros_like(read))
    first, size = _spans(tiles, layout, levels.device)
    rows = _rows(closed.index, repeat, store.nodes.count.shape[1])
    exact = _padded_lists(levels == EXACT)
    places = _rows(exact.index, repeat, len(store))

    def summary(x: Tensor) -> Tensor:
        return x.flatten(0, 1).index_select(0, rows).view(heads, -1, *x.shape[2:])

    def tokens(x: Tensor) -> Tensor:
        wide = x.flatten(2).flatten(0, 1).index_select(0, places)
        return wide.view(heads, -1, *x.shape[3:])

    hidden = ~(tokens(store.valid) & exact.used.repeat_interleave(layout.tile, 1))
    return ReadList(
        summary(store.nodes.key),
        summary(store.nodes.value),
        summary(store.nodes.count).log().masked_fill(~closed.used, EMPTY),
        risk.pick(closed.index),
        first[closed.index],
        size[closed.index] * closed.used,
        tokens(store.keys),
        tokens(store.values),
        store.keys.new_zeros(hidden.shape).masked_fill(hidden, EMPTY),
        exact.used.sum(-1),
        store,
    )


@functools.lru_cache(maxsize=64)
def _spans(tiles: int, layout: TileLayout, device: torch.device) -> tuple[Tensor, Tensor]:
    """For every node over the first `tiles` tiles: the first tile it stands for, and how many."""
    index = torch.arange(tiles, device=device)[None]
    starts = index[:, :: layout.group]
    first = join_nodes(index, starts, layout)[0]
    count = join_nodes(torch.ones_like(index), torch.full_like(starts, layout.group), layout)[0]
    return first, count


class _Lists(NamedTuple):
    index: Tensor
    used: Tensor


def _padded_lists(mask: Bool[Tensor, "h M"]) -> _Lists:
    """The positions of each row's true entries, padded with 0 to the longest row."""
    count = mask.sum(-1)
    longest = int(count.max()) if mask.numel() else 0
    row, column = mask.nonzero(as_tuple=True)
    place = torch.arange(len(row), device=mask.device) - (count.cumsum(0) - count)[row]
    index = torch.zeros(len(mask), longest, dtype=torch.long, device=mask.device)
    index[row, place] = column
    return _Lists(index, torch.arange(longest, device=mask.device) < count[:, None])


def _rows(index: Int[Tensor, "h m"], repeat: int, sets: int) -> Int[Tensor, " hm"]:
    """Rows of a flattened [n * sets, ...] array; query head h reads key head h // repeat."""
    head = torch.arange(len(index), device=index.device)[:, None] // repeat
    return (index + head * sets).view(-1)


def read_far(
    query: Float[Tensor, "h t D"], near: Partial, far: ReadList, control: Control, layout: TileLayout
) -> FarRead:
    """Attention over the near part, the exact tiles and the summaries, refined per query.

    Under a tolerance, the summaries whose estimated error is too large for this very query are
    replaced by their tokens; it depends on nothing but the query and what it may see.
    """
    logits = torch.baddbmm(far.bias[:, None], query, far.keys.mT)
    log_mass = logits.clone() if control.certified else None
    top = logits.detach().amax(-1, keepdim=True) if logits.shape[-1] else logits.sum(-1, True)
    top = torch.where(top == EMPTY, 0.0, top)
    weights = logits.sub_(top).exp_()
    normaliser = weights.sum(-1)
    floor = torch.finfo(normaliser.dtype).tiny
    summaries = Partial(
        torch.bmm(weights, far.values) / normaliser.clamp_min(floor)[..., None],
        normaliser.log() + top[..., 0],
    )
    out, lse = merge([near, summaries, _exact_part(query, far)])

    with torch.no_grad():
        base = torch.where(lse == EMPTY, 0.0, lse)
        share = (top[..., 0] - base).exp()
        norm = query.norm(dim=-1)
        if log_mass is not None:
            log_mass.sub_(base[..., None])
        total = error_total(weights, log_mass, far.risk, norm)
        total = total if control.certified else total * share.square()
    refined = torch.zeros_like(lse)
    if control.tolerance is not None and layout.rest == "mean" and layout.tile > 1:
        over = total > control.limit
        if bool(over.any()):
            head, row = over.nonzero(as_tuple=True)
            mass = weights[head, row] * share[head, row][:, None]
            rows = _Rows(head, row, query[head, row], mass, out[head, row], lse[head, row])
            log_rows = mass.log() if log_mass is None else log_mass[head, row]
            changed = _refine(rows, log_rows.detach(), norm[head, row], far, control, layout)
            place = (head, row)
            out, lse = out.index_put(place, changed.out), lse.index_put(place, changed.lse)
            total, refined = total.index_put(place, changed.error), refined.index_put(
                place, changed.refined
            )
    return FarRead(out, lse, total if control.certified else total.sqrt(), refined)


def _exact_part(query: Tensor, far: ReadList) -> Partial:
    """Attention over the exact tiles, heads of similar need together."""
    heads, length, _ = query.shape
    tile = far.store.keys.shape[2]
    if far.exact_keys.shape[1] == 0:
        out = query.new_zeros(heads, length, far.exact_values.shape[-1])
        return Partial(out, query.new_full((heads, length), EMPTY))
    by_need = far.exact_tiles.argsort(descending=True)
    outs, lses = [], []
    for chosen in by_need.split(-(-heads // _PARTS)):
        size = int(far.exact_tiles[chosen].max()) * tile
        part = partial_attention(
            query[chosen][None],
            far.exact_keys[chosen, :size][None],
            far.exact_values[chosen, :size][None],
            bias=far.exact_bias[chosen, :size][None, :, None],
        )
        outs.append(part.out[0])
        lses.append(part.lse[0])
    back = by_need.argsort()
    return Partial(torch.cat(outs)[back], torch.cat(lses)[back])


class _Rows(NamedTuple):
    """Queries to refine: their head, place, query, masses [r, m], output and normaliser."""

    head: Tensor
    row: Tensor
    query: Tensor
    mass: Tensor
    out: Tensor
    lse: Tensor


def _refine(
    rows: _Rows,
    log_mass: Float[Tensor, "r m"],
    query_norm: Float[Tensor, " r"],
    far: ReadList,
    control: Control,
    layout: TileLayout,
) -> FarRead:
    """Replace the costliest summaries of each row by their tokens until the limit is met.

    Everything is a row-wise product or an ordered sum over one row's own tiles, so a row's result
    does not depend, to the bit, on which other rows are refined with it.
    """
    risk = Risk(**{k: None if x is None else x[rows.head] for k, x in vars(far.risk).items()})
    cost = error_cost(log_mass[:, None], risk, query_norm[:, None])[:, 0]
    ordered, index = cost.sort(dim=-1, stable=True)
    kept = torch.zeros_like(cost, dtype=torch.bool)
    kept.scatter_(1, index, ordered.cumsum(-1) <= control.limit)
    opened = ~kept & (far.tiles[rows.head] > 0)
    row, column = opened.nonzero(as_tuple=True)
    base = torch.where(rows.lse == EMPTY, 0.0, rows.lse)

    tokens = [
        _tokens_of(row[at], column[at], rows, base, far, layout)
        for at in torch.arange(len(row), device=row.device).split(_PAIRS_AT_ONCE)
    ]
    owner = torch.cat([t.owner for t in tokens])
    with torch.no_grad():
        peak = torch.cat([t.logits.amax(-1) for t in tokens])
        shift = torch.zeros_like(base).scatter_reduce(0, owner, peak, "amax")
    # The mass of the opened summaries leaves; that of their tokens, never less, comes.
    scale = (-shift).exp()
    gone = rows.mass[row, column] * scale[row]
    out = rows.out * scale[:, None]
    out = out.index_add(0, row, gone[:, None] * far.values[rows.head[row], column], alpha=-1)
    mass = scale.index_add(0, row, gone, alpha=-1)
    for part in tokens:
        weight = (part.logits - shift[part.owner][:, None]).exp()
        out = out.index_add(0, part.owner, (weight[..., None] * part.values).sum(1))
        mass = mass.index_add(0, part.owner, weight.sum(-1))
    growth = mass.log() + shift
    error = torch.where(kept, cost, 0.0).sum(-1)
    error = error * (-growth * (1 if control.certified else 2)).exp()
    refined = torch.zeros_like(base)
    for part in tokens:
        refined = refined.index_add(0, part.owner, (part.logits > EMPTY).to(base.dtype).sum(-1))
    return FarRead(out / mass[:, None], rows.lse + growth, error.detach(), refined)


class _Tokens(NamedTuple):
    """Tokens of opened tiles: the row that opened them, logits less its lse, and values."""

    owner: Tensor
    logits: Tensor
    values: Tensor


def _tokens_of(
    row: Tensor, column: Tensor, rows: _Rows, base: Tensor, far: ReadList, layout: TileLayout
) -> _Tokens:
    head = rows.head[row]
    count = far.tiles[head, column]
    owner = row.repeat_interleave(count)
    step = torch.arange(len(owner), device=row.device)
    within = step - (count.cumsum(0) - count).repeat_interleave(count)
    tile = far.first_tile[head, column].repeat_interleave(count) + within
    store = far.store
    repeat = len(far.tiles) // len(store.keys)
    at = tile + rows.head[owner] // repeat * len(store)
    keys, values, member = (
        x.flatten(0, 1).index_select(0, at) for x in (store.keys, store.values, store.valid)
    )
    logits = (keys * rows.query.index_select(0, owner)[:, None]).sum(-1)
    logits = torch.where(member, logits - base[owner][:, None], EMPTY)
    return _Tokens(owner, logits, values)
