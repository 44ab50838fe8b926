"""Tiled attention in loops, one query and one set of tokens at a time, to be checked by eye.

It shares with the fast path only what is a definition, not a computation: which tokens form a
tile (`order_block`) and which tiles a node of the pyramid (`Pyramid.children`), which of them cover
a far field (`cover`), and which queries are scouts (`scout_rows`). Sums, summaries, errors, the
descent and refinements are written out again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .block import query_scale, scout_rows
from .control import Control
from .cut import DROPPED, EXACT, UPPER_SHARE
from .layout import TileLayout
from .pyramid import cover
from .read import FarRead
from .risk import TAIL
from .store import TileStore, build_store
from .stream import BlockRead
from .tiles import order_block


@dataclass
class _Set:
    """The tokens of a tile or of a node above, how they are summarised, and what it is made of."""

    tokens: list[int]
    key: Tensor
    value: Tensor
    variance: Tensor
    radius: Tensor
    spread: Tensor
    children: list[int]  # of the height below; none for a tile


@dataclass
class _Head:
    """One query head of one sequence with the keys that it reads."""

    query: Tensor
    key: Tensor
    value: Tensor
    valid: Tensor
    sinks: list[int]
    heights: list[list[_Set]]
    lse: Tensor


def reference_tiled_attention(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G S D"],
    value: Float[Tensor, "B G S E"],
    valid: Bool[Tensor, "B S"] | None,
    control: Control,
    layout: TileLayout,
    resolution: Float[Tensor, "h blocks M"] | None,
    *,
    is_causal: bool,
) -> tuple[list[BlockRead], TileStore | None]:
    """All queries of a call on scaled queries; see `tiled_attention` for the arguments."""
    if valid is None:
        valid = torch.ones(key.shape[0], key.shape[2], dtype=torch.bool, device=key.device)
    store = _cut(query, key, value, valid, layout, is_causal=is_causal)
    heads = _heads(query, key, value, valid, store, layout)
    size, length, keys = layout.super_block, query.shape[2], key.shape[2]
    pieces = []
    for block in range(-(-length // size)):
        rows = range(block * size, min(length, (block + 1) * size))
        first = max(0, (block - layout.neighbours) * size)
        last = rows.stop if is_causal else min(keys, (block + layout.neighbours + 1) * size)
        near = range(first, last) if is_causal or length == keys else range(0)
        far = _far_blocks(block, near, store, layout, is_causal=is_causal)
        cuts = None
        if not is_causal or any(far):
            asked = None if resolution is None else resolution[:, block]
            cuts = _plan(heads, rows, near, far, store, control, layout, asked, is_causal=is_causal)
        outs, errors, refined, visited = [], [], [], []
        for number, head in enumerate(heads):
            cut = None if cuts is None else cuts[number]
            for i in rows:
                seen = range(near.start, min(near.stop, i + 1)) if is_causal else near
                tokens = [j for j in [*head.sinks, *seen] if head.valid[j]]
                # A sink inside the near field is there already; a later sink is not yet seen.
                tokens = sorted({j for j in tokens if j in seen or j < near.start or not is_causal})
                read = _read(head, i, tokens, cut, control, layout)
                head.lse[i] = read.lse
                outs.append(read.out)
                errors.append(read.error)
                refined.append(read.opened)
                visited.append(read.visited)
        shape = (len(heads), len(rows))
        far_read = FarRead(
            torch.stack(outs).unflatten(0, shape),
            torch.stack([head.lse[rows.start : rows.stop] for head in heads]),
            torch.stack(errors).view(shape),
            *(torch.tensor(x, dtype=query.dtype).view(shape) for x in (refined, visited)),
        )
        levels = looked = mask = None
        if cuts is not None:
            tiles = len(far) * layout.tiles_per_block
            levels = partial(_levels_of, cuts, heads, tiles)
            looked = query.new_tensor([cut.looked for cut in cuts])
            mask = torch.tensor(far).repeat_interleave(layout.tiles_per_block)
        pieces.append(BlockRead(block, levels, looked, mask, far_read))
    return pieces, store


@dataclass
class _Cut:
    """What a head reads of the far field: nodes (height, number) closed, and tiles exactly."""

    closed: list[tuple[int, int]]
    exact: list[int]
    looked: int


@dataclass
class _Read:
    """One query: output, log normaliser, error, tokens opened and nodes visited beyond the plan."""

    out: Tensor
    lse: Tensor
    error: Tensor
    opened: int = 0
    visited: int = 0


def _levels_of(cuts: list[_Cut], heads: list[_Head], tiles: int) -> Tensor:
    return torch.stack([_levels(cut, head)[:tiles] for cut, head in zip(cuts, heads, strict=True)])


def _levels(cut: _Cut, head: _Head) -> Tensor:
    """The level of each tile: by its own node, or by one above."""
    levels = torch.full((len(head.heights[0]),), DROPPED, dtype=torch.int8)
    levels[cut.exact] = EXACT
    for height, number in cut.closed:
        below = [number]
        for lower in range(height, 0, -1):
            below = [c for name in below for c in head.heights[lower][name].children]
        levels[below] = height + 1
    return levels


def _read(
    head: _Head,
    i: int,
    tokens: list[int],
    cut: _Cut | None,
    control: Control,
    layout: TileLayout,
) -> _Read:
    query = head.query[i]
    if cut is None:
        out, lse = _softmax(query, tokens, [], head)
        return _Read(out, lse, torch.zeros_like(lse))
    tokens = tokens + [j for tile in cut.exact for j in head.heights[0][tile].tokens]
    names = cut.closed if layout.rest == "mean" else []
    names = [name for name in names if _set(head, name).tokens]
    summaries = [_set(head, name) for name in names]
    out, lse = _softmax(query, tokens, summaries, head)
    if control.tolerance is None or layout.rest == "drop":
        return _Read(out, lse, _total(query, summaries, lse, control, layout))
    # From the dearest summary on, read what it holds until the others cost no more than the limit.
    cost = [_cost(query, s, lse, control, layout).detach() for s in summaries]
    order = sorted(range(len(cost)), key=lambda m: float(cost[m]))
    kept, spent = [], 0.0
    for m in order:
        if spent + float(cost[m]) > control.limit:
            break
        spent += float(cost[m])
        kept.append(m)
    if len(kept) == len(summaries):
        return _Read(out, lse, _total(query, summaries, lse, control, layout))
    open_nodes = [names[m] for m in order[len(kept) :]]
    summaries = [summaries[m] for m in kept]
    left, visited = control.limit - spent, 0
    for height in range(len(head.heights) - 1, 0, -1):
        inner = [name for name in open_nodes if name[0] == height]
        below = [(height - 1, c) for name in inner for c in _set(head, name).children]
        visited += len(below)
        open_nodes = [name for name in open_nodes if name[0] != height]
        share = left / (2 * max(1, len(below)))
        for name in below:
            price = float(_cost(query, _set(head, name), lse, control, layout).detach())
            if price <= share:
                summaries.append(_set(head, name))
                left -= price
            else:
                open_nodes.append(name)
    opened = [j for _, tile in open_nodes for j in head.heights[0][tile].tokens]
    summaries = [s for s in summaries if s.tokens]
    out, after = _softmax(query, tokens + opened, summaries, head)
    power = 1 if control.certified else 2
    total = (control.limit - left) * (power * (lse - after).detach()).exp()
    error = total if control.certified else total.sqrt()
    return _Read(out, after, error, len(opened), visited)


def _set(head: _Head, name: tuple[int, int]) -> _Set:
    return head.heights[name[0]][name[1]]


def _softmax(
    query: Tensor, tokens: list[int], summaries: list[_Set], head: _Head
) -> tuple[Tensor, Tensor]:
    """sum_j w_j v_j and log sum of the weights; a summary weighs as its count of tokens."""
    logits = [query @ head.key[j] for j in tokens]
    logits += [query @ s.key + math.log(len(s.tokens)) for s in summaries]
    values = [head.value[j] for j in tokens] + [s.value for s in summaries]
    if not logits:
        return torch.zeros_like(head.value[0]), query.new_tensor(-math.inf)
    stacked = torch.stack(logits)
    return stacked.softmax(0) @ torch.stack(values), stacked.logsumexp(0)


def _cost(query: Tensor, s: _Set, lse: Tensor, control: Control, layout: TileLayout) -> Tensor:
    """What reading `s` through its mean adds to the error of a query, in the limit's unit."""
    if not s.tokens:
        return torch.zeros_like(lse)
    mass = (query @ s.key + math.log(len(s.tokens)) - lse).exp()
    if layout.rest == "drop":
        return mass.square()
    if not control.certified:
        variance = query.square() @ s.variance
        largest = (TAIL * variance).sqrt()
        growth = mass * (torch.expm1(largest) - largest) / TAIL
        return mass.square() * variance + growth.square()
    norm = torch.linalg.vector_norm(query)
    a, spread = norm * s.radius, norm * s.spread
    bennett = torch.where(a < 1e-4, 0.5, (torch.expm1(a) - a) / a.square())
    bound: Tensor = 2 * mass * (spread.square() * bennett + spread)
    return bound


