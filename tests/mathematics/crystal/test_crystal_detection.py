import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    body_centred_cubic,
    detect_density_lattice,
    detect_lattice,
    face_centred_cubic,
    hexagonal,
    lattice_system,
    minkowski_reduced,
    orthogonal,
    profile_period,
    simple_cubic,
)
from adaptive_attention_tiling.mathematics.crystal.bragg import (
    BraggPeaks,
    _climbed,
    reciprocal_basis,
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


def spoilt(points, missing, astray, seed):
    """Without a share of the points, with others anywhere in their box."""
    kept = points[torch.rand(len(points), generator=seeded(seed)) >= missing]
    low, high = points.amin(0), points.amax(0)
    number = int(astray * len(points))
    draws = torch.rand(number, points.shape[1], generator=seeded(seed + 99), dtype=torch.float64)
    return torch.cat([kept, low + (high - low) * draws])


def is_found(points, turned):
    """Whether a lattice is told, and whether it is the right one."""
    try:
        found = detect_lattice(points)
    except ArgumentError:
        return 0, 0
    steps = found.lattice @ torch.linalg.inv(turned)
    whole = steps.round()
    right = (steps - whole).abs().max() < 0.1 and abs(torch.linalg.det(whole).abs() - 1) < 1e-6
    return int(right), int(not right)


SPOILT = {
    "square": (orthogonal(1.0, 1.0), 6, None, 0.1, 0.1, 0.1),
    "square, noise": (orthogonal(1.0, 1.0), 6, None, 0.15, 0.0, 0.0),
    "hexagonal, missing": (hexagonal(), 6, None, 0.05, 0.3, 0.0),
    "hexagonal, all": (hexagonal(), 6, None, 0.05, 0.2, 0.2),
    "honeycomb": (hexagonal(), 5, [[0.0, 0], [1 / 3, 1 / 3]], 0.05, 0.1, 0.1),
    "SC": (simple_cubic(), 3, None, 0.1, 0.1, 0.1),
    "FCC": (face_centred_cubic(1.5), 3, None, 0.08, 0.1, 0.1),
    "chain": (orthogonal(1.0), 15, None, 0.05, 0.1, 0.1),
}


@pytest.mark.parametrize(
    ("lattice", "cells", "positions", "noise", "missing", "astray"), SPOILT.values(), ids=SPOILT
)
def test_missing_and_stray_points_are_borne(lattice, cells, positions, noise, missing, astray):
    """Right in at least 3 of 4, and never wrong."""
    counts = []
    for seed in range(4):
        points, turned = pattern(lattice, cells, positions, noise, seed)
        counts.append(is_found(spoilt(points, missing, astray, seed), turned))
    right, wrong = (sum(column) for column in zip(*counts, strict=True))
    assert right >= 3
    assert wrong == 0


def test_strength_tells_how_much_is_in_place():
    """Noise s weakens a peak by exp(-k^2 s^2), strays by their share squared over their number."""
    points, _ = pattern(orthogonal(1.0, 1.0), 8)
    exact = detect_lattice(points)
    noisy = detect_lattice(points + 0.1 * torch.randn(points.shape, generator=seeded()))
    ratio = float(noisy.strength / exact.strength)
    assert ratio == pytest.approx(math.exp(-((2 * math.pi * 0.1) ** 2)), rel=0.15)
    assert float(exact.chance) == pytest.approx(1 / 20)
    assert exact.match.tolist() == [1, 1]
    assert float(noisy.match.min()) < 1


def test_scattered_points_have_no_lattice():
    """The strongest of 20 patterns alike is the real one in 1 of 20; both directions in fewer."""
    plane = orthogonal(1.0, 1.0)
    patterns = [torch.rand(100, 2, generator=seeded(s), dtype=torch.float64) for s in range(10)]
    assert sum(sum(is_found(points, plane)) for points in patterns) <= 1
    with pytest.raises(ArgumentError, match="accept that there is no lattice"):
        detect_lattice(patterns[0])


def waves(lattice, shape, width, noise, seed=0, positions=None):
    """Bumps on a turned lattice on a grid, in white noise of `noise` times their deviation."""
    size = len(lattice)
    generator = seeded(seed)
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    turned = lattice @ turn
    offsets = torch.zeros(1, size) if positions is None else torch.tensor(positions)
    whole = whole_vectors(size, 3 * max(shape) // int(lattice.norm(dim=1).min())).double()
    points = ((whole[:, None] + offsets.double()) @ turned).reshape(-1, size)
    half = torch.tensor(shape).double() / 2
    points = points[(points.abs() < half + 3 * width).all(1)]
    axes = [torch.arange(n).double() - (n - 1) / 2 for n in shape]
    sides = [
        (-((axis - points[:, i, None]) ** 2) / (2 * width**2)).exp() for i, axis in enumerate(axes)
    ]
    letters = "xyz"[:size]
    density = torch.einsum(",".join(f"p{c}" for c in letters) + "->" + letters, *sides)
    draws = torch.randn(shape, generator=generator, dtype=torch.float64)
    return density + noise * density.std() * draws, turned


DENSITIES = {
    "chain 7.3": (orthogonal(7.3), (128,), 1.2, 1.0, None, "chain"),
    "square": (orthogonal(6.0, 6.0), (48, 48), 1.0, 2.0, None, "square"),
    "rectangular": (orthogonal(6.0, 9.0), (48, 48), 1.2, 1.0, None, "rectangular"),
    "hexagonal": (hexagonal(7.0), (48, 64), 1.2, 2.0, None, "hexagonal"),
    "oblique": (
        torch.tensor([[6.0, 0], [2.0, 7.5]], dtype=torch.float64),
        (64, 64),
        1.2,
        1.0,
        None,
        "oblique",
    ),
    "honeycomb": (hexagonal(9.0), (64, 64), 1.0, 1.0, [[0.0, 0], [1 / 3, 1 / 3]], "hexagonal"),
    "SC": (simple_cubic(5.0), (20, 20, 20), 0.9, 1.0, None, "simple cubic"),
    "FCC": (face_centred_cubic(7.0), (20, 20, 20), 0.9, 1.0, None, "face-centred cubic"),
    "BCC": (body_centred_cubic(6.0), (20, 20, 20), 0.9, 1.0, None, "body-centred cubic"),
}


def test_windows_do_not_prefer_an_end():
    generator = torch.Generator().manual_seed(3)
    density = torch.randn(24, 16, generator=generator, dtype=torch.float64)
    strength = detect_density_lattice(density, shuffles=1, generator=generator).strength
    for axis in (0, 1):
        other = detect_density_lattice(density.flip(axis), shuffles=1, generator=generator)
        torch.testing.assert_close(other.strength, strength)


def test_chance_counts_the_density_among_its_shuffles():
    wave = torch.cos(torch.arange(64, dtype=torch.float64))
    for shuffles in (4, 9):
        found = detect_density_lattice(wave, shuffles=shuffles, generator=torch.Generator())
        assert float(found.chance) == pytest.approx(1 / (shuffles + 1))


def test_stronger_peaks_weigh_more_in_the_reciprocal_lattice():
    """Least squares of b through peaks p_i = m_i b, with weights s_i: sum s m p / sum s m^2."""
    peaks = torch.tensor([[10.0], [20.4], [29.8]], dtype=torch.float64)
    strengths = torch.tensor([100.0, 9.0, 4.0], dtype=torch.float64)
    found = reciprocal_basis(BraggPeaks(peaks, strengths), torch.ones(1, dtype=torch.float64))
    exact = (100 * 10 + 9 * 2 * 20.4 + 4 * 3 * 29.8) / (100 + 9 * 4 + 4 * 9)
    assert abs(float(found)) == pytest.approx(exact, rel=1e-12)


def test_peaks_move_no_further_than_a_step():
    places = torch.arange(-16.0, 17.0, dtype=torch.float64)[:, None]
    values = torch.cos(places[:, 0]) * torch.cos(math.pi * places[:, 0] / 34).square()
    step = torch.tensor([0.1], dtype=torch.float64)
    starts = torch.tensor([[0.95], [1.06], [1.15], [1.3], [1.6]], dtype=torch.float64)
    found = _climbed(starts, places, values, step)
    assert found[:2, 0].tolist() == pytest.approx([1.0, 1.0], abs=1e-3)
    assert bool(((found - starts).abs() <= step + 1e-12).all())


@pytest.mark.parametrize(
    ("lattice", "shape", "width", "noise", "positions", "system"), DENSITIES.values(), ids=DENSITIES
)
def test_lattices_of_noisy_densities(lattice, shape, width, noise, positions, system):
    density, turned = waves(lattice, shape, width, noise, 1, positions)
    found = detect_density_lattice(density, generator=seeded())
    assert found.lattice.shape == lattice.shape
    steps = found.lattice @ torch.linalg.inv(turned)
    whole = steps.round()
    assert float(torch.linalg.det(whole).abs()) == pytest.approx(1)
    # Far below the distance of samples: between wavevectors of the grid.
    assert float((found.lattice - whole @ turned).norm(dim=1).max()) < 0.3
    assert lattice_system(found.lattice, 0.1) == system
    assert float(found.chance) == pytest.approx(1 / 20)
    unit = found.lattice @ found.reciprocal.T / (2 * math.pi)
    torch.testing.assert_close(unit, unit.round(), rtol=0, atol=1e-9)
    assert float(found.peaks.strengths.max()) >= 0.5 * float(found.strength)


def test_densities_without_noise_are_found_nearly_exactly():
    density, turned = waves(hexagonal(7.0), (64, 64), 1.2, 0.0, 3)
    found = detect_density_lattice(density, generator=seeded())
    steps = found.lattice @ torch.linalg.inv(turned)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
    single = detect_density_lattice(density.float(), generator=seeded())
    assert single.lattice.dtype == torch.float32
    torch.testing.assert_close(single.lattice.double(), found.lattice, rtol=0, atol=1e-3)
    wide = detect_density_lattice(density, 0.5, generator=seeded())
    torch.testing.assert_close(wide.lattice, found.lattice / 2)
    # Along unlike distances of samples.
    tall = detect_density_lattice(density, (1.0, 2.0), generator=seeded()).lattice
    wanted = minkowski_reduced(found.lattice * torch.tensor([1.0, 2.0])).basis
    torch.testing.assert_close(tall.abs(), wanted.abs(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("unit", [1e-200, 1e-6, 1e200])
def test_units_of_densities_do_not_matter(unit):
    density, _ = waves(hexagonal(7.0), (48, 48), 1.2, 1.0, 3)
    wanted = detect_density_lattice(density, generator=seeded())
    found = detect_density_lattice(unit * density, generator=seeded())
    torch.testing.assert_close(found.lattice, wanted.lattice)
    torch.testing.assert_close(found.strength, wanted.strength)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_of_points_do_not_matter(unit):
    points, _ = pattern(hexagonal(), 5, None, 0.05)
    torch.testing.assert_close(
        detect_lattice(unit * points + 3 * unit).lattice, unit * detect_lattice(points).lattice
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_rounding_of_a_slope_is_no_pattern(dtype):
    place = torch.arange(48, dtype=dtype)
    slope = 0.7 * place[:, None] + 0.1 * place
    for ramp in (slope, place, torch.full((48,), 0.1, dtype=dtype)):
        with pytest.raises(ArgumentError, match="does not vary but for a slope"):
            detect_density_lattice(ramp)


def test_stripes_repeat_along_one_direction():
    """A map of offset (across) and position (down) with a bump every 6.5 offsets."""
    offset = torch.arange(96, dtype=torch.float64)
    stripes = (2 * math.pi * offset / 6.5).cos().clamp(min=0).expand(40, 96)
    noise = torch.randn(40, 96, generator=seeded(3), dtype=torch.float64)
    found = detect_density_lattice(stripes + noise, generator=seeded())
    assert found.lattice.shape == (1, 2)
    row = found.lattice[0].abs().tolist()
    assert row == pytest.approx([0.0, 6.5], abs=0.1)


def test_map_of_offset_and_position_with_rows_of_a_lattice():
    """Links to every fifth key, one on with every second query: rows (2, 1) and (0, 5)."""
    position, offset = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
    links = ((2 * offset - position).remainder(10) == 0).double()
    noise = 0.7 * torch.rand(60, 60, generator=seeded(2), dtype=torch.float64)
    found = detect_density_lattice(links + noise, generator=seeded())
    steps = torch.tensor([[2.0, 1], [0, 5]], dtype=torch.float64) @ torch.linalg.inv(found.lattice)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=0.02)
    assert float(torch.linalg.det(steps.round()).abs()) == pytest.approx(1)


def test_noise_has_no_lattice():
    """White and smooth noise alike: told in no more than 2 of 8 each; 1 in 20 is due for white."""
    kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64) / 9
    told = {"white": 0, "smooth": 0}
    for seed in range(8):
        white = torch.randn(34, 34, generator=seeded(seed), dtype=torch.float64)
        smooth = torch.nn.functional.conv2d(white[None, None], kernel)[0, 0]
        for name, density in (("white", white[:32, :32]), ("smooth", smooth)):
            found = detect_density_lattice(density, generator=seeded(seed))
            told[name] += len(found.lattice) > 0
            assert (len(found.peaks.strengths) > 0) == (len(found.lattice) > 0)
    assert told["white"] <= 2
    assert told["smooth"] <= 2
    slope = torch.arange(32.0)[:, None] + torch.randn(32, 32, generator=seeded(1))
    assert len(detect_density_lattice(slope, generator=seeded()).lattice) == 0


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
    "whole points": (lambda: detect_lattice(GRID.long()), "points: got NaN, infinity or whole"),
    "tolerance": (lambda: detect_lattice(GRID, 0.0), "tolerance: got 0.0"),
    "tight": (
        lambda: detect_lattice(pattern(hexagonal(), 6, None, 0.05)[0], 1e-9),
        "expected a distance that joins points",
    ),
    "no shuffles": (lambda: detect_lattice(GRID, shuffles=0), "shuffles: got 0"),
    "line": (
        lambda: detect_lattice(torch.stack([torch.arange(40.0), torch.zeros(40)], 1)),
        "points within 1 dimensions of 2",
    ),
    "few pixels": (
        lambda: detect_density_lattice(torch.rand(7, 9)),
        r"density: got shape \[7, 9\]",
    ),
    "axes": (lambda: detect_density_lattice(torch.rand(8, 8, 8, 8)), "one to three axes"),
    "flat": (lambda: detect_density_lattice(torch.ones(9, 9)), "density: got one that does not"),
    "zero": (lambda: detect_density_lattice(torch.zeros(9, 9)), "density: got one that does not"),
    "NaN pixel": (lambda: detect_density_lattice(torch.ones(9) * math.nan), "density: got NaN"),
    "spacing": (lambda: detect_density_lattice(torch.rand(9, 9), (1.0,)), "spacing: got"),
    "no orders": (lambda: detect_density_lattice(torch.rand(9), 1.0, 0), "shuffles: got 0"),
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
