"""Far tokens cut into nested sets, and the summaries through which sets are read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from far_rule import BLOCK, SINKS, Rule, Tally
from jaxtyping import Float, Int
from torch import Tensor


@dataclass
class Level:
    """Sets of one level, the same number in every super-block; axes of sets G, M.

    `owner` [G, n] is the set of each token in tree order, None where all have `size` tokens.
    axes [G, M, r, D], low and high [G, M, r]: projections on the principal axes that the query's
    product with them is to be multiplied by; slope [G, M, r, E]: change of the value along them.
    """

    size: int
    per_block: int
    owner: Tensor | None
    count: Tensor
    key: Tensor
    value: Tensor
    variance: Tensor
    scale: Tensor | None = None
    axes: Tensor | None = None
    spread: Tensor | None = None
    low: Tensor | None = None
    high: Tensor | None = None
    slope: Tensor | None = None
    box: tuple[Tensor, Tensor] | None = None
    gram: Tensor | None = None


@dataclass
class Tree:
    """Far tokens in tree order: positions [G, n], keys and values, and the levels of sets."""

    order: Int[Tensor, "G n"]
    member: Float[Tensor, "G n"]
    keys: Float[Tensor, "G n D"]
    values: Float[Tensor, "G n E"]
    levels: list[Level] = field(default_factory=list)


def grow(
    query: Tensor, key: Tensor, value: Tensor, rule: Rule, metric: Tensor | None, tally: Tally
) -> Tree:
    """Cut whole super-blocks into the sets of `rule`, and summarise them."""
    groups, length, width = key.shape
    cut = query.view(groups, -1, length // BLOCK, BLOCK, width)
    rms = cut.square().mean((1, 3)).sqrt()
    order = torch.arange(length).expand(groups, -1)
    if rule.order == "key_space":
        points = key.view(groups, -1, BLOCK, width) * rms[:, :, None]
        points[:, :1, :SINKS] = 0.0
        inside = bisect(points.flatten(0, 1), min(rule.sizes))
        start = torch.arange(length // BLOCK)[:, None] * BLOCK
        order = (inside.view(groups, -1, BLOCK) + start).flatten(1)
        halvings = math.log2(BLOCK / min(rule.sizes))
        tally.build += groups * length * 5 * halvings / 2
    member = (order >= SINKS).to(key.dtype)
    keys, values = (x.gather(1, order[..., None].expand(-1, -1, x.shape[-1])) for x in (key, value))
    tree = Tree(order, member, keys, values)
    weight = value_weights(values, len(query), metric, rule.unit)
    for size in rule.sizes:
        owner = greedy_runs(key, size) if rule.order == "greedy" else None
        tree.levels.append(summarise(tree, size, owner, rule, rms, weight))
        tally.build += groups * length * (2 + rule.rank * 5) * 0.5
    return tree


def bisect(rows: Float[Tensor, "n S D"], leaf: int) -> Int[Tensor, "n S"]:
    """Order rows so that runs of S / 2^i are cells, each halved at the median of its main axis."""
    n, size, width = rows.shape
    start = torch.arange(n)[:, None] * size
    order, flat, cell = torch.arange(n * size), rows.reshape(-1, width), size
    while cell > leaf:
        cells = flat.view(-1, cell, width)
        cells = cells - cells.mean(1, keepdim=True)
        axis = (cells[:, -1] - cells[:, 0])[:, :, None]
        for _ in range(2):
            axis = cells.mT @ (cells @ axis)
            axis = axis / axis.norm(dim=1, keepdim=True).clamp_min(1e-30)
        ranks = (cells @ axis)[..., 0].argsort(dim=-1, stable=True)
        chosen = (ranks + torch.arange(0, n * size, cell)[:, None]).view(-1)
        flat, order, cell = flat[chosen], order[chosen], cell // 2
    return order.view(n, size) - start


def greedy_runs(key: Float[Tensor, "G n D"], size: int) -> Int[Tensor, "G n"]:
    """The run of each token, BLOCK / size in each super-block, cut where the cosine is least."""
    unit = key / key.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    unlike = 1 - (unit[:, 1:] * unit[:, :-1]).sum(-1)
    unlike = torch.cat([torch.zeros_like(unlike[:, :1]), unlike], 1).unflatten(1, (-1, BLOCK))
    cuts = unlike[..., 1:].topk(BLOCK // size - 1, dim=-1).indices + 1
    first = torch.zeros_like(unlike, dtype=torch.long).scatter(-1, cuts, 1).cumsum(-1)
    return (first + torch.arange(first.shape[1])[:, None] * (BLOCK // size)).flatten(1)


def value_weights(
    values: Tensor, heads: int, metric: Tensor | None, unit: str | None
) -> Float[Tensor, "H n"] | None:
    """|v|^2 of every token, in the unit of a rule."""
    if unit is None:
        return None
    spread = values.repeat_interleave(heads // len(values), 0)
    if unit == "value":
        return spread.square().sum(-1)
    assert metric is not None
    return ((spread @ metric) * spread).sum(-1)


def summarise(
    tree: Tree, size: int, owner: Tensor | None, rule: Rule, rms: Tensor, weight: Tensor | None
) -> Level:
    """The moments of all sets of a level."""
    groups, length, _ = tree.keys.shape
    per_block = BLOCK // size
    total = per_block * (length // BLOCK)

    def sums(x: Tensor, member: Tensor = tree.member) -> Tensor:
        x = x * member[..., None]
        if owner is None:
            return x.unflatten(1, (total, size)).sum(2)
        at = owner.repeat_interleave(len(x) // groups, 0)[..., None].expand_as(x)
        return x.new_zeros(len(x), total, x.shape[-1]).scatter_add_(1, at, x)

    def each(x: Tensor) -> Tensor:
        if owner is None:
            return x.repeat_interleave(size, 1)
        return x.gather(1, owner[..., None].expand(-1, -1, x.shape[-1]))

    count = sums(torch.ones_like(tree.member)[..., None])[..., 0]
    share = count.clamp_min(1.0)[..., None]
    mean, value = sums(tree.keys) / share, sums(tree.values) / share
    away = (tree.keys - each(mean)) * tree.member[..., None]
    level = Level(size, per_block, owner, count, mean, value, sums(away.square()) / share)
    if weight is not None:
        repeat = len(weight) // groups
        heads = tree.member.repeat_interleave(repeat, 0)
        mean_square = sums(weight[..., None], heads) / share.repeat_interleave(repeat, 0)
        level.scale = mean_square[..., 0].sqrt()
    if rule.rank:
        metric = rms.repeat_interleave(per_block, 1)
        cells = (x.unflatten(1, (total, size)) for x in (away, tree.values - each(value)))
        principal_axes(level, *cells, metric, share, rule.rank)
    if rule.decide == "bound":
        cells = tree.keys.unflatten(1, (total, size))
        level.box = cells.amin(2), cells.amax(2)
    return level


def principal_axes(
    level: Level, away: Tensor, values: Tensor, metric: Tensor, share: Tensor, rank: int
) -> None:
    """Add the `rank` directions in which the logits of each set vary most.

    away [G, M, L, D] and values [G, M, L, E] have mean zero. `variance` keeps what is left.
    """
    points = away * metric[:, :, None]
    back = metric.clamp_min(1e-20)
    found: dict[str, list[Tensor]] = {x: [] for x in ("axes", "spread", "low", "high", "slope")}
    for _ in range(rank):
        far = points.square().sum(-1).argmax(2)[..., None, None]
        axis = points.gather(2, far.expand(-1, -1, 1, points.shape[-1]))
        for _ in range(4):
            axis = (points @ axis.mT * points).sum(2, keepdim=True)
            axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-20)
        along = (points * axis).sum(-1)
        spread = along.square().sum(-1) / share[..., 0]
        slope = (along[..., None] * values).sum(2) / share / spread.clamp_min(1e-20)[..., None]
        points = points - along[..., None] * axis
        parts = (axis[:, :, 0] / back, spread, along.amin(-1), along.amax(-1), slope)
        for name, part in zip(found, parts, strict=True):
            found[name].append(part)
    level.axes, level.spread, level.low, level.high, level.slope = (
        torch.stack(x, 2) for x in found.values()
    )
    level.variance = (points / back[:, :, None]).square().sum(2) / share
