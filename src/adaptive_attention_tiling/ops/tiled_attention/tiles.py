"""Tiles: cells of key space inside a super-block, and the summaries they are read through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .layout import TileLayout
from .native_tree import Moments, merged_moments, tile_moments, tile_order

# Halving in the 16 directions of largest variance loses nothing measurable (docs/log.md).
_PRINCIPAL_WIDTH = 16
POWER_STEPS = 2
_TINY = 1e-30


@dataclass(frozen=True)
class Summary:
    """Moments of sets of tokens; M sets for each of n key heads.

    count [n, M]; key and value [n, M, D] means; variance [n, M, D] of the keys, each coordinate;
    radius [n, M] >= max_j |k_j - mean| and spread [n, M] >= sqrt of the largest eigenvalue of the
    key covariance: both bound how far a logit of the set can lie from that of the mean. They are
    there only where a certificate is asked for.
    """

    count: Tensor
    key: Tensor
    value: Tensor
    variance: Tensor
    radius: Tensor | None
    spread: Tensor | None

    @property
    def log_count(self) -> Tensor:
        """log count [n, M]; -inf for an empty set, so that it weighs nothing."""
        return self.count.log()

    def map(self, function: Callable[[Tensor], Tensor]) -> Summary:
        """The summary with `function` applied to every tensor."""
        return Summary(
            function(self.count),
            function(self.key),
            function(self.value),
            function(self.variance),
            None if self.radius is None else function(self.radius),
            None if self.spread is None else function(self.spread),
        )

    def part(self, sets: range) -> Summary:
        """Those of the given sets."""
        return self.map(lambda x: x[:, sets.start : sets.stop])

    def picked(self, index: Int[Tensor, "h m"]) -> Summary:
        """The sets [h, m] at `index`, for h heads that share the n key heads among them."""
        repeat = len(index) // len(self.count)
        return self.map(lambda x: take(x, index, repeat))

    def joined(self, other: Summary, dim: int) -> Summary:
        """Both summaries, concatenated along an axis of sets."""
        parts = iter([x for x in vars(other).values() if x is not None])
        return self.map(lambda x: torch.cat([x, next(parts)], dim))


def take(x: Tensor, index: Int[Tensor, "h m"], repeat: int = 1) -> Tensor:
    """The entries of x [n, M, ...] at `index`, [h, m, ...]; `repeat` heads h share each of n."""
    head = torch.arange(len(index), device=index.device)[:, None] // repeat
    rows = (index + head * x.shape[1]).view(-1)
    return x.flatten(0, 1).index_select(0, rows).view(*index.shape, *x.shape[2:])


def bisect_order(keys: Float[Tensor, "n S D"], leaf: int) -> Int[Tensor, "n S"]:
    """Order the keys so that each run of `leaf` is a cell of a balanced bisecting tree.

    Every cell is halved at the median of its projection on its principal axis (power iteration
    from the difference of its two end points), until cells hold `leaf` keys.
    """
    n, size, width = keys.shape
    first = torch.arange(n, device=keys.device)[:, None] * size
    rows = keys - keys.mean(1, keepdim=True)
    # Steps of the iteration are not normalised; at unit scale they stay within range.
    rows = (rows / rows.abs().amax((1, 2), keepdim=True).clamp_min(_TINY)).view(-1, width)
    order = torch.arange(n * size, device=keys.device)
    cell = size
    while cell > leaf:
        cells = rows.view(-1, cell, width)
        cells = cells - cells.mean(1, keepdim=True)
        axis = (cells[:, -1] - cells[:, 0])[:, :, None]
        for _ in range(POWER_STEPS):
            axis = torch.bmm(cells.mT, torch.bmm(cells, axis))
        ranks = torch.bmm(cells, axis)[..., 0].argsort(dim=-1, stable=True)
        chosen = (ranks + torch.arange(0, n * size, cell, device=keys.device)[:, None]).view(-1)
        rows, order = rows.index_select(0, chosen), order.index_select(0, chosen)
        cell //= 2
    return order.view(n, size) - first


def order_block(
    key: Float[Tensor, "n S D"],
    query_scale: Float[Tensor, "n D"],
    valid: Bool[Tensor, "n S"],
    layout: TileLayout,
    *,
    native: bool = False,
) -> Int[Tensor, "n S"]:
    """Tile order of one super-block, by torch or by compiled kernels.

    Distances are taken in the metric diag(query_scale^2), query_scale_d = rms of the queries'
    coordinate d: two keys are close when the logits that queries give them are close. Tokens that
    belong to no tile are put at one point, so that they fill tiles of their own.
    """
    if layout.order == "contiguous":
        return torch.arange(key.shape[1], device=key.device).expand(key.shape[:2])
    if native:
        order: Tensor = tile_order(
            key.detach(), query_scale, valid, layout.tile, _PRINCIPAL_WIDTH, POWER_STEPS
        )
        return order
    point = (key.detach() * query_scale[:, None]).masked_fill(~valid[..., None], 0.0)
    return bisect_order(_principal(point), layout.tile)


def _principal(points: Float[Tensor, "n S D"]) -> Float[Tensor, "n S d"]:
    """The points in the subspace where they vary most, by two steps of subspace iteration."""
    width = points.shape[-1]
    if width <= _PRINCIPAL_WIDTH:
        return points
    points = points - points.mean(1, keepdim=True)
    scatter = points.mT @ points
    widest = scatter.diagonal(dim1=1, dim2=2).topk(_PRINCIPAL_WIDTH, dim=-1).indices
    basis = scatter.gather(2, widest[:, None].expand(-1, width, -1))
    basis = torch.linalg.qr(basis).Q
    narrow: Tensor = torch.linalg.qr(scatter @ basis).Q
    return points @ narrow


def summarise(
    keys: Float[Tensor, "n M L D"],
    values: Float[Tensor, "n M L E"],
    valid: Bool[Tensor, "n M L"],
    *,
    bounds: bool,
) -> Summary:
    """Moments of the valid tokens of each set."""
    weight = valid.to(keys.dtype)
    count = weight.sum(-1)
    per_token = 1.0 / count.clamp_min(1.0)
    share = (weight * per_token[..., None])[:, :, None]
    mean = (share @ keys)[:, :, 0]
    away = (keys.detach() - mean.detach()[:, :, None]).mul_(weight[..., None])
    return Summary(
        count=count,
        key=mean,
        value=(share @ values)[:, :, 0],
        variance=away.square().sum(2).mul_(per_token[..., None]),
        radius=away.square().sum(-1).amax(-1).sqrt() if bounds else None,
        spread=_largest_deviation(away, per_token) if bounds else None,
    )


def native_tiles(
    key: Float[Tensor, "n S D"],
    value: Float[Tensor, "n S E"],
    valid: Bool[Tensor, "n S"],
    order: Int[Tensor, "n S"],
    tile: int,
    *,
    bounds: bool,
) -> tuple[Tensor, Tensor, Tensor, Summary]:
    """Tokens in the given order [n, M, L, ...], and what `summarise` finds, by compiled kernels."""
    keys, values, member, *moments = tile_moments(key, value, valid, order, tile, bounds)
    return keys, values, member, _summary((*moments,), bounds=bounds)


def native_groups(lower: Summary, index: Int[Tensor, "n m"], group: int) -> Summary:
    """`summarise_groups` of the sets that `index` lists, by compiled kernels."""
    moments = merged_moments(
        lower.count,
        lower.key,
        lower.value,
        lower.variance,
        lower.radius,
        lower.spread,
        index,
        group,
    )
    return _summary(moments, bounds=lower.radius is not None)


def _summary(moments: Moments, *, bounds: bool) -> Summary:
    count, key, value, variance, radius, spread = moments
    return Summary(
        count.detach(),
        key,
        value,
        variance.detach(),
        radius.detach() if bounds else None,
        spread.detach() if bounds else None,
    )


def summarise_groups(tiles: Summary, group: int) -> Summary:
    """Moments of groups of neighbouring tiles: exactly those of the tokens in them.

    With share_c the part of the group's tokens in tile c, mean = sum share_c mean_c and
    variance = sum share_c (variance_c + (mean_c - mean)^2).
    """

    def grouped(x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1, group, *x.shape[2:])

    count = grouped(tiles.count)
    total = count.sum(-1)
    share = count / total.clamp_min(1.0)[..., None]
    mean = (share[:, :, None] @ grouped(tiles.key))[:, :, 0]
    away = grouped(tiles.key).detach() - mean.detach()[:, :, None]
    away = away * (count > 0)[..., None]
    radius = spread = None
    if tiles.radius is not None and tiles.spread is not None:
        radius = (grouped(tiles.radius) + away.norm(dim=-1)).amax(-1)
        between = _largest_deviation(away * share[..., None].sqrt(), torch.ones_like(total))
        spread = ((share * grouped(tiles.spread).square()).sum(-1) + between.square()).sqrt()
    return Summary(
        count=total,
        key=mean,
        value=(share[:, :, None] @ grouped(tiles.value))[:, :, 0],
        variance=(share[..., None] * (grouped(tiles.variance) + away.square())).sum(2),
        radius=radius,
        spread=spread,
    )


def _largest_deviation(away: Tensor, per_token: Tensor) -> Tensor:
    """An upper bound of the largest standard deviation of the rows in any direction.

    The L x L Gram matrix has the eigenvalues of the covariance; its Frobenius norm bounds them.
    """
    gram = (away @ away.mT) * per_token[..., None, None]
    norm: Tensor = torch.linalg.matrix_norm(gram)
    return norm.sqrt()
