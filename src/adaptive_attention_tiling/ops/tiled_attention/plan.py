"""Which tiles a block of queries reads exactly, and which through a summary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .control import Control
from .layout import TileLayout
from .tiles import Summary, split_nodes

DROPPED, GROUP, TILE, EXACT = 0, 1, 2, 3
"""How a tile is read: not at all, with its group's summary, through its own summary, exactly."""

# exp(x) - 1 of a logit variance x above this says "open it" at any mass that matters; larger
# values would only overflow.
LARGEST_VARIANCE = 10.0


def level_resolution(layout: TileLayout) -> list[float]:
    """Rows read per token at each level."""
    return [0.0, 1.0 / (layout.tile * layout.group), 1.0 / layout.tile, 1.0]


@dataclass(frozen=True)
class Risk:
    """How wrong the summary of each of M sets is, for each of h query heads.

    Estimated: factor [h, M] = exp(x) - 1, x = mean over the scouts of q^2 . variance, the variance
    of the logits inside the set. Certified: radius and spread [h, M] of the keys.
    """

    factor: Tensor | None = None
    radius: Tensor | None = None
    spread: Tensor | None = None

    def pick(self, index: Tensor) -> Risk:
        """The risk of chosen sets, index [h, m]."""
        return Risk(**{k: None if x is None else x.gather(1, index) for k, x in vars(self).items()})


def risk_of(
    summary: Summary,
    scouts: Float[Tensor, "h s D"],
    shown: Bool[Tensor, "h s"],
    control: Control,
    layout: TileLayout,
) -> Risk:
    """Risk of every set of `summary` (n key heads) for the heads of the scouts (h = n * repeat).

    Scouts that are not `shown` are padding.
    """
    n = summary.key.shape[0]
    repeat = scouts.shape[0] // n
    if control.certified:
        assert summary.radius is not None
        assert summary.spread is not None
        return Risk(
            radius=summary.radius.repeat_interleave(repeat, 0),
            spread=summary.spread.repeat_interleave(repeat, 0),
        )
    if layout.rest == "drop":
        return Risk(factor=summary.count.new_ones(scouts.shape[0], summary.count.shape[1]))
    # Where all are padding, any query tells more about the others' size than none.
    shown = shown | ~shown.any(1, keepdim=True)
    count = shown.sum(1)[:, None]
    squares = torch.linalg.vector_norm(scouts * shown[..., None], dim=1).square()
    mean_square = (squares / count).view(n, repeat, -1)
    variance = torch.bmm(mean_square, summary.variance.mT).flatten(0, 1)
    return Risk(factor=torch.expm1(variance.clamp_(max=LARGEST_VARIANCE)))


def error_cost(
    log_mass: Float[Tensor, "h t M"], risk: Risk, query_norm: Float[Tensor, "h t"]
) -> Float[Tensor, "h t M"]:
    """The part that each set adds to a query's error, in the unit of `Control.limit`.

    log_mass is the log of the set's share p of the normaliser when it is read through its mean.
    Estimated: p^2 (exp(x) - 1). Certified: 2 p mean_j |exp(x_j) - 1| is at most

        2 p [ (s^2 / a^2)(exp(a) - 1 - a) + s ],    a = |q| radius, s = |q| spread,

    by Bennett's inequality (derivation in README.md of this folder).
    """
    if risk.factor is not None:
        return (2 * log_mass).exp_() * risk.factor[:, None]
    assert risk.radius is not None
    assert risk.spread is not None
    a = query_norm[..., None] * risk.radius[:, None]
    s = query_norm[..., None] * risk.spread[:, None]
    return 2 * (log_mass.exp() * s + s.square() * (log_mass + _log_bennett(a)).exp())


def _log_bennett(a: Tensor) -> Tensor:
    """log of (exp(a) - 1 - a) / a^2, increasing in a >= 0, log(1/2) at 0."""
    small = 0.5 + a * (1 / 6 + a * (1 / 24 + a * (1 / 120 + a / 720)))
    big = a.clamp_min(0.1)
    large = big + torch.log1p(-(1 + big) * (-big).exp()) - 2 * big.log()
    return torch.where(a < 0.1, small.log(), large)


def plan_levels(
    cost: Float[Tensor, "h nodes"],
    count: Float[Tensor, "h nodes"],
    far: Bool[Tensor, " M"],
    control: Control,
    layout: TileLayout,
    *,
    batch: int,
) -> Int[Tensor, "h M"]:
    """A level for every tile, from token counts and largest costs for any scout.

    Under a tolerance the cheapest groups are read through their summary up to half the limit, then
    the cheapest of the other tiles up to the limit; what is left is read exactly. Under a budget
    the dearest tiles of all heads of a sequence are read exactly.
    """
    tile_cost, group_cost = split_nodes(cost, layout)
    levels = torch.full_like(tile_cost, TILE, dtype=torch.int8)
    if control.budget is not None:
        tokens = torch.where(far, split_nodes(count, layout)[0], 0.0).view(batch, -1)
        _, index = torch.where(far, tile_cost, -1.0).view(batch, -1).sort(-1, descending=True)
        spent = tokens.gather(1, index).cumsum(-1)
        affordable = spent <= control.budget * tokens.sum(-1, keepdim=True)
        opened = torch.zeros_like(affordable).scatter_(1, index, affordable)
        levels[opened.view(levels.shape)] = EXACT
    else:
        limit = control.limit
        grouped = _cheapest(group_cost, torch.full_like(group_cost[:, 0], limit / 2))
        used = torch.where(grouped, group_cost, 0.0).sum(-1)
        in_group = grouped.repeat_interleave(layout.group, 1)
        cheap = _cheapest(torch.where(in_group, 0.0, tile_cost), limit - used)
        levels[~cheap] = EXACT
        levels[in_group] = GROUP
    levels[:, ~far] = DROPPED
    return levels


def _cheapest(cost: Float[Tensor, "h M"], limit: Float[Tensor, " h"]) -> Bool[Tensor, "h M"]:
    """The largest set of cheapest entries whose sum stays within the limit."""
    ordered, index = cost.sort(-1)
    within = ordered.cumsum(-1) <= limit[:, None]
    return torch.zeros_like(within).scatter_(1, index, within)


def levels_from_resolution(
    resolution: Float[Tensor, "h M"], layout: TileLayout
) -> Int[Tensor, "h M"]:
    """The coarsest levels that read at least `resolution` rows per token; 0 drops a tile.

    A group's summary serves only where all its tiles ask for no more; its other tiles are read
    through their own.
    """
    _, coarse, middle, _ = level_resolution(layout)
    slack = 1 + 1e-6
    levels = torch.full_like(resolution, EXACT, dtype=torch.int8)
    levels[resolution <= middle * slack] = TILE
    grouped = ((resolution <= coarse * slack) & (resolution > 0)).unflatten(1, (-1, layout.group))
    levels[grouped.all(-1).repeat_interleave(layout.group, 1)] = GROUP
    levels[resolution == 0] = DROPPED
    return levels
