"""Reading the far field of one block of queries along a plan: vectorised torch, any device."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..softmax_attention import EMPTY, Partial, partial_attention
from .control import Control
from .layout import TileLayout
from .plan import EXACT, GROUP, TILE, Risk, error_cost, risk_of
from .tiles import TileStore, join_nodes

# (query, tile) pairs refined at once; bounds the scratch memory of a refinement.
_PAIRS_AT_ONCE = 16_384
_FEW_QUERIES = 8
# Masses relative to the near field beyond this are computed again from the highest logit: their
# squares, times the largest risk, would overflow in float32.
_LARGEST_MASS = 1e12


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
    """All that a block of queries reads of the far field: m summaries and some tokens a head.

    keys [h, m, D] are means, values [h, m, E] sums over the count [h, m] tokens of a summary; it
    stands for `tiles` [h, m] tiles from `first_tile` [h, m] on. Padding has count and tiles 0.
    exact holds, for each head, the keys [x, D], the values [x, E] and the bias [x] (or None) of
    the tokens that it reads exactly.
    """

    keys: Tensor
    values: Tensor
    count: Tensor
    risk: Risk
    first_tile: Tensor
    tiles: Tensor
    exact: list[tuple[Tensor, Tensor, Tensor | None]]
    store: TileStore

    @functools.cached_property
    def exact_padded(self) -> tuple[Tensor, Tensor, Tensor]:
        """`exact` as keys [h, 1, x, D], values [h, 1, x, E] and bias [h, 1, 1, x] of all heads."""
        keys = pad_sequence([key for key, _, _ in self.exact], batch_first=True)
        values = pad_sequence([value for _, value, _ in self.exact], batch_first=True)
        shown = [
            torch.zeros(len(key), dtype=key.dtype, device=key.device) if bias is None else bias
            for key, _, bias in self.exact
        ]
        bias = pad_sequence(shown, batch_first=True, padding_value=EMPTY)
        return keys[:, None], values[:, None], bias[:, None, None]


def compile_list(
    levels: Int[Tensor, "h M"], store: TileStore, control: Control, layout: TileLayout
) -> ReadList:
    """Gather what `levels` names."""
    heads, tiles = levels.shape
    repeat = heads // len(store.keys)
    read = join_nodes(levels == TILE, (levels == GROUP)[:, :: layout.group], layout)
    closed = _padded_lists(read if layout.rest == "mean" else torch.zeros_like(read))
    first, size = _spans(tiles, layout, levels.device)
    head = torch.arange(heads, device=levels.device)[:, None] // repeat
    rows = (closed.at + head * store.nodes.count.shape[1]).view(-1)

    def summary(x: Tensor) -> Tensor:
        return x.flatten(0, 1).index_select(0, rows).view(heads, -1, *x.shape[2:])

    count = summary(store.nodes.count) * closed.used
    return ReadList(
        summary(store.nodes.key),
        summary(store.nodes.value) * count[..., None],
        count,
        risk_of(store.nodes, control, layout).map(summary),
        first[closed.at],
        size[closed.at] * closed.used,
        _exact_tokens(levels == EXACT, store, repeat, layout),
        store,
    )


def _exact_tokens(
    exact: Bool[Tensor, "h M"], store: TileStore, repeat: int, layout: TileLayout
) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    head, tile = exact.nonzero(as_tuple=True)
    rows = tile + head // repeat * len(store)
    keys, values, valid = (
        x.flatten(2).flatten(0, 1).index_select(0, rows).view(-1, *x.shape[3:])
        for x in (store.keys, store.values, store.valid)
    )
    sizes = (exact.sum(-1) * layout.tile).tolist()
    biases: list[Tensor | None] = [None] * len(sizes)
    if not bool(valid.all()):
        bias = keys.new_zeros(valid.shape).masked_fill(~valid, EMPTY)
        biases = list(bias.split(sizes))
    return list(zip(keys.split(sizes), values.split(sizes), biases, strict=True))


@functools.lru_cache(maxsize=64)
def _spans(tiles: int, layout: TileLayout, device: torch.device) -> tuple[Tensor, Tensor]:
    """For every node over the first `tiles` tiles: the first tile it stands for, and how many."""
    index = torch.arange(tiles, device=device)[None]
    starts = index[:, :: layout.group]
    first = join_nodes(index, starts, layout)[0]
    count = join_nodes(torch.ones_like(index), torch.full_like(starts, layout.group), layout)[0]
    return first, count


class _Lists(NamedTuple):
    """Positions [h, longest] of each row's entries, and which of them are not padding."""

    at: Tensor
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