def _total(
    query: Tensor,
    summaries: list[_Set],
    lse: Tensor,
    control: Control,
    layout: TileLayout,
) -> Tensor:
    """The error of a query that reads the given sets through their means."""
    total = sum((_cost(query, s, lse, control, layout) for s in summaries), torch.zeros_like(lse))
    total = total.detach()
    return total if control.certified else total.sqrt()


def _plan(
    heads: list[_Head],
    rows: range,
    near: range,
    far: list[bool],
    store: TileStore | None,
    control: Control,
    layout: TileLayout,
    resolution: Tensor | None,
    *,
    is_causal: bool,
) -> list[_Cut]:
    """A cut for each head: scouts are the queries of the block before, or its own if not causal."""
    assert store is not None
    before = rows.start - layout.super_block if is_causal else rows.start
    size = layout.super_block if is_causal else len(rows)
    scouts = [before + int(r) for r in scout_rows(size, layout.scouts)]
    every = far + [False] * (store.pyramid.scale.shape[1] - len(far))
    masks = cover(torch.tensor(every), store.pyramid.sizes, layout)
    roots = [
        [(height, int(number)) for number in mask.nonzero()[:, 0]]
        for height, mask in enumerate(masks)
    ]
    if control.reads_all:
        resolution = torch.ones(len(heads), store.pyramid.sizes[0])
    if resolution is not None:
        return [
            _by_resolution(head, roots, asked.tolist(), layout)
            for head, asked in zip(heads, resolution, strict=True)
        ]
    worst = 1.0 if control.tolerance is None else control.limit
    prices: list[Callable[[_Set], float]] = []
    for head in heads:
        # Padding does not plan; cross attention knows no padding of its queries.
        shown = [i for i in scouts if len(head.valid) != len(head.query) or head.valid[i]]
        lses = {i: head.lse[i] for i in shown}
        if not is_causal:
            seen = sorted({j for j in [*head.sinks, *near] if head.valid[j]})
            sets = [_set(head, name) for names in roots for name in names]
            sets = [s for s in sets if s.tokens]
            lses = {i: _softmax(head.query[i], seen, sets, head)[1] for i in shown}

        def price(s: _Set, head: _Head = head, lses: dict[int, Tensor] = lses) -> float:
            each = [
                _cost(head.query[i], s, lse, control, layout).detach().clamp(max=worst)
                for i, lse in lses.items()
            ]
            return float(torch.stack(each).mean()) if each else 0.0

        prices.append(price)
    if control.tolerance is not None:
        return [
            _by_tolerance(head, roots, price, control.limit)
            for head, price in zip(heads, prices, strict=True)
        ]
    return _by_budget(heads, roots, prices, control)


