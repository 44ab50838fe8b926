"""Where tiles lie and what stays exact: the geometry of tiled attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class TileLayout:
    """How tokens are cut into super-blocks and tiles, and the pyramid over the tiles.

    super_block  tokens per super-block; a finished one is cut into tiles once and for all
    tile         tokens per tile (L); super_block / tile must be a power of two
    group        nodes that one node of the height above stands for: tiles first, then nodes
    heights      sizes of summaries: 1 has tiles only, 2 groups of tiles, and so on; None has all
                 that are complete, whatever the length of the text
    cells        nodes that a unit of time keeps: with fewer left, the next height puts together
                 what is close in `group` units, not more of the same unit
    window       tokens before (without causality: around) a query that are always read exactly,
                 rounded up to whole super-blocks beside the query's own
    sinks        first tokens of the sequence that are always read exactly
    scouts       queries that plan for the super-block after theirs
    order        "key_space": tiles are cells of key space, found by bisection;
                 "contiguous": tiles are runs of neighbouring tokens
    rest         what is read of a tile that is not read exactly: its "mean" or nothing ("drop")
    """

    super_block: int = 256
    tile: int = 8
    group: int = 4
    heights: int | None = None
    cells: int = 8
    window: int = 256
    sinks: int = 4
    scouts: int = 128
    order: Literal["key_space", "contiguous"] = "key_space"
    rest: Literal["mean", "drop"] = "mean"

    def __post_init__(self) -> None:
        lowest = {"heights": 1} if self.heights is not None else {}
        lowest |= {
            "super_block": 1,
            "tile": 1,
            "group": 1,
            "cells": 1,
            "window": 0,
            "sinks": 0,
            "scouts": 1,
        }
        for name, low in lowest.items():
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, int) or size < low:
                raise ArgumentError(name, size, f"an integer >= {low}", "pass a token count")
        cells = self.super_block // self.tile
        if self.super_block % self.tile or cells & (cells - 1):
            raise ArgumentError(
                "tile",
                self.tile,
                f"a size that halves super_block={self.super_block} a whole number of times",
                "use powers of two, such as super_block=256 and tile=8",
            )
        if cells % self.group:
            raise ArgumentError(
                "group",
                self.group,
                f"a divisor of super_block / tile = {cells}",
                "use a power of two no larger than that",
            )
        for name, allowed in {
            "order": ("key_space", "contiguous"),
            "rest": ("mean", "drop"),
        }.items():
            if getattr(self, name) not in allowed:
                raise ArgumentError(
                    name, repr(getattr(self, name)), f"one of {allowed}", "check the spelling"
                )

    @property
    def neighbours(self) -> int:
        """Super-blocks beside a query's own that are read exactly."""
        return -(-self.window // self.super_block)

    @property
    def tiles_per_block(self) -> int:
        """Tiles in one super-block."""
        return self.super_block // self.tile

    def spans(self, blocks: int) -> list[tuple[int, int]]:
        """For each height: super-blocks of time that a unit of nodes is made of, and its nodes.

        Heights whose units `blocks` super-blocks do not complete are left out.
        """
        span, nodes = 1, self.tiles_per_block
        out = [(span, nodes)]
        while self.group > 1 and (self.heights is None or len(out) < self.heights):
            if nodes >= self.group * self.cells:
                nodes //= self.group
            else:
                span *= self.group
            if span > blocks:
                break
            out.append((span, nodes))
        return out
