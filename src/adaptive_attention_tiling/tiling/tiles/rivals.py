"""Tilings by simpler rules, for comparison at equal compute: uniform, and greedy boundaries.

Greedy boundaries cut where neighbouring states differ most and read each piece as one mean, as
Dynamic Linear Attention does by the size of the step, and H-Net's gate by the cosine.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .loss import tiling_loss
from .tiler import TileManager
from .tiling import Tiling, packed

Score = Literal["step", "cosine"]


def uniform_tiling(
    states: Float[Tensor, "n T C"], compute_budget: float, tiler: TileManager
) -> Tiling:
    """Tiles of the largest size, all at the finest resolution on offer that keeps to the budget."""
    tiler.check_budget(compute_budget)
    tokens, size = states.shape[1], min(tiler.max_size, tiler.super_block)
    lengths = [min(size, tiler.super_block - at) for at in range(0, tiler.super_block, size)]
    most = compute_budget * tiler.exact_cost(tiler.super_block)
    span = next(
        span
        for span in tiler.spans
        if sum(math.ceil(length / span) + tiler.overhead for length in lengths) <= most
    )
    starts = torch.arange(tokens) % tiler.super_block % size == 0
    return _from_starts(states, starts.expand(len(states), -1), span, tiler)


def greedy_tiling(
    states: Float[Tensor, "n T C"],
    compute_budget: float,
    tiler: TileManager,
    *,
    by: Score = "step",
    granularity: int = 1,
) -> Tiling:
    """Pieces read as one mean each, cut at as many of the largest scores as the budget pays for.

    Args:
        states: [n, T, C].
        compute_budget: as for `TileManager.optimize_tiling`, in each super-block by itself.
        tiler: its super-blocks, max_size and overhead are kept; pieces may have any size up to
            max_size, and none of its resolutions need be 1/size.
        by: what makes a boundary: "step" |x_t - x_(t-1)|^2, "cosine" (1 - cos(x_t, x_(t-1))) / 2.
        granularity: cuts lie at multiples of it.
    """
    tiler.check_budget(compute_budget)
    scores = boundary_scores(states, by)
    starts = torch.cat(
        [
            _largest(block, compute_budget, tiler, granularity)
            for block in scores.split(tiler.super_block, 1)
        ],
        1,
    )
    return _from_starts(states, _without_long_pieces(starts, tiler.max_size), None, tiler)


def threshold_tiling(
    states: Float[Tensor, "n T C"], threshold: float, tiler: TileManager, *, by: Score = "cosine"
) -> Tiling:
    """Pieces read as one mean each, cut wherever the score is above a threshold."""
    starts = boundary_scores(states, by) > threshold
    starts[:, :: tiler.super_block] = True
    return _from_starts(states, _without_long_pieces(starts, tiler.max_size), None, tiler)


def boundary_scores(states: Float[Tensor, "n T C"], by: Score) -> Float[Tensor, "n T"]:
    """How much each state differs from the one before it; 0 for the first."""
    now, before = states[:, 1:], states[:, :-1]
    if by == "step":
        scores = (now - before).square().sum(-1)
    elif by == "cosine":
        scores = (1 - torch.cosine_similarity(now, before, -1)) / 2
    else:
        raise ArgumentError("by", by, f"one of {get_args(Score)}", "leave it out")
    return torch.nn.functional.pad(scores, (1, 0))


def _largest(
    scores: Float[Tensor, "n L"], compute_budget: float, tiler: TileManager, granularity: int
) -> Bool[Tensor, "n L"]:
    """A super-block's start, and as many cuts as can be paid besides those of pieces too long."""
    tokens = scores.shape[1]
    pieces = int(compute_budget * tiler.exact_cost(tokens) / (1 + tiler.overhead))
    allowed = torch.arange(tokens) % granularity == 0
    allowed[0] = False
    cuts = min(pieces - 1 - (tokens - 1) // tiler.max_size, int(allowed.sum()))
    starts = torch.zeros_like(scores, dtype=torch.bool)
    starts[:, 0] = True
    if cuts < 1:
        return starts
    chosen = scores.masked_fill(~allowed, -torch.inf).topk(cuts, 1).indices
    return starts.scatter(1, chosen, True)


def _without_long_pieces(starts: Bool[Tensor, "n T"], most: int) -> Bool[Tensor, "n T"]:
    """Further starts, `most` tokens apart, in pieces that are longer."""
    position = torch.arange(starts.shape[1])
    latest = torch.where(starts, position, 0).cummax(1).values
    return (position - latest) % most == 0


def _from_starts(
    states: Tensor, starts: Bool[Tensor, "n T"], span: int | None, tiler: TileManager
) -> Tiling:
    """Tiles from one start to the next in segments of `span`, or in one piece if None."""
    n, tokens = starts.shape
    first = torch.arange(tokens).expand(n, -1)
    (start,) = packed(starts, (first, tokens))
    length = torch.nn.functional.pad(start, (0, 1), value=tokens).diff(dim=1)
    spans = length.clamp_min(1) if span is None else torch.full_like(length, span)
    resolution = torch.where(length > 0, 1 / spans.to(states.dtype), 1)
    cost = _costs(start, torch.ceil(length / spans), tokens, tiler)
    tiling = Tiling(
        tokens=tokens,
        super_block=tiler.super_block,
        overhead=tiler.overhead,
        start=start,
        length=length,
        resolution=resolution,
        block_loss=cost,
        block_cost=cost,
        price=torch.full_like(cost, torch.nan),
    )
    return replace(tiling, block_loss=tiling_loss(states, tiling).double())


def _costs(
    start: Int[Tensor, "n M"], rows: Float[Tensor, "n M"], tokens: int, tiler: TileManager
) -> Float[Tensor, "n S"]:
    """Rows and overheads of each super-block."""
    blocks = -(-tokens // tiler.super_block)
    there = (start < tokens).double()
    cost = torch.zeros(len(start), blocks + 1, dtype=torch.float64)
    where = torch.where(start < tokens, start // tiler.super_block, blocks)
    return cost.scatter_add(1, where, (rows + tiler.overhead) * there)[:, :-1]
