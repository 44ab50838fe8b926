"""Fidelity attention: weights are the fidelities of quantum states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..ops.fidelity_attention import fidelity_attention
from ..ops.fidelity_attention.interface import BACKGROUND
from .gates import NO_GATES, GateConfig, MemoryGates
from .mask import Visibility, refuse_scores
from .mixer import AbstractMixer, attend_by
from .projections import ProjectionConfig
from .sizes import check_sizes


@dataclass(frozen=True, kw_only=True)
class FidelityAttentionConfig:
    """Fidelity attention.

    Args:
        projection: its `query_width` is `state_width`; leave it out.
        state_width: m, real amplitudes of a state. The memory has m (m + 1) / 2 features a head.
        gates: what it forgets and writes; decay is "none" or "head".
        window, sinks: the last and the first tokens, which are read by softmax, exactly.
        background: weight of keys whose state is orthogonal to the query's.
        scale: of the logits of that softmax; 1 / sqrt(m) if None.
    """

    projection: ProjectionConfig
    state_width: int = 12
    gates: GateConfig = NO_GATES
    window: int = 0
    sinks: int = 0
    background: float = BACKGROUND
    scale: float | None = None

    def __post_init__(self) -> None:
        check_sizes(self, "state_width")
        check_sizes(self, "window", "sinks", least=0)
        self.prepared()

    def prepared(self) -> ProjectionConfig:
        """The projections, whose queries and keys are states."""
        return replace(self.projection, query_width=self.state_width)


class FidelityAttention(AbstractMixer):
    """o_i = sum_j |<psi_i|psi_j>|^2 v_j / sum_j |<psi_i|psi_j>|^2, the states made of q and k."""

    def __init__(self, config: FidelityAttentionConfig) -> None:
        super().__init__(config.prepared())
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
            fidelity_attention,
            *heads,
            is_causal=mask.is_causal,
            scale=self.config.scale,
            enable_gqa=True,
            decay=decay,
            gate=gate,
            window=self.config.window,
            sinks=self.config.sinks,
            background=self.config.background,
            key_padding_mask=mask.padding,
            initial_state=past,
            return_state=return_state,
        )