def _by_tolerance(
    head: _Head,
    roots: list[list[tuple[int, int]]],
    price: Callable[[_Set], float],
    limit: float,
) -> _Cut:
    """The cheapest stay closed: up to `UPPER_SHARE` of what is left of the limit; tiles, all."""
    cut, opened = _Cut([], [], 0), list[tuple[int, int]]()
    for height in range(len(head.heights) - 1, -1, -1):
        active = roots[height] + [(height, c) for name in opened for c in _set(head, name).children]
        cut.looked += len(active)
        opened, spent = [], 0.0
        allowed = UPPER_SHARE * limit if height else limit
        for cost, name in sorted((price(_set(head, name)), name) for name in active):
            spent += cost
            if spent <= allowed:
                cut.closed.append(name)
                limit -= cost
            else:
                opened.append(name)
    cut.exact = [tile for _, tile in opened]
    return cut


def _by_budget(
    heads: list[_Head],
    roots: list[list[tuple[int, int]]],
    prices: list[Callable[[_Set], float]],
    control: Control,
) -> list[_Cut]:
    """The dearest tiles of all heads of a sequence are opened, up to a part of the far tokens."""
    assert control.budget is not None
    cuts = []
    for valid in {id(head.valid): head.valid for head in heads}.values():
        mine = [n for n, head in enumerate(heads) if head.valid is valid]
        tiles = _below(heads[mine[0]], roots)
        looked = sum(len(_below(heads[mine[0]], roots, height)) for height in range(len(roots)))
        each = {n: _Cut([], [], looked) for n in mine}
        ranked = sorted(
            (-prices[n](heads[n].heights[0][tile]), n, tile) for n in mine for tile in tiles
        )
        count = {(n, tile): len(heads[n].heights[0][tile].tokens) for _, n, tile in ranked}
        spent, total = 0, sum(count.values())
        for _, n, tile in ranked:
            spent += count[n, tile]
            if spent <= control.budget * total:
                each[n].exact.append(tile)
            else:
                each[n].closed.append((0, tile))
        cuts += list(each.values())
    return cuts


