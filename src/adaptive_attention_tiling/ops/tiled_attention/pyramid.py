"""The pyramid over tiles: nodes of nodes, merged exactly, and the largest that cover a far field.

Height 0 are the tiles. A node of height k stands for `group` nodes of height k - 1: inside a
super-block for neighbours in the bisecting tree, and above it for cells of `group` units of time
that lie close in key space, so that a node far away may hold tokens from a long stretch of text.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .layout import TileLayout
from .native_tree import tile_order
from .tiles import POWER_STEPS, Summary, bisect_order, native_groups, summarise_groups


@dataclass(frozen=True)
class Pyramid:
    """Nodes of every height over the tiles of whole super-blocks, for n key heads.

    heights[k] holds the summaries of height k, [n, M_k]; children[k - 1] [n, M_k, group] says which
    nodes of height k - 1 each stands for. scale [n, blocks, D] is the metric of each super-block.
    """

    heights: tuple[Summary, ...]
    children: tuple[Tensor, ...]
    scale: Tensor

    @functools.cached_property
    def nodes(self) -> Summary:
        """All nodes, [n, N]: the tiles, then height after height."""
        joined = self.heights[0]
        # Whoever asks first may be a plan, which takes no gradients; readers do.
        with torch.enable_grad():
            for upper in self.heights[1:]:
                joined = joined.joined(upper, 1)
        return joined

    @property
    def sizes(self) -> list[int]:
        """How many nodes each height has."""
        return [height.count.shape[1] for height in self.heights]

    @functools.cached_property
    def offspring(self) -> Int[Tensor, "n N group"]:
        """Places in `nodes` of each node's children; a tile has none and names itself."""
        n, tiles = self.heights[0].count.shape
        self_ = torch.arange(tiles, device=self.scale.device)[None, :, None]
        if not self.children:
            return self_.expand(n, -1, 1)
        parts = [self_.expand(n, -1, self.children[0].shape[-1])]
        first = 0
        for size, children in zip(self.sizes, self.children, strict=False):
            parts.append(children + first)
            first += size
        return torch.cat(parts, 1)

    def extended(self, other: Pyramid, layout: TileLayout, *, native: bool = False) -> Pyramid:
        """This pyramid with the tiles of `other` after its own, and all nodes they complete."""
        heights = [self.heights[0].joined(other.heights[0], 1), *self.heights[1:]]
        scale = torch.cat([self.scale, other.scale], 1)
        return _grown(heights, list(self.children), scale, layout, native)


def build_pyramid(
    tiles: Summary, scale: Float[Tensor, "n blocks D"], layout: TileLayout, *, native: bool = False
) -> Pyramid:
    """The pyramid over the tiles of whole super-blocks, by torch or by compiled kernels."""
    return _grown([tiles], [], scale, layout, native)


def _grown(
    heights: list[Summary],
    children: list[Tensor],
    scale: Tensor,
    layout: TileLayout,
    native: bool,
) -> Pyramid:
    """Add every node whose tokens are all there."""
    blocks = scale.shape[1]
    spans = layout.spans(blocks)
    for k, (span, width) in enumerate(spans[1:], start=1):
        done = heights[k].count.shape[1] // width if k < len(heights) else 0
        units = range(done, blocks // span)
        if not units:
            continue
        below = range(units.start * width * layout.group, units.stop * width * layout.group)
        lower = heights[k - 1].part(below)
        if span == spans[k - 1][0] or layout.order == "contiguous":
            index = torch.arange(len(below), device=scale.device).expand(len(scale), -1)
        else:
            metric = scale[:, units.start * span : units.stop * span].unflatten(1, (-1, span))
            metric = metric.square().mean(2).sqrt()
            index = _close(lower.key.detach(), metric, layout.group, native)
        if native:
            upper = native_groups(lower, index, layout.group)
        else:
            upper = summarise_groups(lower.picked(index), layout.group)
        child = index.unflatten(1, (-1, layout.group)) + below.start
        if done:
            heights[k] = heights[k].joined(upper, 1)
            children[k - 1] = torch.cat([children[k - 1], child], 1)
        else:
            heights.append(upper)
            children.append(child)
    return Pyramid(tuple(heights), tuple(children), scale)


def _close(
    keys: Float[Tensor, "n m D"], metric: Float[Tensor, "n units D"], group: int, native: bool
) -> Int[Tensor, "n m"]:
    """An order of each unit's nodes in which each run of `group` lies close in key space."""
    units = metric.shape[1]
    cells = keys.unflatten(1, (units, -1))
    if native:
        order = tile_order(cells.flatten(0, 1), metric.flatten(0, 1), None, group, 0, POWER_STEPS)
    else:
        order = bisect_order((cells * metric[:, :, None]).flatten(0, 1), group)
    order = order.unflatten(0, (-1, units))
    first = torch.arange(units, device=keys.device)[:, None] * order.shape[-1]
    following: Tensor = (order + first).flatten(1)
    return following


def cover(far: Bool[Tensor, " blocks"], sizes: list[int], layout: TileLayout) -> list[Tensor]:
    """For each height, which nodes [M_k] are the largest that hold nothing but far super-blocks."""
    covered = ~far
    roots: list[Tensor] = []
    for size, (span, width) in reversed(list(zip(sizes, layout.spans(len(far)), strict=False))):
        units = size // width
        free = ~covered[: units * span].view(units, span).any(1)
        covered[: units * span] |= free.repeat_interleave(span)
        roots.append(free.repeat_interleave(width))
    return roots[::-1]
