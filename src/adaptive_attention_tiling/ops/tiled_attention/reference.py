"""Tiled attention in loops, one query and one set of tokens at a time, to be checked by eye.

It shares with the fast path only what is a definition, not a computation: which tokens form a
tile (`order_block`), which queries are scouts (`scout_rows`), and how a scout's costs become
levels (`plan_levels`). Sums, summaries, errors and refinements are written out again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .block import query_scale, scout_rows
from .control import Control
from .layout import TileLayout
from .plan import (
    DROPPED,
    EXACT,
    GROUP,
    TAIL,
    TILE,
    levels_from_resolution,
    plan_levels,
)
from .read import FarRead
from .stream import BlockRead
from .tiles import TileStore, build_store, join_nodes, order_block


@dataclass
class _Set:
    """The tokens of a tile or of a group of tiles, and how they are summarised."""

    tokens: list[int]
    key: Tensor
    value: Tensor
    variance: Tensor
    radius: Tensor
    spread: Tensor


@dataclass
class _Head:
    """One query head of one sequence with the keys that it reads."""

    query: Tensor
    key: Tensor
    value: Tensor
    valid: Tensor
    sinks: list[int]
    tiles: list[_Set]
    groups: list[_Set]
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
        far = _far_tiles(block, near, store, layout, is_causal=is_causal)
        levels = None
        if not is_causal or any(far):
            asked = None if resolution is None else resolution[:, block, : len(far)]
            levels = _plan(heads, rows, near, far, control, layout, asked, is_causal=is_causal)
        outs, errors, refined = [], [], []
        for number, head in enumerate(heads):
            level = None if levels is None else levels[number].tolist()
            for i in rows:
                seen = range(near.start, min(near.stop, i + 1)) if is_causal else near
                tokens = [j for j in [*head.sinks, *seen] if head.valid[j]]
                # A sink inside the near field is there already; a later sink is not yet seen.
                tokens = sorted({j for j in tokens if j in seen or j < near.start or not is_causal})
                out, head.lse[i], error, extra = _read(head, i, tokens, level, control, layout)
                outs.append(out)
                errors.append(error)
                refined.append(extra)
        shape = (len(heads), len(rows))
        read = FarRead(
            torch.stack(outs).unflatten(0, shape),
            torch.stack([head.lse[rows.start : rows.stop] for head in heads]),
            torch.stack(errors).view(shape),
            torch.tensor(refined, dtype=query.dtype, device=query.device).view(shape),
        )
        mask = None if levels is None else torch.tensor(far, dtype=torch.bool, device=key.device)
        pieces.append(BlockRead(block, levels, mask, read))
    return pieces, store


def _read(
    head: _Head,
    i: int,
    tokens: list[int],
    levels: list[int] | None,
    control: Control,
    layout: TileLayout,
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Output, log normaliser, error and tokens read beyond the plan, of query i."""
    query = head.query[i]
    summaries: list[_Set] = []
    tokens = list(tokens)
    for number, level in enumerate(levels or []):
        if level == EXACT:
            tokens += head.tiles[number].tokens
        elif level == TILE and layout.rest == "mean":
            summaries.append(head.tiles[number])
        elif level == GROUP and layout.rest == "mean" and number % layout.group == 0:
            summaries.append(head.groups[number // layout.group])
    summaries = [s for s in summaries if s.tokens]
    out, lse = _softmax(query, tokens, summaries, head)
    if control.tolerance is None or layout.rest == "drop":
        return out, lse, _total(query, summaries, lse, control, layout), 0
    # From the dearest summary on, read its tokens until the others cost no more than the limit.
    cost = [_cost(query, s, lse, control, layout).detach() for s in summaries]
    order = sorted(range(len(cost)), key=lambda m: float(cost[m]))
    kept, spent = [], 0.0
    for m in order:
        spent += float(cost[m])
        if spent > control.limit:
            break
        kept.append(m)
    if len(kept) < len(summaries):
        opened = [t for m in order[len(kept) :] for t in summaries[m].tokens]
        summaries = [summaries[m] for m in kept]
        out, after = _softmax(query, tokens + opened, summaries, head)
        power = 1 if control.certified else 2
        total = (
            sum((cost[m] for m in kept), torch.zeros_like(lse))
            * (power * (lse - after).detach()).exp()
        )
        return out, after, total if control.certified else total.sqrt(), len(opened)
    return out, lse, _total(query, summaries, lse, control, layout), 0


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
    control: Control,
    layout: TileLayout,
    resolution: Tensor | None,
    *,
    is_causal: bool,
) -> Tensor:
    """Levels [h, M]: scouts are the queries of the block before, or without causality its own."""
    before = rows.start - layout.super_block if is_causal else rows.start
    size = layout.super_block if is_causal else len(rows)
    scouts = [before + int(r) for r in scout_rows(size, layout.scouts)]
    groups_far = far[:: layout.group]
    worst = 1.0 if control.tolerance is None else control.limit
    costs, counts = [], []
    for head in heads:
        # Padding does not plan; cross attention knows no padding of its queries.
        shown = [i for i in scouts if len(head.valid) != len(head.query) or head.valid[i]]
        far_sets = [g for g, is_far in zip(head.groups, groups_far, strict=False) if is_far]
        row = []
        for s in head.tiles[: len(far)] + head.groups[: len(groups_far)]:
            each = []
            for i in shown:
                lse = head.lse[i]
                if not is_causal:
                    seen = sorted({j for j in [*head.sinks, *near] if head.valid[j]})
                    sets = [g for g in far_sets if g.tokens]
                    lse = _softmax(head.query[i], seen, sets, head)[1]
                each.append(_cost(head.query[i], s, lse, control, layout).detach())
            row.append(
                torch.stack(each).clamp(max=worst).mean() if each else head.lse.new_zeros(())
            )
        sizes = [float(len(s.tokens)) for s in head.tiles[: len(far)]]
        grouped = [float(len(s.tokens)) for s in head.groups[: len(groups_far)]]
        joined = join_nodes(
            torch.stack(row[: len(far)])[None], torch.stack(row[len(far) :])[None], layout
        )
        costs.append(joined[0])
        counts.append(join_nodes(torch.tensor([sizes]), torch.tensor([grouped]), layout)[0])
    is_far = torch.tensor(far, dtype=torch.bool)
    if resolution is not None:
        levels = levels_from_resolution(resolution, layout)
        levels[:, ~is_far] = DROPPED
        return levels
    batch = len({id(head.valid) for head in heads})
    return plan_levels(
        torch.stack(costs).detach(), torch.stack(counts), is_far, control, layout, batch=batch
    )


def _far_tiles(
    block: int, near: range, store: TileStore | None, layout: TileLayout, *, is_causal: bool
) -> list[bool]:
    """Which tiles are far for a block; causal blocks know none of the tiles after these."""
    if is_causal:
        return [True] * (max(0, block - layout.neighbours) * layout.tiles_per_block)
    home = [tile // layout.tiles_per_block for tile in range(0 if store is None else len(store))]
    return [len(near) == 0 or abs(h - block) > layout.neighbours for h in home]


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
    orders = []
    for start in range(0, count * size, size):
        span = slice(start, start + size)
        asking = query[:, :, span] if is_causal else query
        known = None
        if asking.shape[2] == valid.shape[1] or is_causal:
            known = (valid[:, span] if is_causal else valid).repeat_interleave(groups, 0)
        scale = query_scale(asking.flatten(0, 1), known, len(member))
        order = order_block(key[:, :, span].flatten(0, 1), scale, member[:, span], layout)
        orders.append(order + start)
    flat = slice(0, count * size)
    return build_store(
        key[:, :, flat].flatten(0, 1),
        value[:, :, flat].flatten(0, 1),
        member[:, flat],
        torch.cat(orders, 1),
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
            grouped = [
                [j for tile in tiles[m : m + layout.group] for j in tile]
                for m in range(0, len(tiles), layout.group)
            ]
            heads_kv = key[b, g], value[b, g]
            sets = [_summary(tile, *heads_kv) for tile in tiles]
            heads.append(
                _Head(
                    query[b, h],
                    key[b, g],
                    value[b, g],
                    real,
                    sinks,
                    sets,
                    [
                        _group(group, sets[m * layout.group : (m + 1) * layout.group], *heads_kv)
                        for m, group in enumerate(grouped)
                    ],
                    query.new_full((query.shape[2],), math.inf),
                )
            )
    return heads


def _summary(tokens: list[int], key: Tensor, value: Tensor) -> _Set:
    """Means, and how far the keys lie from theirs (a constant of the plan: no gradient)."""
    if not tokens:
        zero = torch.zeros_like(key[0])
        return _Set([], zero, torch.zeros_like(value[0]), zero, zero.sum(), zero.sum())
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
    )


def _group(tokens: list[int], tiles: list[_Set], key: Tensor, value: Tensor) -> _Set:
    """As `_summary`, with bounds that follow from those of the tiles in the group."""
    group = _summary(tokens, key, value)
    inside = [tile for tile in tiles if tile.tokens]
    if inside:
        away = torch.stack([tile.key - group.key for tile in inside]).detach()
        share = away.new_tensor([len(tile.tokens) / len(tokens) for tile in inside])
        between = ((away * share[:, None]).mT @ away).norm()
        within = sum(p * tile.spread**2 for p, tile in zip(share, inside, strict=True))
        group.radius = max(t.radius + x.norm() for t, x in zip(inside, away, strict=True))
        group.spread = (within + between).sqrt()
    return group
