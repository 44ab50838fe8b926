"""Plain linear attention, the baseline of everything that is linear in the length of the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..ops.linear_attention import linear_attention
from .gates import NO_GATES, GateConfig, MemoryGates
from .mask import Visibility, refuse_scores
from .mixer import AbstractMixer, attend_by
from .projections import ProjectionConfig


@dataclass(frozen=True, kw_only=True)
class LinearAttentionConfig:
    """Linear attention; decay of the `gates` is "none" or "head"."""

    projection: ProjectionConfig
    gates: GateConfig = NO_GATES


class LinearAttention(AbstractMixer):
    """o_i = sum_j phi(q_i).phi(k_j) v_j / sum_j phi(q_i).phi(k_j) with phi = elu + 1."""

    def __init__(self, config: LinearAttentionConfig) -> None:
        super().__init__(config.projection)
        self.config = config
        self.gates = MemoryGates(config.gates, self.width, config.projection.groups)

    def attend(
        self,
        x: Tensor,
        heads: tuple[Tensor, Tensor, Tensor],
        mask: Visibility,
        past: Any,
        *,
        return_state: bool,
    ) -> tuple[Float[Tensor, "B H T E"], Any]:
        refuse_scores(mask, type(self).__name__)
        decay, gate = self.gates(x)
        return attend_by(
            linear_attention,
            *heads,
            is_causal=mask.is_causal,
            enable_gqa=True,
            decay=decay,
            gate=gate,
            key_padding_mask=mask.padding,
            initial_state=past,
            return_state=return_state,
        )
