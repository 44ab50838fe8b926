"""A text prepared for quantum geometric attention."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.fidelity_attention import FidelityKernel
from ...ops.quantum_geometric import PatternFlow, RouteShares


class AttentionState(NamedTuple):
    """Queries and keys as points and as states, and what keys weigh.

    Attributes:
        query_points, key_points: tangents at the origin, [B, H, T, n] and [B, G, T, n]; the points
            are exp_0 of them (flat: themselves).
        query, key: amplitudes of states, of any norm [B, H, T, m] and [B, G, T, m].
        value: [B, G, T, E].
        gate: log weights of keys [B, G, T], or None without heights.
        heights: h_v [B, G, T, r], or None.
        flow, routes: as `quantum_geometric_attention` takes them, or None.
        padding: True for tokens [B, T], or None where all are.
    """

    query_points: Tensor
    key_points: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    gate: Tensor | None
    heights: Tensor | None
    flow: PatternFlow | None
    routes: RouteShares | None
    padding: Tensor | None

    def unit_states(self) -> tuple[Tensor, Tensor]:
        """|psi> of queries and keys: amplitudes of norm 1."""
        kernel = FidelityKernel(self.key.shape[-1], False, 0.0)
        return kernel.states(self.query), kernel.states(self.key)

    def live(self) -> Tensor:
        """True for tokens [B, T]."""
        if self.padding is not None:
            return self.padding
        batch, _, length, _ = self.key.shape
        return torch.ones(batch, length, dtype=torch.bool, device=self.key.device)
