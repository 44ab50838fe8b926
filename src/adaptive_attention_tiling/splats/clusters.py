"""k-means over every head at once, and how far the clusters reach."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import ArgumentError

# Clusters with few points borrow from the covariance that all share, as if this many points
# (times the width, for a whole covariance) had it.
_BORROWED = 2.0
# The smallest variance of a cluster, as a share of the variance of all points.
_FLOOR = 1e-4


class Clusters(NamedTuple):
    """Centres, the centre that is nearest to each point, and the number of points of each."""

    centres: Float[Tensor, "H K D"]
    labels: Int[Tensor, "H N"]
    sizes: Float[Tensor, "H K"]


def check_points(name: str, points: Tensor) -> None:
    """Raise an ArgumentError unless points are finite numbers [H, N, D], one point at least."""
    if points.dim() != 3 or not points.is_floating_point() or 0 in points.shape:
        raise ArgumentError(
            name,
            f"{points.dtype} {list(points.shape)}",
            "floating-point numbers [H, N, D], at least one point",
            "fold batch and time into one axis of points",
        )
    if not bool(torch.isfinite(points).all()):
        raise ArgumentError(name, "inf or nan", "finite points", "leave padded tokens out")


def k_means(
    points: Float[Tensor, "H N D"],
    count: int,
    *,
    iterations: int = 25,
    generator: torch.Generator | None = None,
) -> Clusters:
    """Lloyd's algorithm from a k-means++ start; heads are independent of each other.

    An empty cluster moves to the point that is worst served; with as many different points as
    clusters none is empty at the end of an iteration. Source: Arthur and Vassilvitskii, 2007.
    """
    check_points("points", points)
    if not 1 <= count <= points.shape[1]:
        raise ArgumentError(
            "splats", count, f"1 to {points.shape[1]}, the number of points", "give more points"
        )
    centres = _spread_out(points, count, generator)
    for _ in range(iterations):
        distance, labels = _square_gaps(points, centres).min(-1)
        member = _membership(labels, count, points)
        sizes = member.sum(1)
        moved = (member.mT @ points) / sizes.clamp(min=1.0)[..., None]
        empty = sizes == 0
        worst = distance.topk(count, dim=1).indices.gather(1, (empty.cumsum(1) - 1).clamp(min=0))
        moved = torch.where(empty[..., None], _take(points, worst), moved)
        settled = torch.equal(moved, centres)
        centres = moved
        if settled:
            break
    labels = _square_gaps(points, centres).argmin(-1)
    return Clusters(centres, labels, _membership(labels, count, points).sum(1))


def _square_gaps(
    points: Float[Tensor, "H N D"], centres: Float[Tensor, "H K D"]
) -> Float[Tensor, "H N K"]:
    """|x - c|^2, never below zero, taken around the mean of the centres to stay accurate."""
    origin = centres.mean(1, keepdim=True)
    points, centres = points - origin, centres - origin
    squares = points.square().sum(-1)[..., None] + centres.square().sum(-1)[:, None]
    return (squares - 2 * points @ centres.mT).clamp(min=0.0)


def cluster_variance(points: Float[Tensor, "H N D"], clusters: Clusters) -> Float[Tensor, "H K D"]:
    """The variance along every axis in each cluster, shrunk towards the one they share."""
    residual = points - _take(clusters.centres, clusters.labels)
    member = _membership(clusters.labels, clusters.centres.shape[1], points)
    sums = member.mT @ residual.square()
    shared = residual.square().mean(1, keepdim=True) + _floor(points)[..., None]
    return (sums + _BORROWED * shared) / (clusters.sizes + _BORROWED)[..., None]


def cluster_covariance(
    points: Float[Tensor, "H N D"], clusters: Clusters
) -> Float[Tensor, "H K D D"]:
    """The covariance of each cluster, shrunk towards the one they share: positive definite."""
    heads, count, width = clusters.centres.shape
    residual = points - _take(clusters.centres, clusters.labels)
    member = _membership(clusters.labels, count, points)
    sums = points.new_zeros(heads, count, width * width)
    for rows, members in zip(residual.split(1024, 1), member.split(1024, 1), strict=True):
        products = (rows[..., :, None] * rows[..., None, :]).flatten(2)
        sums = sums + members.mT @ products
    sums = sums.unflatten(-1, (width, width))
    floor = _floor(points)[..., None, None] * torch.eye(width).to(points)
    shared = (residual.mT @ residual / points.shape[1])[:, None] + floor
    borrowed = _BORROWED * width
    mixed: Tensor = (sums + borrowed * shared) / (clusters.sizes + borrowed)[..., None, None]
    return mixed


def _floor(points: Tensor) -> Tensor:
    """[H, 1]; one where all points are the same, so that every covariance can be inverted."""
    total = points.var(1, correction=0).mean(-1, keepdim=True)
    return torch.where(total > 0, _FLOOR * total, 1.0)


def _spread_out(points: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """k-means++: each next centre is a point drawn by its squared distance to those so far."""
    heads, number, _ = points.shape
    chosen = [draw(points.new_ones(heads, number), generator)]
    distance = _square_gaps(points, _take(points, chosen[0][:, None]))[..., 0]
    for _ in range(count - 1):
        chosen.append(draw(distance, generator))
        newest = _square_gaps(points, _take(points, chosen[-1][:, None]))[..., 0]
        distance = torch.minimum(distance, newest)
    return _take(points, torch.stack(chosen, 1))


def draw(weights: Float[Tensor, "*rows N"], generator: torch.Generator | None) -> Tensor:
    """An index a row with a chance in proportion to its weight; any where all weights are 0."""
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, 1.0).double()
    steps = weights.cumsum(-1)
    device = weights.device if generator is None else generator.device
    share = torch.rand(steps.shape[:-1], generator=generator, device=device, dtype=torch.float64)
    place = share.to(steps.device)[..., None] * steps[..., -1:]
    index: Tensor = torch.searchsorted(steps, place, right=True)[..., 0]
    return index.clamp(max=weights.shape[-1] - 1)


def _membership(labels: Tensor, count: int, like: Tensor) -> Tensor:
    """[H, N, K]: 1 where point n belongs to cluster k. A product with it is deterministic."""
    return torch.nn.functional.one_hot(labels, count).to(like)


def _take(rows: Tensor, index: Tensor) -> Tensor:
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[-1]))
