"""Attention that reads far tokens exactly only where it matters, as a mixer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...ops.tiled_attention import (
    Control,
    TiledAttentionReport,
    TiledState,
    TileLayout,
    tiled_attention,
)
from ...ops.tiled_attention.control import check_control, check_finite
from ..mask import Visibility, refuse_scores
from ..mixer import AbstractMixer
from ..projections import ProjectionConfig
from .near import NearState, near_attention, no_tokens


@dataclass(frozen=True, kw_only=True)
class AdaptiveTiledAttentionConfig:
    """Tiled attention; see `tiled_attention` for what its settings mean.

    Args:
        projection: the parts around it.
        tolerance, budget, resolution: at most one; the default tolerance if none. A resolution
            of 0 without sinks leaves the far field out, and no tiles are made.
        certified: hold the tolerance by a rigorous bound.
        layout: the geometry of tiles.
        scale: of the logits; 1 / sqrt(D) if None.
    """

    projection: ProjectionConfig
    tolerance: float | None = None
    budget: float | None = None
    resolution: float | None = None
    certified: bool = False
    layout: TileLayout = field(default_factory=TileLayout)
    scale: float | None = None

    def __post_init__(self) -> None:
        self.control()

    def control(self) -> Control:
        """The checked choice of what decides."""
        asked = self.tolerance, self.budget, self.resolution
        return check_control(*asked, self.certified, self.layout)

    @property
    def is_near_only(self) -> bool:
        """Whether no far token is read at all."""
        return self.resolution == 0 and self.layout.sinks == 0


class TiledPath:
    """The attention that a config describes, between projections.

    Attributes:
        report: what the last causal call without a state read of its far field; None after others
            and where all or nothing of it is read.
    """

    def __init__(self, config: AdaptiveTiledAttentionConfig) -> None:
        self.config = config
        self.report: TiledAttentionReport | None = None

    def attend(
        self,
        heads: tuple[Tensor, Tensor, Tensor],
        mask: Visibility,
        past: Any,
        *,
        return_state: bool,
    ) -> tuple[Float[Tensor, "B H T E"], TiledState | NearState | None]:
        """The output of query, key and value after `past`, and the state after them."""
        self.report = None
        if self.config.is_near_only and mask.is_causal:
            return self._near(heads, mask.padding, past)
        if past is None and not return_state:
            return self._whole(heads, mask), None
        return self._on(heads, mask.padding, past)

    def _near(
        self, heads: tuple[Tensor, Tensor, Tensor], padding: Tensor | None, past: NearState | None
    ) -> tuple[Tensor, NearState]:
        query, key, value = heads
        geometry = {
            "size": self.config.layout.super_block,
            "neighbours": self.config.layout.neighbours,
        }
        state = no_tokens(key, value) if past is None else past
        state = state.extended(key, value, padding)
        out = near_attention(query, state, scale=self.config.scale, **geometry)
        return out, state.trimmed(**geometry)

    def _whole(self, heads: tuple[Tensor, Tensor, Tensor], mask: Visibility) -> Tensor:
        config = self.config
        settings: dict[str, Any] = {
            "is_causal": mask.is_causal,
            "scale": config.scale,
            "enable_gqa": True,
            "key_padding_mask": mask.padding,
            "tolerance": config.tolerance,
            "budget": config.budget,
            "resolution": config.resolution,
            "certified": config.certified,
            "layout": config.layout,
        }
        if not mask.is_causal or config.control().reads_all:
            out: Tensor = tiled_attention(*heads, **settings)
        else:
            out, self.report = tiled_attention(*heads, **settings, return_report=True)
        return out

    def _on(
        self, heads: tuple[Tensor, Tensor, Tensor], padding: Tensor | None, past: TiledState | None
    ) -> tuple[Tensor, TiledState]:
        query, key, value = heads
        if self.config.certified:
            check_finite(query=query, key=key, value=value)
        state = TiledState(self.config.layout, self.config.control())
        if past is not None:
            state = past.fork()
        state.append(key, value, padding)
        if self.config.resolution is not None:
            state.resolution = self._constant(query, state.length)
        scale = query.shape[-1] ** -0.5 if self.config.scale is None else self.config.scale
        work = torch.promote_types(query.dtype, torch.float32)
        out = state.answer(query.to(work) * scale)
        return out.to(query.dtype), state

    def _constant(self, query: Tensor, length: int) -> Float[Tensor, "h blocks M"]:
        """The one resolution of all tiles, for every head and super-block."""
        layout, resolution = self.config.layout, self.config.resolution
        blocks = -(-length // layout.super_block)
        shape = query.shape[0] * query.shape[1], blocks, blocks * layout.tiles_per_block
        return torch.full((), float(resolution or 0), device=query.device).expand(shape)


class AdaptiveTiledAttention(AbstractMixer):
    """Softmax attention that reads far tiles of key space exactly or through their means.

    A token sees no later one, to the bit: a super-block is cut into tiles when it is finished, and
    its own queries read it exactly. In pieces a text is read through the same tiles as at once.

    Padding takes places in super-blocks, so that padding on the left moves the borders between
    them, and with these what is read through means.
    """

    def __init__(self, config: AdaptiveTiledAttentionConfig) -> None:
        super().__init__(config.projection)
        self.config = config
        self.path = TiledPath(config)

    @property
    def report(self) -> TiledAttentionReport | None:
        """What the last causal call read of its far field; see `TiledPath`."""
        return self.path.report

    def attend(
        self,
        x: Tensor,
        heads: tuple[Tensor, Tensor, Tensor],
        mask: Visibility,
        past: Any,
        *,
        return_state: bool,
    ) -> tuple[Float[Tensor, "B H T E"], TiledState | NearState | None]:
        refuse_scores(mask, type(self).__name__)
        return self.path.attend(heads, mask, past, return_state=return_state)
