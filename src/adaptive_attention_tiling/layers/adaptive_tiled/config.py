"""What the whole system is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...errors import ArgumentError
from ...ops.tiled_attention import TileLayout
from ..projections import ProjectionConfig
from .attention import AdaptiveTiledAttentionConfig
from .choice import Rule, TileChoiceConfig
from .memory import Estimator, FarMemoryConfig


@dataclass(frozen=True, kw_only=True)
class AdaptiveAttentionConfig:
    """The whole system.

    Args:
        sequence_length: tokens of the texts it is made for: how far back memory reaches at the
            start. Longer texts are read all the same.
        projection: the parts around both paths.
        min_tile_size, max_tile_size: tokens of a tile of the state-space path.
        super_block: tokens that are tiled together; `max_tile_size` if None.
        resolutions: R on offer, each 1/k.
        d_state: N, channels of each head's memory.
        compute_budget: mean resolution of the state-space path's tiles.
        rule, temperature, estimator: see `TileChoiceConfig` and `TiledStateSpace`.
        state_space: whether there is a state-space path.
        tolerance, budget, resolution: of the attention path, at most one. If none is given it
            reads its near field alone, and the memory is all that tells of far tokens.
        layout: of the attention path, whose near field must reach back to what is not absorbed
            yet; the own super-block and the one before if None.
        lambda_compute, lambda_info: weights in `compute_loss`. The price alone holds the budget; a
            penalty beside it moves weights for nothing, see experiments/adaptive_system.py.
        checkpoint: keep the layer's input alone for the backward pass, and compute again.
    """

    sequence_length: int
    projection: ProjectionConfig
    min_tile_size: int = 16
    max_tile_size: int = 512
    super_block: int | None = None
    resolutions: tuple[float, ...] = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
    d_state: int = 16
    compute_budget: float = 0.5
    rule: Rule = "adaptive"
    temperature: float = 1.0
    estimator: Estimator = "straight_through"
    state_space: bool = True
    tolerance: float | None = None
    budget: float | None = None
    resolution: float | None = None
    layout: TileLayout | None = None
    lambda_compute: float = 0.0
    lambda_info: float = 0.0
    checkpoint: bool = False

    def __post_init__(self) -> None:
        for name in ("lambda_compute", "lambda_info"):
            if not getattr(self, name) >= 0:
                raise ArgumentError(name, getattr(self, name), "a weight >= 0", "use 0 for none")
        near = self.attention.layout
        reach = near.super_block * near.neighbours
        if self.state_space and (
            self.block % near.super_block or reach + near.super_block < self.block
        ):
            raise ArgumentError(
                "layout",
                f"super_block {near.super_block}, window {near.window}",
                f"a near field that covers super-blocks of {self.block} tokens",
                "leave layout out, or use the same super_block",
            )

    @property
    def block(self) -> int:
        """Tokens of a super-block."""
        return self.max_tile_size if self.super_block is None else self.super_block

    @property
    def attention(self) -> AdaptiveTiledAttentionConfig:
        """The attention path."""
        layout, settings = self.layout, (self.tolerance, self.budget, self.resolution)
        if layout is None:
            layout = TileLayout(super_block=self.block, window=self.block, tile=1, group=1)
            tile = max(t for t in (1, 2, 4, 8) if self.block % t == 0)
            layout = replace(layout, tile=tile)
        resolution = self.resolution
        if settings == (None, None, None):
            resolution, layout = 0.0, replace(layout, sinks=0)
        return AdaptiveTiledAttentionConfig(
            projection=self.projection,
            tolerance=self.tolerance,
            budget=self.budget,
            resolution=resolution,
            layout=layout,
        )

    @property
    def memory(self) -> FarMemoryConfig | None:
        """The state-space path."""
        if not self.state_space:
            return None
        return FarMemoryConfig(
            width=self.projection.width,
            heads=self.projection.heads,
            head_width=self.projection.value_width,
            d_state=self.d_state,
            horizon=self.sequence_length,
            estimator=self.estimator,
            tiles=TileChoiceConfig(
                min_size=self.min_tile_size,
                max_size=self.max_tile_size,
                super_block=self.block,
                resolutions=self.resolutions,
                budget=self.compute_budget,
                rule=self.rule,
                temperature=self.temperature,
            ),
        )
