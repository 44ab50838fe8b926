"""What reading tile by tile carries from call to call."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..carried_state import AbstractCarriedState


@dataclass(frozen=True, kw_only=True)
class QuantumGeometricState(AbstractCarriedState):
    """Sums over the tiles that are full, and the tokens of the tile that is not; of fixed size.

    Attributes:
        sums: sum_j a_s(t_j) w_j phi(k_j) (v_j, 1) [B, G, S, F, E + 1]; S is 1 without routes.
        key, value, gate: of the open tile [B, G, b, *]; the first `length` mod b hold tokens.
        points: tangents of its keys [B, G, b, n], or None without a flow.
        writes: logits of its tokens for each route [B, G, b, S + 1], or None without routes.
    """

    sums: Tensor
    key: Tensor
    value: Tensor
    gate: Tensor
    points: Tensor | None = None
    writes: Tensor | None = None

    @property
    def tile_size(self) -> int:
        """b."""
        return self.key.shape[2]

    def occupied(self) -> Tensor:
        """Which slots of the open tile hold a token [B, b]."""
        slots = torch.arange(self.tile_size, device=self.key.device)
        return slots < (self.length % self.tile_size)[:, None]
