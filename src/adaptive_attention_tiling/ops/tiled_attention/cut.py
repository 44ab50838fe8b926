"""The cut through the pyramid: which nodes a block of queries reads through their summaries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .layout import TileLayout
from .pyramid import Pyramid
from .tiles import Summary

DROPPED, EXACT = -1, 0
"""Levels of a tile: not read, read exactly. Level k >= 1: read through a node of height k - 1."""

UPPER_SHARE = 0.25
"""What of the error that is left each height above the tiles may spend (docs/log.md)."""


def level_resolution(levels: Int[Tensor, "*b"], layout: TileLayout) -> Float[Tensor, "*b"]:
    """Rows read per token at each level."""
    height = (levels.to(torch.float32) - 1).clamp_min(0)
    rows = 1 / (layout.tile * float(layout.group) ** height)
    return torch.where(levels <= EXACT, (levels == EXACT).to(rows.dtype), rows)


@dataclass(frozen=True)
class Cut:
    """closed [h, N]: nodes read through their summaries; exact [h, M]: tiles read token by token.

    looked [h]: at how many nodes each scout looked.
    """

    closed: Tensor
    exact: Tensor
    looked: Tensor

    def levels(self, pyramid: Pyramid, tiles: int | None = None) -> Int[Tensor, "h M"]:
        """The level of every tile, or of the first `tiles` of them."""
        closed = self.closed.split(pyramid.sizes, 1)
        repeat = len(self.exact) // len(pyramid.scale)
        level = torch.zeros_like(closed[-1], dtype=torch.int8)
        for height in reversed(range(len(closed))):
            level = torch.where(closed[height], height + 1, level)
            if height:
                index, size = pyramid.children[height - 1], pyramid.sizes[height - 1]
                level = _to_children(level, index, size, repeat)
        level = level.to(torch.int8)
        level = torch.where(level == 0, torch.where(self.exact, EXACT, DROPPED).to(level), level)
        return level[:, :tiles]


class AbstractDecision(ABC):
    """Which of the nodes that are looked at stay closed, height after height from the top."""

    @abstractmethod
    def closed(self, height: int, active: Bool[Tensor, "h M"]) -> Bool[Tensor, "h M"]:
        """Which of the `active` nodes of this height are read through their summaries."""


def descend(
    pyramid: Pyramid, roots: list[Bool[Tensor, " M"]], heads: int, decision: AbstractDecision
) -> Cut:
    """Start at the roots; what is not closed hands over to its children, a tile to its tokens."""
    repeat = heads // len(pyramid.scale)
    closed: list[Tensor] = []
    looked = pyramid.scale.new_zeros(heads)
    opened = None
    for height in reversed(range(len(roots))):
        active = roots[height].expand(heads, -1)
        if opened is not None:
            below = _to_children(opened, pyramid.children[height], pyramid.sizes[height], repeat)
            active = active | below
        looked = looked + active.sum(1)
        closed.append(decision.closed(height, active))
        opened = active & ~closed[-1]
    assert opened is not None
    return Cut(torch.cat(closed[::-1], 1), opened, looked)


def _to_children(
    per_node: Tensor, children: Int[Tensor, "n M g"], size: int, repeat: int
) -> Tensor:
    """Hand each node's entry [h, M] to its children, [h, size]; those without a parent get 0."""
    index = children.repeat_interleave(repeat, 0).flatten(1)
    spread = per_node.repeat_interleave(children.shape[-1], 1)
    return torch.zeros_like(spread[:, :1]).expand(-1, size).scatter(1, index, spread)


class Lists(NamedTuple):
    """Positions [h, longest] of each row's entries, and which of them are not padding."""

    at: Tensor
    used: Tensor


