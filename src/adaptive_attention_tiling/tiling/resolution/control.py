"""Resolutions that lose least within a compute budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .chain import lengths_like
from .energy import priced_resolution, segment_loss

_HALVINGS = 80
# A tile without density still ranks below all others, rather than nowhere.
_LEAST_DENSITY = 1e-9


def compute_share(
    resolution: Float[Tensor, "*n M"], lengths: Float[Tensor, "*n M"] | None = None
) -> Float[Tensor, "*n"]:
    """The mean resolution of the tokens, sum_i h_i R_i / sum_i h_i: rows read per row there is."""
    lengths = lengths_like(resolution, lengths)
    return (lengths * resolution).sum(-1) / lengths.sum(-1)


def expected_loss(
    density: Float[Tensor, "*n M"],
    resolution: Float[Tensor, "*n M"],
    lengths: Float[Tensor, "*n M"] | None = None,
) -> Float[Tensor, "*n"]:
    """sum_i h_i density_i phi(R_i): what segment means lose of the states (`segment_loss`)."""
    lengths = lengths_like(resolution, lengths)
    return (lengths * density * segment_loss(resolution)).sum(-1)


def adapt_resolution(
    features: Mapping[str, Tensor],
    current_compute: float | Tensor,
    target_compute: float | Tensor,
    *,
    lengths: Float[Tensor, "*n M"] | None = None,
    minimum: float = 1 / 16,
    levels: Sequence[float] | None = None,
    resolution: Float[Tensor, "*n M"] | None = None,
) -> Float[Tensor, "*n M"]:
    """Resolutions of the tiles whose `compute_share` is the target, that lose least.

    They minimise `expected_loss` among all with that share that lower no tile when the target lies
    above the current share and raise none when it lies below. Dense tiles are therefore the last to
    lose resolution and the first to gain it. With the price p of a row that makes up the budget,

        R_i = clamp((6 p / density_i - 1)^-1/2),

    which the conditions of Karush, Kuhn and Tucker ask for and, as the loss is convex, suffices.
    The price is found by bisection in float64, and the result is differentiable once in the
    densities, the lengths, the target and `resolution`.

    Laws: where two tiles have had the same resolution, the denser one never gets less; a higher
    target lowers no tile; target = current changes nothing.

    With `levels` every R_i is one of them. From the lowest up, each tile's next level saves
    density_i (phi(l) - phi(l')) / (l' - l) a row; the dearest are bought, in that order, up to the
    share nearest to the target. No other choice of levels with at most the share reached loses
    less. The share (ask `compute_share`) differs from the target by at most half the largest
    purchase, max_i h_i (l' - l) / (2 sum_i h_i): for M equal tiles and levels that double up to
    1, by 1 / (4 M), so 2 % of a target t is certain from M = 12.5 / t tiles on. With fewer tiles
    no allocation may be closer that keeps the laws; there is no gradient.

    Args:
        features: 'gradient_density' [*n, M] >= 0, the mean squared step of the states in each tile.
        current_compute, target_compute: shares in [minimum, 1], a number or one a row [*n]; rows
            are budgets of their own.
        lengths: tokens of each tile; None is 1 for each.
        minimum: R_min. With `levels` the lowest of them counts instead.
        levels: the resolutions that there are, such as (1, 1/2, 1/4, 1/8, 1/16).
        resolution: the current ones; None for those that this function gives for current_compute.

    Raises:
        ArgumentError: for densities that are negative or not finite, for a share that no
            resolutions within the bounds have, and for a `resolution` whose share is not
            current_compute within 2 % (with levels, and half the largest purchase).
    """
    density = _density(features)
    lengths = lengths_like(density, lengths).double()
    levels = None if levels is None else sorted(levels)
    bottom, top = (minimum, 1.0) if levels is None else (levels[0], levels[-1])
    _check_bounds(bottom, top)
    current = _share("current_compute", current_compute, density, bottom, top)
    target = _share("target_compute", target_compute, density, bottom, top)
    low, high = torch.full_like(lengths, bottom), torch.full_like(lengths, top)
    if resolution is not None:
        now = _check_current(resolution, current, lengths, (bottom, top), levels)
        rising = (target > current)[..., None]
        low, high = torch.where(rising, now, low), torch.where(rising, high, now)
    ranked = density.double()
    ranked = ranked.clamp(min=_LEAST_DENSITY * ranked.detach().amax(-1, keepdim=True))
    ranked = torch.where(ranked > 0, ranked, 1.0)  # a row without any density: all tiles alike
    if levels is None:
        found = _fill(ranked, target, lengths, low, high)
    else:
        found = _buy(ranked, target, lengths, low, high, low.new_tensor(levels))
    if resolution is not None:
        found = torch.where((target == current)[..., None], now, found)
    return found.to(density)


def _fill(
    density: Tensor, target: Tensor, lengths: Tensor, low: Tensor, high: Tensor
) -> Float[Tensor, "*n M"]:
    """The resolutions between `low` and `high` at the price that makes their share the target."""
    with torch.no_grad():
        # At the first price every tile is at its highest, at the second at its lowest.
        cheap = density.amin(-1, keepdim=True).log() - 2
        dear = (density * (low.square().reciprocal() + 1)).amax(-1, keepdim=True).log()
        for _ in range(_HALVINGS):
            middle = 0.5 * (cheap + dear)
            share = compute_share(priced_resolution(density, middle.exp(), low, high), lengths)
            over = (share > target)[..., None]
            cheap, dear = torch.where(over, middle, cheap), torch.where(over, dear, middle)
        log_price = 0.5 * (cheap + dear)
    return _at_price(density, log_price, target, lengths, low, high)


def _at_price(
    density: Tensor, log_price: Tensor, target: Tensor, lengths: Tensor, low: Tensor, high: Tensor
) -> Float[Tensor, "*n M"]:
    """The resolutions after one more step of Newton's on the price, which carries derivatives."""
    found = priced_resolution(density, log_price.exp(), low, high)
    with torch.no_grad():
        # d R / d log p = -(1 + R^2) R / 2 where R is free.
        free = (found > low) & (found < high)
        rate = compute_share(torch.where(free, -0.5 * (1 + found.square()) * found, 0.0), lengths)
    wrong = target - compute_share(found, lengths)
    step = torch.where(rate < 0, wrong / torch.where(rate < 0, rate, 1.0), 0.0)
    return priced_resolution(density, (log_price + step[..., None]).exp(), low, high)


@torch.no_grad()
def _buy(
    density: Tensor, target: Tensor, lengths: Tensor, low: Tensor, high: Tensor, levels: Tensor
) -> Float[Tensor, "*n M"]:
    """Levels bought from `low` up, dearest first, until the share is nearest to the target."""
    rows = levels.diff()
    saved = -segment_loss(levels).diff() / rows
    open_ = (levels[:-1] >= low[..., None]) & (levels[1:] <= high[..., None])  # [*n, M, levels - 1]
    value = (density[..., None] * saved).masked_fill(~open_, -torch.inf).flatten(-2)
    size = (lengths[..., None] * rows).masked_fill(~open_, torch.inf).flatten(-2)
    order = value.argsort(dim=-1, descending=True, stable=True)
    share = (lengths * low).sum(-1, keepdim=True) + size.gather(-1, order).cumsum(-1)
    share = torch.cat([(lengths * low).sum(-1, keepdim=True), share], -1)
    wrong = (share / lengths.sum(-1, keepdim=True) - target[..., None]).abs()
    number = wrong.argmin(-1, keepdim=True)
    bought = torch.arange(size.shape[-1], device=size.device).expand_as(size) < number
    steps = torch.zeros_like(bought).scatter(-1, order, bought).unflatten(-1, (-1, len(rows)))
    first = torch.searchsorted(levels, low.contiguous())
    return levels[first + steps.sum(-1)]


def _density(features: Mapping[str, Tensor]) -> Float[Tensor, "*n M"]:
    if "gradient_density" not in features:
        raise ArgumentError(
            "features", sorted(features), "'gradient_density' among them", "measure it first"
        )
    density = features["gradient_density"]
    if density.dim() < 1 or not bool((density.isfinite() & (density >= 0)).all()):
        raise ArgumentError(
            "features['gradient_density']",
            f"shape {list(density.shape)}, or an entry that is negative or not finite",
            "[..., tiles], finite and >= 0",
            "pass squared steps of the states",
        )
    return density


def _check_bounds(bottom: float, top: float) -> None:
    if not 0 < bottom < top <= 1:
        raise ArgumentError(
            "minimum or levels",
            f"resolutions from {bottom} to {top}",
            "at least two values in (0, 1]",
            "pass minimum=1/16",
        )


def _share(
    name: str, share: float | Tensor, density: Tensor, bottom: float, top: float
) -> Float[Tensor, "*n"]:
    rows = torch.as_tensor(share, dtype=torch.float64, device=density.device)
    if not bool(((rows >= bottom) & (rows <= top)).all()):
        raise ArgumentError(
            name, share, f"a share between {bottom:g} and {top:g}", "pass a mean resolution"
        )
    return rows.expand(density.shape[:-1])


def _check_current(
    resolution: Tensor,
    current: Tensor,
    lengths: Tensor,
    bounds: tuple[float, float],
    levels: list[float] | None,
) -> Float[Tensor, "*n M"]:
    """The current resolutions in float64, if they can be."""
    now = resolution.double().expand_as(lengths)
    within = (now >= bounds[0]) & (now <= bounds[1])
    if levels is not None:
        within &= torch.isin(now, now.new_tensor(levels))
    if not bool(within.all()):
        raise ArgumentError(
            "resolution",
            f"values from {now.min().item():g} to {now.max().item():g}",
            "values within the bounds and, if given, among the levels",
            "pass what an earlier call gave",
        )
    share = compute_share(now, lengths)
    # Levels that were allocated for current_compute may miss it by half a purchase.
    purchase = 0.0 if levels is None else float(now.new_tensor(levels).diff().max())
    slack = 0.02 * current + 0.5 * purchase * lengths.amax(-1) / lengths.sum(-1)
    if bool(((share - current).abs() > slack).any()):
        raise ArgumentError(
            "current_compute",
            f"{current.min().item():g} to {current.max().item():g}",
            f"the shares of `resolution`, {share.min().item():g} to {share.max().item():g}",
            "pass compute_share(resolution, lengths)",
        )
    return now
