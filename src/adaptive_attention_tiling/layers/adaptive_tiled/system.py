"""Attention and state-space path in one mixer, under one compute budget."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from ...errors import UnsupportedError
from ...tiling import CrossScaleRouter, InformationDensityAnalyzer, TileManager, Tiling
from ..mask import Visibility, refuse_scores
from ..mixer import AbstractMixer, MixerState
from ..projections import ProjectionConfig, named_projection
from .attention import TiledPath
from .config import AdaptiveAttentionConfig
from .cost import ComputeCost, count_cost
from .memory import MemoryState, TiledStateSpace


class SystemState(NamedTuple):
    """Of both paths."""

    attention: Any
    memory: MemoryState | None


class AdaptiveAttentionSystem(AbstractMixer):
    """Attention near by, and a memory of what is far that is written at adaptive resolution.

        o = W_o (attention path + gate * norm(state-space path))

    The attention path reads a token's own super-block and those beside it exactly (and, if it is
    told to, far tokens under a tolerance). The state-space path has absorbed every super-block
    before the token's own, tile by tile, at resolutions that lose least information for what they
    cost. No token sees a later one, to the bit, and training, prefill and steps cut the same tiles:
    the price of a row is constant until `adapt_tiling` moves it. Padding takes places in
    super-blocks; on the left of a text it moves their borders, and so what is cut from it.

        system = AdaptiveAttentionSystem(2048, width=256, heads=8, d_state=16)

    Source: chapter 4.1 of the specification, whose arguments come first.

    Args:
        sequence_length, min_tile_size, max_tile_size: see `AdaptiveAttentionConfig`.
        width, heads: of the projections, with rotary positions; or pass `projection`.
        settings: the other fields of `AdaptiveAttentionConfig`.
    """

    def __init__(
        self,
        sequence_length: int,
        min_tile_size: int = 16,
        max_tile_size: int = 512,
        *,
        width: int | None = None,
        heads: int | None = None,
        projection: ProjectionConfig | None = None,
        **settings: Any,
    ) -> None:
        config = AdaptiveAttentionConfig(
            sequence_length=sequence_length,
            min_tile_size=min_tile_size,
            max_tile_size=max_tile_size,
            projection=named_projection(
                projection, {"width": width, "heads": heads}, rotary_base=10_000.0
            ),
            **settings,
        )
        super().__init__(config.projection)
        self.config = config
        self.path = TiledPath(config.attention)
        self.density_analyzer = InformationDensityAnalyzer()
        self.memory = None if config.memory is None else TiledStateSpace(config.memory)
        if self.memory is not None and (config.lambda_compute or config.lambda_info):
            self.memory.expects = True
        self._last: tuple[int, int] | None = None

    @classmethod
    def from_config(cls, config: AdaptiveAttentionConfig) -> AdaptiveAttentionSystem:
        """The system that a config describes."""
        return cls(**vars(config))

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        *,
        attn_mask: Tensor | None = None,
        is_causal: bool = True,
        state: MixerState | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, MixerState]:
        """As every mixer's; causal only. With `checkpoint`, training computes it twice."""
        if not is_causal:
            raise UnsupportedError(
                "is_causal: memory follows the order of tokens. Fix: use AdaptiveTiledAttention, "
                "which can do without it."
            )
        whole = state is None and not return_state
        self._last = (x.shape[0], x.shape[1]) if whole else None
        if self.config.checkpoint and whole and torch.is_grad_enabled():
            forward = super().forward
            out: Tensor = checkpoint(forward, x, attn_mask=attn_mask, use_reentrant=False)
            return out
        return super().forward(x, attn_mask=attn_mask, state=state, return_state=return_state)

    def attend(
        self,
        x: Tensor,
        heads: tuple[Tensor, Tensor, Tensor],
        mask: Visibility,
        past: Any,
        *,
        return_state: bool,
    ) -> tuple[Float[Tensor, "B H T E"], SystemState]:
        refuse_scores(mask, type(self).__name__)
        before = SystemState(None, None) if past is None else past
        out, attention = self.path.attend(heads, mask, before.attention, return_state=return_state)
        if self.memory is None:
            return out, SystemState(attention, None)
        far, memory = self.memory(x, mask.padding, before.memory)
        return out + far, SystemState(attention, memory)

    @property
    def tile_manager(self) -> TileManager | None:
        """What cuts the state-space path's tiles."""
        return None if self.memory is None else self.memory.choice.tiler

    @property
    def router(self) -> CrossScaleRouter | None:
        """What carries a tile's channels to those of the memory."""
        return None if self.memory is None else self.memory.router

    @property
    def current_tiling(self) -> Tiling | None:
        """The tiles that the last call cut; None where it finished no super-block."""
        chosen = None if self.memory is None else self.memory.chosen
        return None if chosen is None else chosen.tiling

    @property
    def mean_resolution(self) -> float:
        """Of the tiles that the last call cut; 1 where it cut none."""
        tiling = self.current_tiling
        return 1.0 if tiling is None else float(tiling.mean_resolution.mean())

    @property
    def density(self) -> Float[Tensor, "B T"] | None:
        """Information density of the tokens that the last call cut into tiles, by super-block."""
        if self.memory is None or self.memory.states is None:
            return None
        blocks = self.memory.states.unflatten(1, (-1, self.config.block))
        return self.density_analyzer.compute_density(blocks).flatten(1)

    @property
    def compute_cost(self) -> ComputeCost | None:
        """Multiply-adds of the last call; None after calls with a state."""
        if self._last is None:
            return None
        chosen = None if self.memory is None else self.memory.chosen
        config = self.config
        return count_cost(*self._last, config.attention, config.memory, self.path.report, chosen)

    def penalty(self, compute_cost: float | Tensor | None = None) -> Tensor:
        """What `compute_loss` adds to the task's loss, from the last call in training.

            lambda_compute (expected resolution - budget)_+ + lambda_info information loss

        Both are means over tokens of the Gibbs distribution over tilings, and have gradients.
        Information loss is energy lost a token, in units of the mean density. `compute_cost` stands
        in for the expected resolution if it is given.
        """
        weight = next(self.parameters())
        if self.memory is None:
            return weight.new_zeros(())
        chosen = self.memory.chosen
        expected = None if chosen is None else chosen.expected
        excess = lost = weight.new_zeros(())
        if compute_cost is None and expected is not None:
            compute_cost = expected.token_resolution.mean()
        if compute_cost is not None:
            budget = float(self.memory.choice.budget)
            excess = torch.as_tensor(compute_cost).to(weight).sub(budget).clamp(min=0)
        if expected is not None:
            tokens = expected.at_least.shape[0] * expected.at_least.shape[1]
            lost = expected.information_loss.sum() / tokens
        return self.config.lambda_compute * excess + self.config.lambda_info * lost

    def compute_loss(
        self,
        output: Float[Tensor, "*n V"],
        target: Tensor,
        compute_cost: float | Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy of logits in nats, and the `penalty` of the last call.

        Source: chapter 4.5.1.
        """
        task = cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))
        return task + self.penalty(compute_cost)

    def adapt_tiling(self, compute_budget: float | None = None, *, rate: float = 1.0) -> float:
        """Set the price of a row so that the tokens of the last training call meet a budget.

        Args:
            compute_budget: mean resolution of tiles; the present budget if None.
            rate: part of the way to go; see `TileChoice.adapt`.

        Returns:
            The price, in energy per row.
        """
        if self.memory is None:
            raise UnsupportedError(
                "adapt_tiling: there is no state-space path. Fix: build with state_space=True."
            )
        choice = self.memory.choice
        budget = float(choice.budget) if compute_budget is None else compute_budget
        return choice.adapt(budget, rate=rate)