def _below(head: _Head, roots: list[list[tuple[int, int]]], lowest: int = 0) -> list[int]:
    """The nodes of height `lowest` that the roots are, or stand for."""
    names: list[tuple[int, int]] = []
    for height in range(len(roots) - 1, lowest - 1, -1):
        names = [(height, c) for name in names for c in _set(head, name).children] + roots[height]
    return [number for _, number in names]


def _by_resolution(
    head: _Head, roots: list[list[tuple[int, int]]], asked: list[float], layout: TileLayout
) -> _Cut:
    """The coarsest nodes that read at least the rows asked for of each of their tiles."""
    cut = _Cut([], [], 0)

    def visit(height: int, number: int) -> None:
        tiles, names = [number], height
        while names:
            tiles = [c for t in tiles for c in head.heights[names][t].children]
            names -= 1
        rows = 1 / (layout.tile * layout.group**height)
        if all(0 < asked[t] <= rows * (1 + 1e-6) for t in tiles):
            cut.closed.append((height, number))
        elif height:
            for child in head.heights[height][number].children:
                visit(height - 1, child)
        elif asked[number] > 0:
            cut.exact.append(number)

    for names in roots:
        for name in names:
            visit(*name)
    return cut


def _far_blocks(
    block: int, near: range, store: TileStore | None, layout: TileLayout, *, is_causal: bool
) -> list[bool]:
    """Which super-blocks are far for a block; causal blocks know none of those after these."""
    if is_causal:
        return [True] * max(0, block - layout.neighbours)
    count = 0 if store is None else store.pyramid.scale.shape[1]
    return [len(near) == 0 or abs(home - block) > layout.neighbours for home in range(count)]


