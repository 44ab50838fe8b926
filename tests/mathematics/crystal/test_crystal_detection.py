import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    body_centred_cubic,
    detect_lattice,
    face_centred_cubic,
    hexagonal,
    lattice_system,
    minkowski_reduced,
    orthogonal,
    profile_period,
    simple_cubic,
)
from adaptive_attention_tiling.mathematics.crystal.lattice import whole_vectors


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pattern(lattice, cells, positions=None, noise=0.0, seed=0):
    """Points of a ball of lattice cells, turned, moved by noise, in random order."""
    size = len(lattice)
    generator = seeded(seed)
    offsets = torch.zeros(1, size) if positions is None else torch.tensor(positions)
    whole = whole_vectors(size, 2 * cells).double()
    points = ((whole[:, None] + offsets.double()) @ lattice).reshape(-1, size)
    reach = cells * lattice.norm(dim=1).min()
    points = points[points.norm(dim=1) <= reach]
    points = points[torch.randperm(len(points), generator=generator)]
    moved = torch.randn(points.shape, generator=generator, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return (points + noise * moved) @ turn, lattice @ turn


PATTERNS = {
    "chain": (orthogonal(2.0), 8, None, 0.1),
    "square": (orthogonal(1.0, 1.0), 5, None, 0.05),
    "rectangular": (orthogonal(1.0, 1.7), 6, None, 0.05),
    "hexagonal": (hexagonal(2.0), 5, None, 0.1),
    "oblique": (torch.tensor([[1.0, 0], [0.3, 1.2]], dtype=torch.float64), 6, None, 0.05),
    "honeycomb": (hexagonal(), 6, [[0.0, 0], [1 / 3, 1 / 3]], 0.02),
    "SC": (simple_cubic(), 3, None, 0.03),
    "FCC": (face_centred_cubic(), 4, None, 0.02),
    "BCC": (body_centred_cubic(), 4, None, 0.02),
    "diamond": (face_centred_cubic(), 4, [[0.0, 0, 0], [0.25, 0.25, 0.25]], 0.01),
}


@pytest.mark.parametrize(
    ("lattice", "cells", "positions", "noise"), PATTERNS.values(), ids=PATTERNS
)
def test_lattices_of_noisy_patterns(lattice, cells, positions, noise):
    points, turned = pattern(lattice, cells, positions, noise)
    found = detect_lattice(points)
    # The same lattice: whole coordinates in the true one, and the same volume.
    steps = found.lattice @ torch.linalg.inv(turned)
    whole = steps.round()
    assert float(torch.linalg.det(whole).abs()) == pytest.approx(1)
    error = (found.lattice - whole @ turned).norm(dim=1).max()
    assert float(error) < 1.5 * noise / math.sqrt(len(points)) * 3
    assert float(found.match.min()) >= 0.75
    system = lattice_system(lattice)
    assert lattice_system(found.lattice, 0.05) == system


def test_exact_patterns_give_exact_lattices_wherever_they_lie():
    points, turned = pattern(hexagonal(), 5)
    found = detect_lattice(points + 7).lattice
    steps = found @ torch.linalg.inv(turned)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-12)
    torch.testing.assert_close(minkowski_reduced(found).basis.norm(dim=1), found.norm(dim=1))
    scaled = detect_lattice(1e-3 * points.float())
    assert scaled.lattice.dtype == torch.float32
    torch.testing.assert_close(
        scaled.lattice.norm(dim=1), torch.full((2,), 1e-3), rtol=1e-4, atol=0
    )


def test_missing_points_are_borne():
    points, turned = pattern(hexagonal(), 7, noise=0.03)
    kept = points[torch.rand(len(points), generator=seeded(4)) < 0.9]
    steps = detect_lattice(kept).lattice @ torch.linalg.inv(turned)
    assert float((steps - steps.round()).abs().max()) < 0.02
    assert float(torch.linalg.det(steps.round()).abs()) == pytest.approx(1)


def test_scattered_points_have_no_lattice():
    for seed in range(3):
        points = torch.rand(100, 2, generator=seeded(seed), dtype=torch.float64)
        with pytest.raises(ArgumentError, match="accept that there is no lattice"):
            detect_lattice(points)


def bumps(period, samples=256, height=2.0, noise=1.0, seed=0):
    generator = seeded(seed)
    profile = noise * torch.randn(samples, generator=generator, dtype=torch.float64)
    profile[seed % period :: period] += height
    return profile


