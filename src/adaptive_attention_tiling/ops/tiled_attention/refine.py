"""What a single query opens beyond its block's plan, down the pyramid to the tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..softmax_attention import EMPTY
from .control import Control
from .layout import TileLayout
from .risk import error_cost, risk_of

if TYPE_CHECKING:
    from .read import ReadList

# (query, tile) pairs refined at once; bounds the scratch memory of a refinement.
_PAIRS_AT_ONCE = 16_384


class Rows(NamedTuple):
    """Queries to refine: their head [r], query [r, D], masses [r, m], output and normaliser."""

    head: Tensor
    query: Tensor
    mass: Tensor
    out: Tensor
    lse: Tensor


class Refined(NamedTuple):
    """Of each row: output, normaliser, error, tokens read, and nodes looked at."""

    out: Tensor
    lse: Tensor
    error: Tensor
    refined: Tensor
    visited: Tensor


class _Parts(NamedTuple):
    """What a row reads anew: the row, logits [p, l] less its lse, values [p, l, E], cost [p]."""

    owner: Tensor
    logits: Tensor
    values: Tensor
    cost: Tensor


def refine(
    rows: Rows,
    cost: Float[Tensor, "r m"],
    far: ReadList,
    control: Control,
    layout: TileLayout,
) -> Refined:
    """Open the costliest summaries of each row until the limit is met.

    Everything is a row-wise product or an ordered sum over one row's own nodes, so a row's result
    does not depend, to the bit, on which other rows are refined with it.
    """
    ordered, index = cost.sort(dim=-1, stable=True)
    kept = torch.zeros_like(cost, dtype=torch.bool)
    kept.scatter_(1, index, ordered.cumsum(-1) <= control.limit)
    spent = torch.where(kept, cost, 0.0).sum(-1)
    row, column = (~kept & (far.count[rows.head] > 0)).nonzero(as_tuple=True)
    base = torch.where(rows.lse == EMPTY, 0.0, rows.lse)
    node = far.node[rows.head[row], column]
    opened = _Opened(row, node, control.limit - spent, torch.zeros_like(base), [])
    opened = _descend(opened, rows, base, far, control, layout)
    parts = list(opened.means)
    for some in torch.arange(len(opened.row), device=row.device).split(_PAIRS_AT_ONCE):
        parts.append(_tokens(opened.row[some], opened.node[some], rows, base, far))

    with torch.no_grad():
        shift = torch.zeros_like(base)
        for part in parts:
            shift = shift.scatter_reduce(0, part.owner, part.logits.amax(-1), "amax")
    # The mass of the opened summaries leaves; that of what they hold, never less, comes.
    scale = (-shift).exp()
    gone = rows.mass[row, column] * scale[row]
    # `values` are sums over the tokens that `gone` is the mass of.
    place = (rows.head[row], column)
    each = gone / far.count[place]
    out = (rows.out * scale[:, None]).index_add(0, row, each[:, None] * far.values[place], alpha=-1)
    mass = scale.index_add(0, row, gone, alpha=-1)
    refined = torch.zeros_like(base)
    for part in parts:
        weight = (part.logits - shift[part.owner][:, None]).exp()
        out = out.index_add(0, part.owner, (weight[..., None] * part.values).sum(1))
        mass = mass.index_add(0, part.owner, weight.sum(-1))
        spent = spent.index_add(0, part.owner, part.cost)
    for part in parts[len(opened.means) :]:
        refined = refined.index_add(0, part.owner, (part.logits > EMPTY).to(base.dtype).sum(-1))
    growth = mass.log() + shift
    error = spent * (-growth.detach() * (1 if control.certified else 2)).exp()
    return Refined(out / mass[:, None], rows.lse + growth, error, refined, opened.visited)


class _Opened(NamedTuple):
    """Opened nodes of rows [p], what is left of each row's limit, and what was found on the way."""

    row: Tensor
    node: Tensor
    left: Tensor
    visited: Tensor
    means: list[_Parts]


def _descend(
    opened: _Opened,
    rows: Rows,
    base: Float[Tensor, " r"],
    far: ReadList,
    control: Control,
    layout: TileLayout,
) -> _Opened:
    """Replace opened nodes by their children, height after height, until only tiles are open.

    A child is read through its summary if it costs no more than an equal part of half of what is
    left of the row's limit.
    """
    row, node, left, visited, means = opened
    pyramid = far.store.pyramid
    repeat = len(far.node) // len(pyramid.scale)
    first = [sum(pyramid.sizes[:height]) for height in range(len(pyramid.sizes))]
    for height in reversed(range(1, len(first))):
        inner = node >= first[height]
        if not bool(inner.any()):
            continue
        children = pyramid.offspring[rows.head[row[inner]] // repeat, node[inner]]
        owner, child = row[inner].repeat_interleave(children.shape[1]), children.flatten()
        part = _means(owner, child, rows, base, far, control, layout)
        number = torch.zeros_like(left).index_add(0, owner, torch.ones_like(part.cost))
        closed = part.cost <= (left / (2 * number.clamp_min(1)))[owner]
        left = left.index_add(0, owner[closed], part.cost[closed], alpha=-1)
        visited = visited + number
        means.append(_Parts(*(x[closed] for x in part)))
        row = torch.cat([row[~inner], owner[~closed]])
        node = torch.cat([node[~inner], child[~closed]])
    return _Opened(row, node, left, visited, means)


def _means(
    owner: Int[Tensor, " p"],
    node: Int[Tensor, " p"],
    rows: Rows,
    base: Tensor,
    far: ReadList,
    control: Control,
    layout: TileLayout,
) -> _Parts:
    """Nodes read through their summaries, and what each costs its row."""
    nodes = far.store.pyramid.nodes
    at = node + rows.head[owner] // (len(far.node) // len(nodes.count)) * nodes.count.shape[1]
    summary = nodes.map(lambda x: x.flatten(0, 1).index_select(0, at)[:, None])
    query = rows.query.index_select(0, owner)[:, None]
    logits = (summary.key * query).sum(-1) + summary.log_count - base[owner][:, None]
    with torch.no_grad():
        risk = risk_of(summary, control, layout)
        cost = error_cost(logits[:, None], query, risk)[:, 0, 0]
    return _Parts(owner, logits, summary.value, cost)


def _tokens(
    row: Int[Tensor, " p"],
    tile: Int[Tensor, " p"],
    rows: Rows,
    base: Tensor,
    far: ReadList,
) -> _Parts:
    """The tokens of tiles, each a row's; they cost nothing."""
    store = far.store
    at = tile + rows.head[row] // (len(far.node) // len(store.keys)) * len(store)
    keys, values, member = (
        x.flatten(0, 1).index_select(0, at) for x in (store.keys, store.values, store.valid)
    )
    logits = (keys * rows.query.index_select(0, row)[:, None]).sum(-1)
    logits = torch.where(member, logits - base[row][:, None], EMPTY)
    return _Parts(row, logits, values, base.new_zeros(len(row)))