def _cut(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    valid: Tensor,
    layout: TileLayout,
    *,
    is_causal: bool,
) -> TileStore | None:
    """Tiles of every super-block that some query is far from; only their tokens are used."""
    size, groups = layout.super_block, key.shape[1]
    count = -(-key.shape[2] // size)
    if is_causal:
        count = max(0, count - 1 - layout.neighbours)
    if count == 0:
        return None
    missing = max(0, count * size - key.shape[2])
    key, value = (torch.nn.functional.pad(x, (0, 0, 0, missing)) for x in (key, value))
    member = torch.nn.functional.pad(valid, (0, missing)).clone()
    for b, row in enumerate(valid):
        for j in row.nonzero()[: layout.sinks, 0].tolist():
            member[b, j] = False
    member = member.repeat_interleave(groups, 0)
    orders, scales = [], []
    for start in range(0, count * size, size):
        span = slice(start, start + size)
        asking = query[:, :, span] if is_causal else query
        known = None
        if asking.shape[2] == valid.shape[1] or is_causal:
            known = (valid[:, span] if is_causal else valid).repeat_interleave(groups, 0)
        scale = query_scale(asking.flatten(0, 1), known, len(member))
        order = order_block(key[:, :, span].flatten(0, 1), scale, member[:, span], layout)
        scales.append(scale)
        orders.append(order + start)
    flat = slice(0, count * size)
    return build_store(
        key[:, :, flat].flatten(0, 1),
        value[:, :, flat].flatten(0, 1),
        member[:, flat],
        torch.cat(orders, 1),
        torch.stack(scales, 1),
        layout,
        bounds=False,
    )


def _heads(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    valid: Tensor,
    store: TileStore | None,
    layout: TileLayout,
) -> list[_Head]:
    heads = []
    repeat = query.shape[1] // key.shape[1]
    for b in range(query.shape[0]):
        real = valid[b]
        sinks = real.nonzero()[: layout.sinks, 0].tolist()
        for h in range(query.shape[1]):
            g = h // repeat
            tiles: list[list[int]] = []
            if store is not None:
                at = b * key.shape[1] + g
                tiles = [
                    [int(j) for j, ok in zip(p, m, strict=True) if ok]
                    for p, m in zip(store.positions[at], store.valid[at], strict=True)
                ]
            heads_kv = key[b, g], value[b, g]
            heights = [[_summary(tile, *heads_kv) for tile in tiles]]
            for children in [] if store is None else store.pyramid.children:
                lower = heights[-1]
                heights.append([_node(names, lower, *heads_kv) for names in children[at].tolist()])
            heads.append(
                _Head(
                    query[b, h],
                    key[b, g],
                    value[b, g],
                    real,
                    sinks,
                    heights,
                    query.new_full((query.shape[2],), math.inf),
                )
            )
    return heads


def _summary(tokens: list[int], key: Tensor, value: Tensor) -> _Set:
    """Means, and how far the keys lie from theirs (a constant of the plan: no gradient)."""
    if not tokens:
        zero = torch.zeros_like(key[0])
        return _Set([], zero, torch.zeros_like(value[0]), zero, zero.sum(), zero.sum(), [])
    keys = torch.stack([key[j] for j in tokens])
    away = (keys - keys.mean(0)).detach()
    covariance = away.mT @ away / len(tokens)
    return _Set(
        tokens,
        keys.mean(0),
        torch.stack([value[j] for j in tokens]).mean(0),
        covariance.diagonal(),
        away.norm(dim=-1).max(),
        covariance.norm().sqrt(),
        [],
    )


def _node(names: list[int], lower: list[_Set], key: Tensor, value: Tensor) -> _Set:
    """As `_summary`, with bounds that follow from those of the nodes below."""
    node = _summary([j for name in names for j in lower[name].tokens], key, value)
    node.children = names
    inside = [lower[name] for name in names if lower[name].tokens]
    if inside:
        away = torch.stack([child.key - node.key for child in inside]).detach()
        share = away.new_tensor([len(child.tokens) / len(node.tokens) for child in inside])
        between = ((away * share[:, None]).mT @ away).norm()
        within = sum(p * child.spread**2 for p, child in zip(share, inside, strict=True))
        node.radius = max(c.radius + x.norm() for c, x in zip(inside, away, strict=True))
        node.spread = (within + between).sqrt()
    return node
