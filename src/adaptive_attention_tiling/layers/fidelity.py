"""Fidelity attention: weights are the fidelities of quantum states."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError
from ..ops.fidelity_attention import fidelity_attention
from ..ops.fidelity_attention.interface import BACKGROUND
from .gates import NO_GATES, GateConfig, MemoryGates
from .mask import Visibility, refuse_scores
from .mixer import AbstractMixer, attend_by
from .projections import ProjectionConfig
from .sizes import check_sizes
from .state_preparation import AMPLITUDES, StatePreparation


@dataclass(frozen=True, kw_only=True)
class FidelityAttentionConfig:
    """Fidelity attention.

    Args:
        projection: its `query_width` is that of `preparation`; leave it out. Rotary positions turn
            real amplitudes; other preparations refuse them.
        preparation: how queries and keys become states.
        state_width: m, amplitudes of a state. The memory has m (m + 1) / 2 features a head, m^2
            with phases.
        qubit_features: hold n >= 2 angles without phases in 3^n features instead, which say the
            same: 81 for 136 of 4 angles. Compiled kernels, which do not know them, read them 1.5
            to 6 times as slowly as density matrices (6 to 3 angles).
        gates: what it forgets and writes; decay is "none" or "head".
        window, sinks: the last and the first tokens, which are read by softmax, exactly.
        background: weight of keys whose state is orthogonal to the query's.
        scale: of the logits of that softmax, scale Re<q|k>. If None it is 1 / sqrt(m); for states
            of angles, which have norm 1, sqrt(m), so that logits have a variance of order 1.
    """

    projection: ProjectionConfig
    preparation: StatePreparation = AMPLITUDES
    state_width: int = 12
    qubit_features: bool = False
    gates: GateConfig = NO_GATES
    window: int = 0
    sinks: int = 0
    background: float = BACKGROUND
    scale: float | None = None

    def __post_init__(self) -> None:
        check_sizes(self, "state_width")
        check_sizes(self, "window", "sinks", least=0)
        if self.projection.rotary_base is not None and not self.preparation.is_plain:
            raise ArgumentError(
                "rotary_base",
                self.projection.rotary_base,
                "None where states are prepared from angles or with phases",
                "rotation would mix angles or phases with other numbers; use real amplitudes",
            )
        self.prepared()
        angles = self.preparation.kind == "angle" and not self.preparation.phases
        if self.qubit_features and not (angles and self.state_width >= 4):
            raise ArgumentError(
                "qubit_features",
                True,
                "False unless states are prepared from 2 angles or more, without phases",
                "leave it out: other states have no fewer features",
            )

    def prepared(self) -> ProjectionConfig:
        """The projections, whose queries and keys states are prepared from."""
        return replace(self.projection, query_width=self.preparation.numbers(self.state_width))

    @property
    def qubits(self) -> int:
        """n of `qubit_features`, or 0."""
        return self.preparation.numbers(self.state_width) if self.qubit_features else 0

    @property
    def logit_scale(self) -> float:
        """The scale of the window and of sinks."""
        if self.scale is not None:
            return self.scale
        root = math.sqrt(self.state_width)
        return root if self.preparation.kind == "angle" else 1 / root


class FidelityAttention(AbstractMixer):
    """o_i = sum_j |<psi_i|psi_j>|^2 v_j / sum_j |<psi_i|psi_j>|^2, states prepared from q and k."""

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
        query, key, value = heads
        prepare = self.config.preparation.states
        query, key = prepare(query), prepare(key)
        out, after = attend_by(
            fidelity_attention,
            query,
            key,
            value.to(query.real.dtype),
            is_causal=mask.is_causal,
            scale=self.config.logit_scale,
            enable_gqa=True,
            decay=decay,
            gate=gate,
            window=self.config.window,
            sinks=self.config.sinks,
            background=self.config.background,
            qubits=self.config.qubits,
            key_padding_mask=mask.padding,
            initial_state=past,
            return_state=return_state,
        )
        return out.to(value.dtype), after