def test_periods_from_4_to_32_are_found():
    periods = list(range(4, 33))
    profiles = torch.stack([bumps(period, 512, 3.0, 0.7, period) for period in periods])
    found = profile_period(profiles, shuffles=19, generator=seeded())
    assert found.period.tolist() == periods
    assert float(found.chance.max()) == pytest.approx(1 / 20)


def test_periods_in_much_noise_are_found_up_to_few():
    """A bump of 1 in noise of 0.5: right in at least 36 of 40."""
    periods = [4 + 7 * draw % 29 for draw in range(40)]
    profiles = torch.stack([bumps(p, 256, 1.0, 0.5, seed) for seed, p in enumerate(periods)])
    found = profile_period(profiles, shuffles=1, generator=seeded())
    right = (found.period == torch.tensor(periods)).sum()
    assert int(right) >= 36


def test_chance_is_uniform_for_noise():
    noise = torch.randn(200, 128, generator=seeded(2), dtype=torch.float64)
    chance = profile_period(noise, shuffles=39, generator=seeded(3)).chance
    # 200 draws of a uniform share: 20 +- 4.2 at or below a tenth, 100 +- 7.1 below a half.
    assert 7 <= int((chance <= 0.1).sum()) <= 33
    assert 78 <= int((chance <= 0.5).sum()) <= 122


def test_scores_are_the_deviates_of_a_chi_square_tail():
    stats = pytest.importorskip(
        "scipy.stats", reason="scipy, of the oracles extra, is not installed"
    )
    noise = torch.randn(1, 4096, generator=seeded(5), dtype=torch.float64)
    wave = torch.cos(2 * math.pi * torch.arange(4096, dtype=torch.float64) / 6)
    for height in (0.0, 0.1, 0.3):
        found = profile_period(noise + height * wave, 6, 6, shuffles=1, trend=-1)
        tail = stats.chi2.sf(4096 * float(found.explained), 5)
        assert float(found.strength) == pytest.approx(stats.norm.isf(tail), abs=0.02)


def test_a_trend_is_no_period_and_a_perfect_pattern_explains_all():
    place = torch.arange(128, dtype=torch.float64)
    wave = torch.tensor([0.0, 1, 5, 2, 1, 0, -3]).double()[(place % 7).long()]
    found = profile_period(wave, shuffles=9, generator=seeded(), trend=-1)
    assert int(found.period) == 7
    assert float(found.explained) == pytest.approx(1, abs=1e-12)
    tilted = profile_period(wave + 0.5 * place, shuffles=9, generator=seeded())
    assert int(tilted.period) == 7
    noise = torch.randn(128, generator=seeded(1), dtype=torch.float64)
    slope = noise + 0.2 * place
    assert float(profile_period(slope, shuffles=49, generator=seeded()).chance) > 0.05
    each = profile_period(torch.stack([wave, wave.flip(0)]).reshape(2, 1, 128), shuffles=1)
    assert each.period.tolist() == [[7], [7]]
    torch.testing.assert_close(each.strength[0, 0], profile_period(wave, shuffles=1).strength)
    assert profile_period(wave.float(), shuffles=1).strength.dtype == torch.float32


GRID = pattern(orthogonal(1.0, 1.0), 4)[0]
MISUSED = {
    "few points": (lambda: detect_lattice(GRID[:15]), r"points: got shape \[15, 2\]"),
    "space": (lambda: detect_lattice(torch.rand(200, 4)), r"points: got shape \[200, 4\]"),
    "NaN point": (lambda: detect_lattice(GRID * math.nan), "points: got NaN"),
    "tolerance": (lambda: detect_lattice(GRID, 0.0), "tolerance: got 0.0"),
    "match": (lambda: detect_lattice(GRID, None, 1.5), "least_match: got 1.5"),
    "line": (
        lambda: detect_lattice(torch.stack([torch.arange(40.0), torch.zeros(40)], 1)),
        "repeats by",
    ),
    "few samples": (lambda: profile_period(torch.rand(63)), r"profile: got shape \[63\]"),
    "periods": (lambda: profile_period(torch.rand(64), 9, 8), "shortest: got 9"),
    "constant": (lambda: profile_period(torch.ones(64)), "one that does not vary"),
    "NaN": (lambda: profile_period(torch.ones(64) * math.nan), "profile: got NaN"),
    "shuffles": (lambda: profile_period(torch.rand(64), shuffles=0), "shuffles: got 0"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
