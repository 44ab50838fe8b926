"""What a reader carries from call to call: its size does not depend on how much was read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..carried_state import AbstractCarriedState
from ..softmax_attention import EMPTY
from .memory import Memory, MemorySums, empty_sums


@dataclass(frozen=True)
class MemoryState(AbstractCarriedState):
    """The state after some tokens; calls return a new one and leave the old one as it is.

    The last W tokens are in the ring and not yet in the sums, the first Z are sinks and never are.
    With a rollback limit R, the ring holds R tokens more, `anchor` the sums of R tokens ago, and
    `decay` the decays since, so that up to R tokens can be taken back exactly.

    Attributes:
        values, mass, level: the sums, as in `MemorySums`.
        key, value, gate: the ring, newest last [B, H, W + R, D], [.., E], [.., 1]; gate is the
            log weight in the memory, -inf for slots without a token and for sinks.
        sink_key, sink_value: [B, H, Z, D], [B, H, Z, E], by position.
        anchor_values, anchor_mass, anchor_level, decay: see above; None when R = 0.
        length, rollback_limit, spent: as in `AbstractCarriedState`; R is the limit.
    """

    values: Tensor
    mass: Tensor
    level: Tensor
    key: Tensor
    value: Tensor
    gate: Tensor
    sink_key: Tensor
    sink_value: Tensor
    anchor_values: Tensor | None = None
    anchor_mass: Tensor | None = None
    anchor_level: Tensor | None = None
    decay: Tensor | None = None

    @property
    def window(self) -> int:
        return self.key.shape[2] - self.rollback_limit

    @property
    def sinks(self) -> int:
        return self.sink_key.shape[2]

    @property
    def sums(self) -> MemorySums:
        return MemorySums(self.values, self.mass, self.level)

    @property
    def anchor(self) -> MemorySums:
        assert self.anchor_values is not None
        assert self.anchor_mass is not None
        assert self.anchor_level is not None
        return MemorySums(self.anchor_values, self.anchor_mass, self.anchor_level)

    def rollback(self, tokens: int) -> MemoryState:
        """The state before the last `tokens` tokens of every row were read."""
        self._check_rollback(tokens)
        if tokens == 0:
            return self
        assert self.decay is not None
        return replace(
            self,
            key=_later(self.key, tokens, 0.0),
            value=_later(self.value, tokens, 0.0),
            gate=_later(self.gate, tokens, EMPTY),
            decay=_later(self.decay, tokens, 0.0),
            length=self.length - tokens,
            spent=self.spent + tokens,
        )


def empty_state(
    memory: Memory,
    key: Tensor,
    value: Tensor,
    *,
    window: int,
    sinks: int,
    rollback_limit: int = 0,
    decay: Tensor | None = None,
) -> MemoryState:
    """The state of a reader that has read nothing; key and value are looked at for their shapes."""
    batch, heads, _, width = key.shape
    sums = empty_sums(memory, batch, value)
    ring = window + rollback_limit
    anchor: MemorySums | tuple[None, None, None] = sums if rollback_limit else (None, None, None)
    decays = 1 if decay is None else decay.shape[-1]
    return MemoryState(
        *sums,
        key=key.new_zeros(batch, heads, ring, width),
        value=value.new_zeros(batch, heads, ring, value.shape[-1]),
        gate=key.new_full((batch, heads, ring, 1), EMPTY),
        sink_key=key.new_zeros(batch, heads, sinks, width),
        sink_value=value.new_zeros(batch, heads, sinks, value.shape[-1]),
        length=torch.zeros(batch, dtype=torch.long, device=key.device),
        anchor_values=anchor[0],
        anchor_mass=anchor[1],
        anchor_level=anchor[2],
        decay=key.new_zeros(batch, heads, rollback_limit, decays) if rollback_limit else None,
        rollback_limit=rollback_limit,
    )


def _later(ring: Tensor, steps: int, fill: float) -> Tensor:
    """The newest `steps` slots dropped, and as many empty ones put before the oldest."""
    return torch.cat([torch.full_like(ring[:, :, :steps], fill), ring[:, :, :-steps]], 2)
