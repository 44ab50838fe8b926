"""What quantum geometric attention did to a text, in numbers that obey their laws."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...mathematics.geometry import balanced_forman_curvature
from ...mathematics.geometry.normal_coordinates import (
    pairwise_square_difference,
    pairwise_square_distance,
)
from ...mathematics.graph import Graph
from ...mathematics.linalg import safe_norm
from ...ops.quantum_geometric import TilePatterns, tile_patterns
from ...tiling import entropy_of_probabilities
from ...tiling.quality import information_flow_quality, tile_distributions
from .attention_state import AttentionState
from .config import QuantumGeometricAttentionConfig

_TILES = 8  # of each text, from its start, that quality and curvature look at
_NEAREST = 3  # keys that a key is joined to


class AttentionMetrics(NamedTuple):
    """How widely rows spread, and how much of them lies in the own tile.

    Attributes:
        entropy: of each row within its own tile, in nats, in [0, log b] [B, H, n, b].
        near: what keys of the own tile weigh [B, H, n, b].
        mass: what all keys weigh, never less [B, H, n, b].
        live: which rows are tokens [B, n, b].
    """

    entropy: Float[Tensor, "B H n b"]
    near: Float[Tensor, "B H n b"]
    mass: Float[Tensor, "B H n b"]
    live: Bool[Tensor, "B n b"]

    @property
    def far_share(self) -> Float[Tensor, "B H n b"]:
        """The share of keys of other tiles in what a row weighs, in [0, 1]; 0 for padding."""
        share = 1 - self.near / torch.where(self.mass > 0, self.mass, 1.0)
        return torch.where(self.mass > 0, share.clamp(0, 1), 0.0)

    def mean(self, rows: Float[Tensor, "B H n b"]) -> float:
        """Of a figure, over rows of tokens; NaN without any."""
        live = self.live[:, None].expand_as(rows)
        return float(rows[live].mean())


def pattern_metrics(patterns: TilePatterns) -> AttentionMetrics:
    """The metrics of patterns after their flow."""
    near = patterns.after.sum(-1)
    entropy = entropy_of_probabilities(_normalised(patterns.after))
    return AttentionMetrics(
        torch.where(near > 0, entropy, 0.0), near, torch.maximum(patterns.mass, near), patterns.live
    )


@torch.no_grad()
def text_metrics(
    prepared: AttentionState, config: QuantumGeometricAttentionConfig, is_causal: bool
) -> dict[str, float]:
    """The figures that `QuantumGeometricAttention.get_metrics` names."""
    patterns = tile_patterns(
        prepared.query,
        prepared.key,
        tile_size=config.tile_size,
        is_causal=is_causal,
        gate=prepared.gate,
        points=prepared.key_points,
        flow=prepared.flow,
        routes=prepared.routes,
        key_padding_mask=prepared.padding,
        background=config.background,
    )
    metrics, live, points = pattern_metrics(patterns), prepared.live(), prepared.key_points
    unit, hyperbolic = points / config.radius, config.is_hyperbolic
    found = {
        "ifq": flow_quality(patterns, prepared.value, live),
        "entropy": metrics.mean(metrics.entropy),
        "far_share": metrics.mean(metrics.far_share),
        "curvature": key_curvature(unit, live, config.tile_size, is_hyperbolic=hyperbolic),
        "radius": mean_radius(points, live),
    }
    if prepared.heights is not None:
        found["height"] = float(prepared.heights.transpose(1, 2)[live].mean())
    if patterns.flow is not None:
        found["energy_first"] = metrics.mean(patterns.flow.energy[0])
        found["energy_last"] = metrics.mean(patterns.flow.energy[-1])
    return found


def flow_quality(patterns: TilePatterns, value: Float[Tensor, "B G T E"], live: Tensor) -> float:
    """IFQ of the first tiles, mean over texts and heads, in [0, 1].

    Patterns before and after the flow are those of two times; a tile's distribution is its mean
    row, over places in the tile; states are values. Texts shorter than a tile are one short tile.

    Args:
        live: True for tokens [B, T].
    """
    size, shared = patterns.after.shape[-1], patterns.after.shape[1] // value.shape[1]
    before, after = _normalised(patterns.before), _normalised(patterns.after)
    figures = []
    for row, tokens in enumerate(live.sum(-1).tolist()):
        tiles = max(1, min(tokens // size, _TILES))
        width = min(size, tokens)
        if not tokens:
            continue
        old, new = (p[row, :, :tiles, :width, :width] for p in (before, after))
        whole = torch.tensor([[0, width]])
        states = value[row, :, live[row]][:, : tiles * width].repeat_interleave(shared, 0)
        moved = states.diff(dim=1) if states.shape[1] > 1 else torch.zeros_like(states)
        spans = torch.arange(tiles + 1).unfold(0, 2, 1) * width
        distributions = tile_distributions(new, whole)[:, :, 0]
        report = information_flow_quality(
            _block_diagonal(old), _block_diagonal(new), distributions, spans.to(new.device), moved
        )
        figures.append(report.ifq.mean())
    return float(torch.stack(figures).mean()) if figures else torch.nan


def key_curvature(
    points: Float[Tensor, "B G T n"], live: Tensor, tile_size: int, *, is_hyperbolic: bool
) -> float:
    """Mean balanced Forman curvature of the edges from each key to the 3 nearest of its tile.

    In (-2, 2] as every edge's is; NaN where no tile has two keys. Of the first text's first tiles.
    """
    distance = pairwise_square_distance if is_hyperbolic else pairwise_square_difference
    values = []
    for head in points[0][:, live[0]]:
        for tile in head.split(tile_size)[:_TILES]:
            count = len(tile)
            if count < 2:
                continue
            square = distance(tile).fill_diagonal_(torch.inf)
            near = square.topk(min(_NEAREST, count - 1), largest=False).indices
            first = torch.arange(count, device=near.device)[:, None].expand_as(near)
            edges = torch.stack([first, near], -1).flatten(0, 1).sort(-1).values.unique(dim=0)
            values.append(balanced_forman_curvature(Graph(count, edges)))
    return float(torch.cat(values).mean()) if values else torch.nan


def mean_radius(points: Float[Tensor, "B G T n"], live: Tensor) -> float:
    """The mean distance of keys from the origin, >= 0."""
    return float(safe_norm(points).transpose(1, 2)[live].mean())


def _normalised(patterns: Tensor) -> Tensor:
    """Rows with a sum of 1; rows of nothing are alike everywhere, so that they are rows at all."""
    mass = patterns.sum(-1, keepdim=True)
    alike = torch.full_like(patterns, 1 / patterns.shape[-1])
    return torch.where(mass > 0, patterns / torch.where(mass > 0, mass, 1.0), alike)


def _block_diagonal(patterns: Float[Tensor, "H n b b"]) -> Float[Tensor, "H T T"]:
    count, size = patterns.shape[1], patterns.shape[-1]
    same = torch.eye(count, dtype=patterns.dtype, device=patterns.device)
    blocks = patterns[:, :, :, None, :] * same[:, None, :, None]
    return blocks.reshape(patterns.shape[0], count * size, count * size)
