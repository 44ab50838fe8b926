"""Tiles of a text that grows: those of each super-block as it fills up."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .loss import Signal
from .tiler import TileManager
from .tiling import Tiling


class TilingStream:
    """Tiles token by token what `TileManager` tiles at once, bit for bit the same.

    Only the tokens of the super-block that is not yet full are kept.

    Args:
        tiler: what may be cut, and how.
        compute_budget, price: for `optimize_tiling` or `tile_at_price`; give one of them. A price
            is a number or one for each sequence [n].
        kind: what is appended, states [..., t, C] or a density [..., t].
    """

    def __init__(
        self,
        tiler: TileManager,
        *,
        compute_budget: float | None = None,
        price: float | Tensor | None = None,
        kind: Signal = "states",
    ) -> None:
        if (compute_budget is None) == (price is None):
            raise ArgumentError(
                "compute_budget, price",
                "both" if price is not None else "neither",
                "one of them",
                "pass compute_budget=0.25, or the price that a layer has learnt",
            )
        if compute_budget is not None:
            tiler.check_budget(compute_budget)
        self.tiler, self.compute_budget, self.price, self.kind = tiler, compute_budget, price, kind
        self.finished = 0
        self._rest: Tensor | None = None

    def append(self, signal: Float[Tensor, "*signal"]) -> Tiling | None:
        """Take more tokens; returns the tiles of the super-blocks that they fill, if any.

        Starts in the tiling count from the first token after those that were finished before,
        which `finished` counts.
        """
        axis = -1 if self.kind == "density" else -2
        if self._rest is not None:
            signal = torch.cat([self._rest, signal], axis)
        tokens = signal.shape[axis]
        whole = tokens - tokens % self.tiler.super_block
        self._rest = signal.narrow(axis, whole, tokens - whole).detach().clone()
        if not whole:
            return None
        self.finished += whole
        return self._tiled(signal.narrow(axis, 0, whole))

    def unfinished(self) -> Tiling | None:
        """Tiles of the tokens that fill no super-block yet; more tokens will change them."""
        axis = -1 if self.kind == "density" else -2
        if self._rest is None or not self._rest.shape[axis]:
            return None
        return self._tiled(self._rest)

    def _tiled(self, signal: Tensor) -> Tiling:
        if self.compute_budget is not None:
            return self.tiler.optimize_tiling(signal, self.compute_budget, kind=self.kind)
        assert self.price is not None
        return self.tiler.tile_at_price(signal, self.price, kind=self.kind)
