"""What is kept of finished super-blocks: their tokens in tile order, and the pyramid over them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .layout import TileLayout
from .pyramid import Pyramid, build_pyramid
from .tiles import native_tiles, summarise


@dataclass(frozen=True)
class TileStore:
    """Tokens of finished super-blocks in tile order, and the pyramid of their summaries.

    keys, values [n, M, L, D]; valid [n, M, L]: a padded token and a sink are in no tile;
    positions [n, M, L] of the tokens in the sequence.
    """

    keys: Tensor
    values: Tensor
    valid: Tensor
    positions: Tensor
    pyramid: Pyramid

    def __len__(self) -> int:
        return self.keys.shape[1]

    def extended(self, other: TileStore, layout: TileLayout, *, native: bool = False) -> TileStore:
        """This store followed by `other`."""
        return TileStore(
            torch.cat([self.keys, other.keys], 1),
            torch.cat([self.values, other.values], 1),
            torch.cat([self.valid, other.valid], 1),
            torch.cat([self.positions, other.positions], 1),
            self.pyramid.extended(other.pyramid, layout, native=native),
        )


def build_store(
    key: Float[Tensor, "n S D"],
    value: Float[Tensor, "n S E"],
    valid: Bool[Tensor, "n S"],
    order: Int[Tensor, "n S"],
    scale: Float[Tensor, "n blocks D"],
    layout: TileLayout,
    *,
    bounds: bool,
    start: int = 0,
    native: bool = False,
) -> TileStore:
    """Tiles of whole super-blocks whose tokens `order` lists (indices into S).

    `scale` is the metric of each super-block; `bounds` asks for the radius and spread that a
    certificate needs; `native` has compiled kernels do it.
    """
    n = key.shape[0]
    shape = (n, -1, layout.tile)
    if native:
        keys, values, member, tiles = native_tiles(
            key, value, valid, order, layout.tile, bounds=bounds
        )
        pyramid = build_pyramid(tiles, scale, layout, native=True)
        return TileStore(keys, values, member, (order + start).view(shape), pyramid)
    rows = (order + torch.arange(n, device=key.device)[:, None] * key.shape[1]).reshape(-1)
    keys, values = (
        x.reshape(-1, x.shape[-1]).index_select(0, rows).view(*shape, x.shape[-1])
        for x in (key, value)
    )
    member = valid.reshape(-1).index_select(0, rows).view(shape)
    tiles = summarise(keys, values, member, bounds=bounds)
    pyramid = build_pyramid(tiles, scale, layout)
    return TileStore(keys, values, member, (order + start).view(shape), pyramid)