def read_far(
    query: Float[Tensor, "h t D"],
    near: Partial,
    far: ReadList,
    control: Control,
    layout: TileLayout,
) -> FarRead:
    """Attention over the near part, the exact tiles and the summaries, refined per query.

    Under a tolerance, the summaries whose error is too large for this very query are replaced by
    their tokens; that depends on nothing but the query and what it may see.
    """
    tokens = _exact_part(query, far)
    logits = torch.bmm(query, far.keys.mT)
    base = near.lse.detach()
    read = _combine(logits, base, near, tokens, far)
    lost = ~(read.mass < _LARGEST_MASS)
    if bool(lost.any()):
        # A far logit is far above the near field, or there is no near field.
        # Other queries keep their base, and so every bit of their result.
        seen = logits.masked_fill(far.count[:, None] == 0, EMPTY).detach()
        tops = [near.lse, tokens.lse, *([seen.amax(-1)] if seen.shape[-1] else [])]
        highest = torch.stack(tops).amax(0).detach()
        base = torch.where(lost, torch.where(highest == EMPTY, 0.0, highest), base)
        read = _combine(logits, base, near, tokens, far)
    blind = read.mass == 0
    mass = torch.where(blind, 1.0, read.mass)
    out = read.out / mass[..., None]
    lse = torch.where(blind, EMPTY, base + mass.log())

    with torch.no_grad():
        cost = error_cost(logits + far.count.log()[:, None] - lse[..., None], query, far.risk)
        error = cost.sum(-1)
    refined = torch.zeros_like(lse)
    if control.tolerance is not None and layout.rest == "mean":
        over = error > control.limit
        if bool(over.any()):
            at = over.nonzero(as_tuple=True)
            head = at[0]
            shares = read.weights[at] * far.count[head] / mass[at][:, None]
            rows = _Rows(head, query[at], shares, out[at], lse[at])
            changed = _refine(rows, cost[at], far, control, layout)
            out, lse = out.index_put(at, changed.out), lse.index_put(at, changed.lse)
            error = error.index_put(at, changed.error)
            refined = refined.index_put(at, changed.refined)
    return FarRead(out, lse, error if control.certified else error.sqrt(), refined)


class _Sum(NamedTuple):
    """Sums relative to exp(base): weights [h, t, m] of one token of each summary, out and mass."""

    weights: Tensor
    out: Tensor
    mass: Tensor


def _combine(logits: Tensor, base: Tensor, near: Partial, tokens: Partial, far: ReadList) -> _Sum:
    weights = (logits - base[..., None]).exp_()
    near_share, token_share = (near.lse - base).exp(), (tokens.lse - base).exp()
    mass = torch.bmm(weights, far.count[..., None])[..., 0] + near_share + token_share
    out = torch.bmm(weights, far.values)
    out = torch.addcmul(out, near_share[..., None], near.out)
    return _Sum(weights, torch.addcmul(out, token_share[..., None], tokens.out), mass)


def _exact_part(query: Tensor, far: ReadList) -> Partial:
    """Attention over the tokens that each head reads exactly.

    A head may read many times what another does, so whole blocks of queries go head by head; for
    a few queries the calls would cost more than the padding.
    """
    heads, length, _ = query.shape
    if length <= _FEW_QUERIES:
        keys, values, bias = far.exact_padded
        part = partial_attention(query[:, None], keys, values, bias=bias)
        return Partial(part.out[:, 0], part.lse[:, 0])
    width = far.values.shape[-1]
    parts = []
    for head, (key, value, hidden) in enumerate(far.exact):
        parts.append(
            partial_attention(
                query[head][None, None],
                key[None, None],
                value[None, None],
                bias=None if hidden is None else hidden[None, None, None],
            )
        )
    out = torch.cat([part.out for part in parts]).view(heads, length, width)
    return Partial(out, torch.cat([part.lse for part in parts]).view(heads, length))


class _Rows(NamedTuple):
    """Queries to refine: their head, query, masses [r, m], output and normaliser."""

    head: Tensor
    query: Tensor
    mass: Tensor
    out: Tensor
    lse: Tensor


def _refine(
    rows: _Rows,
    cost: Float[Tensor, "r m"],
    far: ReadList,
    control: Control,
    layout: TileLayout,
) -> FarRead:
    """Replace the costliest summaries of each row by their tokens until the limit is met.

    Everything is a row-wise product or an ordered sum over one row's own tiles, so a row's result
    does not depend, to the bit, on which other rows are refined with it.
    """
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
    # `values` are sums over the tokens that `gone` is the mass of.
    place = (rows.head[row], column)
    each = gone / far.count[place]
    out = out.index_add(0, row, each[:, None] * far.values[place], alpha=-1)
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
