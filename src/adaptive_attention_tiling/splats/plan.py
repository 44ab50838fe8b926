"""Decides, from what splats did and what they miss, which edits a field needs now."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .coverage import redundancy, uncovered
from .edits import Edit, birth, death, merge, no_edit, relocate, split
from .splats import Splats

if TYPE_CHECKING:
    from .policy import AdaptationConfig


class Plan(NamedTuple):
    """One edit, made of this many smaller ones, over all heads."""

    edit: Edit
    births: int = 0
    deaths: int = 0
    merges: int = 0
    splits: int = 0
    relocations: int = 0


@torch.no_grad()
def plan_edits(
    splats: Splats,
    activation: Float[Tensor, "H K"],
    settled: Bool[Tensor, "H K"],
    points: Float[Tensor, "H N D"],
    config: AdaptationConfig,
    generator: torch.Generator,
) -> Plan:
    """What to do with these splats, of which only the settled ones are judged.

    In this order, in each head, with at most `config.most` of each: splats that do too little go
    to points that no splat covers, or die if there are none; splats that do the same are merged;
    points that are still uncovered get a splat of their own; and splats that do too much are split.
    The last two take empty slots, as long as there are any. What one step changes, later ones
    leave alone.

    Args:
        activation: the mean share of the tokens that each splat has. Too little and too much are
            `config.death` and `config.split` times the mean of the head's living splats.
        points: a sample of tokens.
        generator: draws the points.
    """
    start = no_edit(splats)
    splats = start.splats
    free = splats.alive & settled
    total = torch.where(splats.alive, activation, 0).sum(1, keepdim=True)
    typical = total / splats.alive.sum(1, keepdim=True).clamp(min=1)

    weak = _lowest(free & (activation < config.death * typical), activation, config.most)
    scale, amplitude = _newborn(splats, config.scale)
    gaps = uncovered(
        death(splats, weak).splats,
        points,
        config.most,
        generator=generator,
        scale=scale.mean(-1),
        radius=config.radius,
        support=config.support,
    )
    # The i-th weak splat goes to the i-th gap.
    turn = weak.cumsum(1) - 1  # [H, K]
    moved = weak & (turn < gaps.found.sum(1, keepdim=True))
    edit = start
    if config.most:
        targets = gaps.points[_heads(splats), turn.clamp(0, config.most - 1)]
        edit = edit.then(
            relocate(splats, moved, targets, scale=_spread(splats, scale), amplitude=amplitude)
        )
    edit = edit.then(death(edit.splats, weak & ~moved))
    free = free & ~weak

    pairs = _redundant_pairs(edit.splats, free, config)
    edit = edit.then(merge(edit.splats, pairs))
    merged = pairs[..., 0] >= 0
    free = free & ~_named(pairs, splats.count)

    waiting = gaps.found & (gaps.found.cumsum(1) > moved.sum(1, keepdim=True))
    waiting &= waiting.cumsum(1) <= _room(edit.splats)
    born_scale = _spread(splats, scale)[:, :1].expand(-1, config.most, *splats.scale.shape[2:])
    born_amplitude = amplitude[:, :1].expand(-1, config.most)
    edit = edit.then(
        birth(edit.splats, gaps.points, scale=born_scale, amplitude=born_amplitude, where=waiting)
    )

    busy = _lowest(free & (activation > config.split * typical), -activation, config.most)
    rank = _lowest_rank(busy, -activation)
    busy &= rank < _room(edit.splats)
    edit = edit.then(split(edit.splats, busy, spread=config.spread))
    return Plan(
        edit,
        births=int(waiting.sum()),
        deaths=int((weak & ~moved).sum()),
        merges=int(merged.sum()),
        splits=int(busy.sum()),
        relocations=int(moved.sum()),
    )


def _newborn(splats: Splats, scale: float | None) -> tuple[Tensor, Tensor]:
    """The deviations [H, D] and amplitudes [H, K] of new splats: the medians of the living."""
    empty = ~splats.alive
    deviations = splats.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    deviations = deviations.masked_fill(empty[..., None], torch.nan).nanquantile(0.5, 1)
    logs = splats.log_amplitude.masked_fill(empty, torch.nan).nanquantile(0.5, 1, keepdim=True)
    # A head without living splats has no medians.
    amplitude = torch.where(logs.isnan(), 0, logs).exp().expand_as(splats.log_amplitude)
    deviations = torch.where(deviations.isnan(), 1, deviations)
    return (deviations if scale is None else torch.full_like(deviations, scale)), amplitude


def _spread(splats: Splats, scale: Tensor) -> Tensor:
    """Deviations [H, D] in the shape of the scales of this kind."""
    if splats.kind == "scalar":
        return scale.mean(-1, keepdim=True).expand_as(splats.scale)
    return scale[:, None].expand_as(splats.scale)


def _redundant_pairs(splats: Splats, free: Tensor, config: AdaptationConfig) -> Tensor:
    """Pairs of free splats that overlap by more than `config.merge`, most alike first."""
    pairs = torch.full((splats.heads, config.most, 2), -1, device=free.device)
    if not bool(free.any()):
        return pairs
    overlap = redundancy(splats).triu(1) * (free[:, None] & free[..., None])
    for number in range(config.most):
        largest, place = overlap.flatten(1).max(1)
        found = largest > config.merge
        pair = torch.stack([place // splats.count, place % splats.count], -1)
        pairs[:, number] = torch.where(found[:, None], pair, -1)
        used = _named(pairs[:, number, None], splats.count)
        overlap = overlap.masked_fill(used[:, None] | used[..., None], 0)
    return pairs


def _named(pairs: Tensor, count: int) -> Tensor:
    """Which slots occur in the pairs, [H, K]."""
    slots = torch.arange(count, device=pairs.device)
    return (pairs.flatten(1)[..., None] == slots).any(1)


def _lowest_rank(mask: Tensor, values: Tensor) -> Tensor:
    """The place of each slot in its head, by value, behind which come all that are not in mask."""
    order = values.masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)
    return order.argsort(1)


def _lowest(mask: Tensor, values: Tensor, most: int) -> Tensor:
    return mask & (_lowest_rank(mask, values) < most)


def _room(splats: Splats) -> Tensor:
    return (~splats.alive).sum(1, keepdim=True)


def _heads(splats: Splats) -> Tensor:
    return torch.arange(splats.heads, device=splats.mean.device)[:, None]