def padded_lists(mask: Bool[Tensor, "h M"]) -> Lists:
    """The positions of each row's true entries, padded with 0 to the longest row."""
    count = mask.sum(-1)
    longest = int(count.max()) if mask.numel() else 0
    row, column = mask.nonzero(as_tuple=True)
    place = torch.arange(len(row), device=mask.device) - (count.cumsum(0) - count)[row]
    index = torch.zeros(len(mask), longest, dtype=torch.long, device=mask.device)
    index[row, place] = column
    return Lists(index, torch.arange(longest, device=mask.device) < count[:, None])


MeanCost = Callable[[Summary], Tensor]
"""The scouts' mean cost [h, m] of nodes picked for each of the h heads."""


class ByTolerance(AbstractDecision):
    """The cheapest stay closed: up to `UPPER_SHARE` of what is left of the limit; tiles, all."""

    def __init__(self, pyramid: Pyramid, cost: MeanCost, limit: float, heads: int) -> None:
        self.pyramid, self.cost = pyramid, cost
        self.left = pyramid.scale.new_full((heads,), limit)

    def closed(self, height: int, active: Bool[Tensor, "h M"]) -> Bool[Tensor, "h M"]:
        listed = padded_lists(active)
        cost = self.cost(self.pyramid.heights[height].picked(listed.at))
        cost = cost.masked_fill(~listed.used, torch.inf)
        kept = cheapest(cost, UPPER_SHARE * self.left if height else self.left)
        self.left = self.left - torch.where(kept, cost, 0.0).sum(-1)
        row, place = (kept & listed.used).nonzero(as_tuple=True)
        closed = torch.zeros_like(active)
        closed[row, listed.at[row, place]] = True
        return closed


class ByBudget(AbstractDecision):
    """The dearest tiles of all heads of a sequence are opened, up to `budget` of the far tokens."""

    def __init__(self, pyramid: Pyramid, cost: MeanCost, budget: float, batch: int) -> None:
        self.pyramid, self.cost, self.budget, self.batch = pyramid, cost, budget, batch

    def closed(self, height: int, active: Bool[Tensor, "h M"]) -> Bool[Tensor, "h M"]:
        if height:
            return torch.zeros_like(active)
        every = torch.arange(active.shape[1], device=active.device).expand(len(active), -1)
        nodes = self.pyramid.heights[0].picked(every)
        tokens = torch.where(active, nodes.count, 0.0).view(self.batch, -1)
        cost = torch.where(active, self.cost(nodes), -1.0).view(self.batch, -1)
        index = cost.sort(-1, descending=True).indices
        spent = tokens.gather(1, index).cumsum(-1)
        affordable = spent <= self.budget * tokens.sum(-1, keepdim=True)
        opened = torch.zeros_like(affordable).scatter_(1, index, affordable)
        closed: Tensor = active & ~opened.view(active.shape)
        return closed


class ByResolution(AbstractDecision):
    """The coarsest nodes that read at least the rows asked for of each of their tiles."""

    def __init__(
        self, pyramid: Pyramid, resolution: Float[Tensor, "h M"], layout: TileLayout
    ) -> None:
        repeat = len(resolution) // len(pyramid.scale)
        self.layout = layout
        self.lowest, self.highest = [resolution], [resolution]
        for children in pyramid.children:
            index = children.repeat_interleave(repeat, 0)
            for ranges, reduce in ((self.lowest, torch.amin), (self.highest, torch.amax)):
                below = ranges[-1].gather(1, index.flatten(1)).view(index.shape)
                ranges.append(reduce(below, -1))

    def closed(self, height: int, active: Bool[Tensor, "h M"]) -> Bool[Tensor, "h M"]:
        rows = 1 / (self.layout.tile * self.layout.group**height) * (1 + 1e-6)
        closed: Tensor = active & (self.lowest[height] > 0) & (self.highest[height] <= rows)
        return closed


def cheapest(cost: Float[Tensor, "h M"], limit: Float[Tensor, " h"]) -> Bool[Tensor, "h M"]:
    """The largest set of cheapest entries whose sum stays within the limit."""
    ordered, index = cost.sort(-1)
    within = ordered.cumsum(-1) <= limit[:, None]
    return torch.zeros_like(within).scatter_(1, index, within)
