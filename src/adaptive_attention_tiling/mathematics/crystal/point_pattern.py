"""The lattice behind a noisy pattern of points."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .lattice import minkowski_reduced


class DetectedLattice(NamedTuple):
    """A lattice that a pattern repeats by."""

    lattice: Tensor
    """Reduced primitive vectors [n, n] as rows, fitted to all pairs of points that they join."""
    match: Tensor
    """Share [n] of the points well inside that have a partner one primitive vector away."""


def detect_lattice(
    points: Float[Tensor, "m n"], tolerance: float | None = None, least_match: float = 0.75
) -> DetectedLattice:
    """Primitive vectors by which a pattern in one to three dimensions repeats.

    v is a vector of the lattice if, for most points x so far inside that x + v is within the
    pattern, there is a point near x + v: the autocorrelation of the pattern, corrected for its
    edge. The shortest independent ones are reduced and refitted. Patterns with several points a
    cell are found by their lattice, not by their nearest neighbours.
    A pattern must be some six primitive vectors across: about 30 cells in the plane and 120 in
    space.

    Args:
        points: m places; noise of up to a tenth of their distance and some missing points are
            borne.
        tolerance: how near is near; by default 0.3 of the median distance of next neighbours.
        least_match: share of partners from which a vector counts.

    Raises:
        ArgumentError: too few points, or none of their differences is a lattice vector.
    """
    _check_points(points, tolerance, least_match)
    places = points.detach().double()
    apart = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
    apart.fill_diagonal_(math.inf)
    near = 0.3 * float(apart.min(1).values.median()) if tolerance is None else tolerance
    away = places - places.mean(0)
    radius = _inner_radius(away)
    basis: list[Tensor] = []
    matches: list[float] = []
    for vector in _candidates(away, radius, near):
        if not _independent(basis, vector):
            continue
        match = _match(away, vector, radius, near)
        if match >= least_match:
            basis.append(vector)
            matches.append(match)
        if len(basis) == places.shape[1]:
            break
    else:
        raise ArgumentError(
            "points",
            f"a pattern of {len(places)} points that repeats by {len(basis)} vectors",
            f"{places.shape[1]} independent vectors that most points repeat by",
            "pass more points, or a larger tolerance, or accept that there is no lattice",
        )
    lattice = minkowski_reduced(torch.stack(basis)).basis
    fitted = _fitted(places, lattice, near)
    matches = [_match(away, row, radius, near) for row in fitted]
    return DetectedLattice(fitted.to(points), torch.tensor(matches).to(points))


def _inner_radius(away: Float[Tensor, "m n"]) -> float:
    """Radius of a ball around the middle that the pattern's hull holds, by many directions."""
    size = away.shape[1]
    draws = torch.randn(256, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = (draws / draws.norm(dim=1, keepdim=True)).to(away)
    return float((away @ unit.T).amax(0).min())


def _candidates(away: Tensor, radius: float, near: float) -> Tensor:
    """Differences from the points next to the middle, shortest first, averaged over neighbours."""
    size = away.shape[1]
    middle = away[away.norm(dim=1).argsort()[: 2 * size + 2]]
    steps = (away - middle[:, None]).reshape(-1, size)
    lengths = steps.norm(dim=1)
    steps = steps[(lengths > 2 * near) & (lengths < radius)]
    return steps[steps.norm(dim=1).argsort()]


def _match(away: Tensor, vector: Tensor, radius: float, near: float) -> float:
    inside = away[away.norm(dim=1) <= radius - vector.norm() + near]
    if len(inside) < away.shape[1] + 1:
        return 0.0
    gaps = torch.cdist(inside + vector, away, compute_mode="donot_use_mm_for_euclid_dist")
    return float((gaps.min(1).values <= near).double().mean())


def _independent(basis: list[Tensor], vector: Tensor) -> bool:
    rows = torch.stack([*basis, vector])
    rows = rows / rows.norm(dim=1, keepdim=True)
    return float(torch.linalg.svdvals(rows).min()) > 0.25


def _fitted(places: Tensor, lattice: Tensor, near: float) -> Tensor:
    """Least squares over all pairs a lattice vector apart; far pairs join as the fit improves."""
    reach = 1.5 * float(lattice.norm(dim=1).max())
    steps = (places - places[:, None]).reshape(-1, places.shape[1])
    lengths = steps.norm(dim=1)
    while True:
        some = steps[(lengths > 0) & (lengths <= reach)]
        whole = torch.linalg.solve(lattice.T, some.T).T.round()
        joined = (some - whole @ lattice).norm(dim=1) <= near
        lattice = torch.linalg.lstsq(whole[joined], some[joined]).solution
        if reach >= float(lengths.max()):
            return lattice
        reach *= 1.5


def _check_points(points: Tensor, tolerance: float | None, least_match: float) -> None:
    shape = list(points.shape)
    if points.dim() != 2 or not 1 <= shape[1] <= 3 or shape[0] < 4 * 2 ** shape[1]:
        least = "8 in one dimension, 16 in two, 32 in three"
        raise ArgumentError(
            "points",
            f"shape {shape}",
            f"[m, n] with n <= 3 and enough points ({least})",
            "pass more",
        )
    if not bool(points.detach().isfinite().all()):
        raise ArgumentError("points", "NaN or infinity", "finite numbers", "leave such ones out")
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise ArgumentError("tolerance", tolerance, "a length > 0", "pass None for a default")
    if not 0 < least_match <= 1:
        raise ArgumentError("least_match", least_match, "in (0, 1]", "pass 0.75")
