"""Resolvent attention: softmax attention over paths of any number of hops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..ops.resolvent_attention import resolvent_attention
from ..ops.resolvent_attention.walk import check_damping, hops_for
from .mask import Visibility, refuse_scores
from .mixer import AbstractMixer, attend_by
from .projections import ProjectionConfig


@dataclass(frozen=True, kw_only=True)
class ResolventAttentionConfig:
    """Attention over paths; see `resolvent_attention`.

    Args:
        damping: alpha in [0, 1), the weight of each further hop.
        tolerance: of texts without an order, whose attention is repeated until alpha^m <= it;
            texts with one are read exactly.
        scale: of the logits; 1 / sqrt(D) if None.
    """

    projection: ProjectionConfig
    damping: float = 0.5
    tolerance: float = 1e-3
    scale: float | None = None

    def __post_init__(self) -> None:
        check_damping(self.damping)
        hops_for(self.damping, self.tolerance)


class ResolventAttention(AbstractMixer):
    """o = (1 - alpha) (I - alpha A)^-1 v; its state grows with the text."""

    def __init__(self, config: ResolventAttentionConfig) -> None:
        super().__init__(config.projection)
        self.config = config

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
        return attend_by(
            resolvent_attention,
            *heads,
            damping=self.config.damping,
            tolerance=self.config.tolerance,
            is_causal=mask.is_causal,
            scale=self.config.scale,
            enable_gqa=True,
            key_padding_mask=mask.padding,
            initial_state=past,
            return_state=return_state,
        )
