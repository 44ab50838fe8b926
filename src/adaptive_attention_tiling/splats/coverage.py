"""How well splats cover a sample of tokens, what they miss, and which do the same work."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError
from .log_features import prepare
from .moments import log_determinant, log_mass
from .splats import Splats


class Coverage(NamedTuple):
    """How well a head's splats cover its points.

    share: of the points, those within the radius of some living splat [H].
    log_density: mean log density of the points under the splats as a mixture of Gaussians, each
        weighted by its mass, [H]; -inf for a head without splats.
    """

    share: Tensor
    log_density: Tensor


class Gaps(NamedTuple):
    """Where splats are missing: `points` [H, n, D], of which only those `found` [H, n] count."""

    points: Tensor
    found: Tensor


def typical_radius(width: int, share: float = 0.95) -> float:
    """The Mahalanobis radius that holds this share of a Gaussian in `width` dimensions.

    The square root of a chi-square quantile, by Wilson and Hilferty (1931); 0.95 within 2 % from
    one dimension on.
    """
    if not 0 < share < 1:
        raise ArgumentError("share", share, "a number between 0 and 1", "pass share=0.95")
    spread = 2 / (9 * width)
    normal = math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * share - 1, dtype=torch.float64)))
    return math.sqrt(width * max(0.0, 1 - spread + normal * math.sqrt(spread)) ** 3)


@torch.no_grad()
def squared_distances(splats: Splats, points: Float[Tensor, "H N D"]) -> Float[Tensor, "H N K"]:
    """Squared Mahalanobis distances (x - mu)^T Sigma^-1 (x - mu); inf from empty slots."""
    _check_points(splats, points)
    logs = prepare(splats, None, None)(points[None].to(splats.mean))[0]
    return (splats.log_amplitude[:, None] - 2 * logs).clamp(min=0)


@torch.no_grad()
def measure_coverage(
    splats: Splats, points: Float[Tensor, "H N D"], *, radius: float | None = None
) -> Coverage:
    """How well splats cover points; `radius` None is the one that holds 95 % of a Gaussian."""
    squares = squared_distances(splats, points)
    share = (squares.amin(-1) <= _radius(splats, radius, 0.95) ** 2).to(points.dtype).mean(-1)
    mass = log_mass(splats).masked_fill(~splats.alive, -torch.inf)
    logs = splats.log_amplitude[:, None] - 0.5 * squares
    density = logs.logsumexp(-1).mean(-1) - mass.logsumexp(-1)
    return Coverage(share, density.masked_fill(~splats.alive.any(-1), -torch.inf))


@torch.no_grad()
def uncovered(
    splats: Splats,
    points: Float[Tensor, "H N D"],
    number: int,
    *,
    generator: torch.Generator,
    scale: Float[Tensor, " H"] | float = 1.0,
    radius: float | None = None,
    support: float = 0.0,
) -> Gaps:
    """Look for up to `number` places a head where points lie outside of every living splat.

    Points are drawn one after another, with probabilities proportional to their squared distance
    to the nearest splat beyond the radius, as k-means++ draws its centres (Arthur and
    Vassilvitskii, 2007): where many points lie uncovered one is likely taken, and no single
    outlier is sure to be. The place is the mean of the uncovered points within the radius of the
    splat of deviation `scale` that could be born at the drawn one. That splat counts from then on,
    so that one gap is not filled twice.

    Args:
        generator: on the CPU; it alone decides what is drawn.
        radius: beyond which a point is uncovered; None is the one that holds 99.9 % of a Gaussian,
            so that the tails of well-placed splats are no gaps.
        support: share of all points that have to make up a gap; fewer are outliers.
    """
    if number < 0:
        raise ArgumentError("number", number, "an integer >= 0", "pass number=1")
    heads = torch.arange(splats.heads, device=points.device)
    limit = _radius(splats, radius, 0.999) ** 2
    nearest = squared_distances(splats, points).amin(-1)  # [H, N]
    far = torch.finfo(nearest.dtype).max ** 0.25  # a head without splats: all points alike
    spread = torch.as_tensor(scale).to(points).expand(splats.heads)[:, None, None]
    places, found = [], []
    for _ in range(number):
        excess = (nearest.clamp(max=far) - limit).clamp(min=0).double()
        ticket = torch.rand(splats.heads, 1, generator=generator, dtype=torch.float64)
        ends = excess.cumsum(-1)
        # Right: a point without excess has no width, and is never the one.
        at = torch.searchsorted(ends, ticket.to(ends.device) * ends[:, -1:], right=True)[:, 0]
        drawn = points[heads, at.clamp(max=points.shape[1] - 1)][:, None]
        around = ((points - drawn) / spread).square().sum(-1) <= limit
        members = (around & (excess > 0)).to(points)  # [H, N]
        size = members.sum(-1)
        place = torch.einsum("hn,hnd->hd", members, points) / size.clamp(min=1)[:, None]
        places.append(place)
        found.append((size > 0) & (size >= support * points.shape[1]))
        distance = ((points - place[:, None]) / spread).square().sum(-1)
        # An outlier is not drawn again either.
        distance = torch.where(around, 0, distance)
        nearest = torch.where(size[:, None] > 0, torch.minimum(nearest, distance), nearest)
    if not places:
        return Gaps(points[:, :0], points.new_zeros(splats.heads, 0, dtype=torch.bool))
    return Gaps(torch.stack(places, 1), torch.stack(found, 1))


@torch.no_grad()
def redundancy(splats: Splats) -> Float[Tensor, "H K K"]:
    """The overlap of splats as normalised Gaussians: their Bhattacharyya coefficients, in [0, 1].

    int sqrt(N_1 N_2) = sqrt(sqrt(det Sigma_1 det Sigma_2) / det M) exp(-delta^T M^-1 delta / 8)

    with M the mean of the two covariances and delta the difference of the means (Kailath, 1967).
    1 where two are the same, whatever their amplitudes; 0 with empty slots.
    """
    half_logs = 0.25 * log_determinant(splats)  # [H, K]
    overlap_with = _diagonal_overlap if splats.kind in ("scalar", "diagonal") else _dense_overlap
    rows = torch.stack(overlap_with(splats), 1)
    overlap = (rows + (half_logs[:, None] + half_logs[..., None])).exp().clamp(max=1)
    overlap.diagonal(dim1=1, dim2=2).fill_(1)
    return overlap * (splats.alive[:, None] & splats.alive[..., None])


def _diagonal_overlap(splats: Splats) -> list[Tensor]:
    """-1/8 delta^T M^-1 delta - 1/2 log det M of each slot with all others, K times [H, K]."""
    squares = splats.scale.square()
    if splats.kind == "scalar":
        squares = squares[..., None].expand_as(splats.mean)
    rows = []
    for slot in range(splats.count):
        delta = splats.mean - splats.mean[:, slot, None]
        middle = 0.5 * (squares + squares[:, slot, None])
        rows.append(-(0.125 * delta.square() / middle + 0.5 * middle.log()).sum(-1))
    return rows


def _dense_overlap(splats: Splats) -> list[Tensor]:
    sigma = splats.covariance
    rows = []
    for slot in range(splats.count):
        delta = splats.mean - splats.mean[:, slot, None]
        lower = torch.linalg.cholesky(0.5 * (sigma + sigma[:, slot, None]))
        white = torch.linalg.solve_triangular(lower, delta[..., None], upper=False)[..., 0]
        half_log_det = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        rows.append(-0.125 * white.square().sum(-1) - half_log_det)
    return rows


def _radius(splats: Splats, radius: float | None, share: float) -> float:
    if radius is None:
        return typical_radius(splats.width, share)
    if not radius > 0:
        raise ArgumentError("radius", radius, "a number > 0", "pass radius=None for the usual one")
    return radius


def _check_points(splats: Splats, points: Tensor) -> None:
    fits = points.dim() == 3 and points.shape[0] == splats.heads
    if not fits or points.shape[2] != splats.width or not points.shape[1]:
        raise ArgumentError(
            "points",
            f"shape {list(points.shape)}",
            f"[{splats.heads}, N, {splats.width}] with N > 0",
            "give every head its own sample",
        )
