"""The lattice behind a noisy pattern of points."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .bragg import Scattering, bragg_peaks, direct_lattice, reciprocal_basis, scattering

_SAMPLES_PER_SPACING = 4
_SCRAMBLED = 0.75  # of the spacing: at 2 pi over it, order is down by exp(-22)


class DetectedLattice(NamedTuple):
    """A lattice that a pattern repeats by."""

    lattice: Tensor
    """Reduced primitive vectors [n, n] as rows, fitted to all pairs of points that they join."""
    match: Tensor
    """Share [n] of the points well inside that have a partner one primitive vector away."""
    strength: Tensor
    """The strongest Bragg peak over what scattered points give on average."""
    chance: Tensor
    """Share of scrambled patterns with as strong a peak, the pattern among them."""


class _Pattern(NamedTuple):
    places: Tensor
    """[m, n] about their middle, those within an ellipsoid that the pattern fills."""
    window: Tensor
    """cos^2 from the middle to the ellipsoid [m]."""
    spacing: float
    """The n-th root of volume over number."""
    extent: Tensor
    """Of the ellipsoid along each axis [n]."""


def detect_lattice(
    points: Float[Tensor, "m n"],
    tolerance: float | None = None,
    shuffles: int = 19,
    generator: torch.Generator | None = None,
) -> DetectedLattice:
    """Primitive vectors by which a pattern in one to three dimensions repeats.

    Peaks of the structure factor |sum_i w_i exp(-i k . x_i)|^2 / sum_i w_i^2 that stand above the
    strongest of all scrambled patterns span the reciprocal lattice. Its dual is fitted to the
    differences of all pairs of points. Patterns with several points a cell are found by their
    lattice, not by their nearest neighbours. Missing points and points out of place take away of
    the peaks what they are a share of, noise of standard deviation s a factor exp(-|k|^2 s^2).
    A pattern must be some six primitive vectors across: about 30 cells in the plane and 120 in
    space.

    Args:
        points: m places.
        tolerance: how near a lattice vector a difference is fitted; by default a quarter of the
            shortest one.
        shuffles: scrambled patterns: every point moved by a normal deviate of 0.75 of the spacing.
        generator: of these; by default one of its own, so that results repeat.

    Raises:
        ArgumentError: too few points, or no peaks above chance in as many directions as there are.

    Ashcroft and Mermin, Solid State Physics (1976), chapter 6 and appendix N.
    """
    _check_points(points, tolerance, shuffles)
    source = torch.Generator().manual_seed(0) if generator is None else generator
    places = points.detach().double()
    inner = _inner_pattern(places)
    seen = _scattered(inner, inner.places)
    strongest = float(seen.strength.max())
    highest, as_high = 0.0, 1
    for _ in range(shuffles):
        moves = torch.randn(inner.places.shape, generator=source, dtype=torch.float64)
        moved = inner.places + _SCRAMBLED * inner.spacing * moves.to(places)
        top = float(_scattered(inner, moved).strength.max())
        highest, as_high = max(highest, top), as_high + int(top >= strongest)
    step = places.new_full((places.shape[1],), inner.spacing / _SAMPLES_PER_SPACING)
    peaks = bragg_peaks(seen, highest, inner.places, inner.window, step)
    reciprocal = reciprocal_basis(peaks, 2 * math.pi / inner.extent)
    if len(reciprocal) < places.shape[1]:
        raise ArgumentError(
            "points",
            f"a pattern of {len(places)} points that repeats along {len(reciprocal)} directions",
            f"Bragg peaks along {places.shape[1]} independent ones",
            "pass more points, or accept that there is no lattice",
        )
    lattice = direct_lattice(reciprocal)
    near = 0.25 * float(lattice.norm(dim=1).min()) if tolerance is None else tolerance
    fitted = _fitted(places, lattice, near)
    away = places - places.mean(0)
    radius = _inner_radius(away)
    matches = places.new_tensor([_match(away, row, radius, near) for row in fitted])
    return DetectedLattice(
        fitted.to(points),
        matches.to(points),
        torch.tensor(strongest).to(points),
        torch.tensor(as_high / (shuffles + 1)).to(points),
    )


def _inner_pattern(places: Float[Tensor, "m n"]) -> _Pattern:
    size = places.shape[1]
    away = places - places.mean(0)
    spread, frame = torch.linalg.eigh(away.mT @ away / len(away))
    if not float(spread[0]) > 1e-12 * float(spread[-1]):
        raise ArgumentError(
            "points",
            f"points within {size - 1} dimensions of {size}",
            f"a pattern that repeats along {size} directions",
            "pass coordinates along the line or plane",
        )
    # A box of this variance along each axis has this volume, a ball nearly so.
    spacing = float((12 * spread).sqrt().prod() / len(away)) ** (1 / size)
    round_ = away @ frame / spread.sqrt()
    radius = 1.1 * _inner_radius(round_)
    distance = round_.norm(dim=1) / radius
    kept = distance < 1
    window = (math.pi / 2 * distance[kept]).cos().square()
    extent = 2 * radius * (frame.square() @ spread).sqrt()
    return _Pattern(away[kept], window, spacing, extent)


def _scattered(pattern: _Pattern, places: Tensor) -> Scattering:
    """Of the points counted in boxes of a grid."""
    size = places.shape[1]
    step = pattern.spacing / _SAMPLES_PER_SPACING
    sides = [max(8, math.ceil(float(extent) / step) + 1) for extent in pattern.extent]
    limit = torch.tensor(sides, device=places.device)
    box = ((places + pattern.extent / 2) / step).round().long()
    # Scrambled points that left the grid come in at its other side.
    box = box.remainder(limit)
    number = box[:, 0]
    for axis in range(1, size):
        number = number * sides[axis] + box[:, axis]
    counts = places.new_zeros(math.prod(sides)).index_add(0, number, pattern.window)
    # In space a grid no finer than the extent asks for will do: points have wide windows.
    return scattering(
        counts.reshape(sides),
        pattern.window.square().sum(),
        shells=False,
        padding=2 if size < 3 else 1,
    )


def _inner_radius(away: Float[Tensor, "m n"]) -> float:
    """Radius of a ball around the middle that the pattern's hull holds, by many directions."""
    size = away.shape[1]
    draws = torch.randn(256, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = (draws / draws.norm(dim=1, keepdim=True)).to(away)
    return float((away @ unit.T).amax(0).min())


def _match(away: Tensor, vector: Tensor, radius: float, near: float) -> float:
    inside = away[away.norm(dim=1) <= radius - vector.norm() + near]
    if len(inside) < away.shape[1] + 1:
        return 0.0
    gaps = torch.cdist(inside + vector, away, compute_mode="donot_use_mm_for_euclid_dist")
    return float((gaps.min(1).values <= near).double().mean())


def _fitted(places: Tensor, lattice: Tensor, near: float) -> Tensor:
    """Least squares over all pairs a lattice vector apart; far pairs join as the fit improves."""
    reach = 1.5 * float(lattice.norm(dim=1).max())
    steps = (places - places[:, None]).reshape(-1, places.shape[1])
    lengths = steps.norm(dim=1)
    while True:
        some = steps[(lengths > 0) & (lengths <= reach)]
        whole = torch.linalg.solve(lattice.T, some.T).T.round()
        joined = (some - whole @ lattice).norm(dim=1) <= near
        if int(torch.linalg.matrix_rank(whole[joined])) < len(lattice):
            raise ArgumentError(
                "tolerance", near, "a distance that joins points", "pass the noise of points"
            )
        lattice = torch.linalg.lstsq(whole[joined], some[joined]).solution
        if reach >= float(lengths.max()):
            return lattice
        reach *= 1.5


def _check_points(points: Tensor, tolerance: float | None, shuffles: int) -> None:
    shape = list(points.shape)
    if points.dim() != 2 or not 1 <= shape[1] <= 3 or shape[0] < 4 * 2 ** shape[1]:
        least = "8 in one dimension, 16 in two, 32 in three"
        raise ArgumentError(
            "points",
            f"shape {shape}",
            f"[m, n] with n <= 3 and enough points ({least})",
            "pass more",
        )
    if not points.is_floating_point() or not bool(points.detach().isfinite().all()):
        raise ArgumentError(
            "points", "NaN, infinity or whole numbers", "finite real numbers", "pass floats"
        )
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise ArgumentError("tolerance", tolerance, "a length > 0", "pass None for a default")
    if shuffles < 1:
        raise ArgumentError("shuffles", shuffles, "a whole number >= 1", "pass 19")
