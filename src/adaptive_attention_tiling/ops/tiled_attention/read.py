"""Reading the far field of one block of queries along a plan: vectorised torch, any device."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..softmax_attention import EMPTY, Partial, partial_attention
from .control import Control
from .cut import Cut, padded_lists
from .layout import TileLayout
from .refine import Rows, refine
from .risk import Risk, error_cost, risk_of
from .store import TileStore

_FEW_QUERIES = 8
# Masses relative to the near field beyond this are computed again from the highest logit: their
# squares, times the largest risk, would overflow in float32.
_LARGEST_MASS = 1e12


class FarRead(NamedTuple):
    """Attention over everything visible, and what it took.

    out [h, t, E]; lse [h, t]; error [h, t] in units of the largest value norm; refined [h, t]:
    far tokens read exactly for this query beyond the block's plan, and visited [h, t]: nodes that
    it looked at to find them.
    """

    out: Tensor
    lse: Tensor
    error: Tensor
    refined: Tensor
    visited: Tensor


@dataclass(frozen=True)
class ReadList:
    """All that a block of queries reads of the far field: m summaries and some tokens a head.

    keys [h, m, D] are means, values [h, m, E] sums over the count [h, m] tokens of a summary, which
    is number node [h, m] of the pyramid. Padding has count 0.
    exact holds, for each head, the keys [x, D], the values [x, E] and the bias [x] (or None) of
    the tokens that it reads exactly.
    """

    keys: Tensor
    values: Tensor
    count: Tensor
    risk: Risk
    node: Tensor
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


def compile_list(cut: Cut, store: TileStore, control: Control, layout: TileLayout) -> ReadList:
    """Gather what a cut names."""
    repeat = len(cut.exact) // len(store.keys)
    read = cut.closed if layout.rest == "mean" else torch.zeros_like(cut.closed)
    closed = padded_lists(read)
    nodes = store.pyramid.nodes.picked(closed.at)
    count = nodes.count * closed.used
    return ReadList(
        nodes.key,
        nodes.value * count[..., None],
        count,
        risk_of(nodes, control, layout),
        closed.at,
        _exact_tokens(cut.exact, store, repeat, layout),
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
    refined = visited = torch.zeros_like(lse)
    if control.tolerance is not None and layout.rest == "mean":
        over = error > control.limit
        if bool(over.any()):
            at = over.nonzero(as_tuple=True)
            head = at[0]
            shares = read.weights[at] * far.count[head] / mass[at][:, None]
            rows = Rows(head, query[at], shares, out[at], lse[at])
            changed = refine(rows, cost[at], far, control, layout)
            out, lse = out.index_put(at, changed.out), lse.index_put(at, changed.lse)
            error = error.index_put(at, changed.error)
            refined = refined.index_put(at, changed.refined)
            visited = visited.index_put(at, changed.visited)
    return FarRead(out, lse, error if control.certified else error.sqrt(), refined, visited)


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
