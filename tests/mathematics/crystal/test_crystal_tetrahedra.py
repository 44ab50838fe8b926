import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    ForceConstants,
    density_of_states,
    face_centred_cubic,
    histogram_of_states,
    reciprocal_lattice,
    states_below,
)
from adaptive_attention_tiling.mathematics.crystal.tetrahedra import _part_below


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def cosines(size, count):
    """E = -2 sum cos k_c on a grid, one band."""
    axis = -2 * (2 * math.pi * torch.arange(count, dtype=torch.float64) / count).cos()
    total = axis
    for _ in range(size - 1):
        total = total[..., None] + axis
    return total[..., None]


def states_of_cosines(size, level):
    """N(E) by the arc where the last cosine is small enough, averaged over the other angles."""
    angles = 2 * math.pi * (torch.arange(600, dtype=torch.float64) + 0.5) / 600
    rest = -2 * angles.cos()
    if size == 3:
        rest = (rest[:, None] + rest).flatten()
    elif size == 1:
        rest = real([0.0])
    part = ((rest - level) / 2).clamp(-1, 1).acos() / math.pi
    return float(part.mean())


def part_by_divided_differences(corners, level):
    """1 - sum over corners above E of (e_i - E)^n / prod (e_i - e_j), for distinct corners."""
    size = len(corners) - 1
    above = 0.0
    for i, e in enumerate(corners):
        if e > level:
            others = math.prod(e - o for j, o in enumerate(corners) if j != i)
            above += (e - level) ** size / others
    return 1 - above


@pytest.mark.parametrize("size", [1, 2, 3])
def test_part_of_a_simplex_is_its_closed_form(size):
    generator = torch.Generator().manual_seed(size)
    corners = torch.randn(6, size + 1, generator=generator, dtype=torch.float64).sort(1).values
    for level in (-3.0, -0.7, 0.0, 0.4, 1.1, 4.0):
        expected = [part_by_divided_differences(row, level) for row in corners.tolist()]
        found = _part_below(corners, real(level))
        torch.testing.assert_close(found, real(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ([0.0, 0, 0, 1], 1 - 0.75**3),
        ([0.0, 1, 1, 1], 0.25**3),
        ([0.0, 0, 1, 1], 3 * 0.25**2 - 2 * 0.25**3),
        ([0.25] * 4, 1.0),
        ([0.3] * 4, 0.0),
        ([0.0, 0, 1], 1 - 0.75**2),
        ([0.2, 0.2], 1.0),
    ],
)
def test_equal_corners(corners, expected):
    assert float(_part_below(real([corners]), real(0.25))) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_order_of_convergence(size):
    """Errors fall by four when the grid is halved, singular levels of the density among them."""
    levels = {1: (0.7, -1.3), 2: (1.0, -3.1, 0.3), 3: (2.0, 1.2, -4.4)}[size]
    counts = {1: (40, 80), 2: (24, 48), 3: (8, 16)}[size]
    for level in levels:
        exact = states_of_cosines(size, level)
        errors = [
            abs(float(states_below(cosines(size, count), real([level]))) - exact)
            for count in counts
        ]
        assert errors[1] < 0.35 * errors[0] or errors[1] < 2e-6
        assert errors[0] < 0.02


def test_a_chain_has_its_closed_form():
    levels = torch.linspace(-2.5, 2.5, 21, dtype=torch.float64)
    closed = (-levels / 2).clamp(-1, 1).acos() / math.pi
    found = states_below(cosines(1, 500), levels)
    torch.testing.assert_close(found, closed, rtol=0, atol=2e-5)
    # Half of a symmetric band lies below its middle, exactly.
    for size in (1, 2, 3):
        assert float(states_below(cosines(size, 8), real([0.0]))) == pytest.approx(0.5, abs=1e-15)


def phonons_of_fcc(count, shift=0.0):
    crystal = ForceConstants.springs(face_centred_cubic(), real([[0.0] * 3]), (1.0,), (1.0,))
    steps = torch.cartesian_prod(*[(torch.arange(count).double() + shift) / count] * 3)
    found = crystal.modes(steps @ reciprocal_lattice(crystal.lattice)).frequencies
    return found.unflatten(0, (count, count, count))


def test_phonons_of_fcc_are_counted_each_once():
    frequencies = phonons_of_fcc(8)
    edges = torch.linspace(0, 3, 31, dtype=torch.float64)
    density = histogram_of_states(frequencies, edges)
    assert float((density * edges.diff()).sum()) == pytest.approx(3, abs=1e-13)
    assert bool((density >= -1e-12).all())
    # By counting on a finer grid between its points.
    levels = real([0.6, 1.2, 1.5, 2.0, 2.7])
    counted = (phonons_of_fcc(12, 0.5).flatten()[:, None] < levels).double().mean(0) * 3
    torch.testing.assert_close(states_below(frequencies, levels), counted, rtol=0.02, atol=0.02)
    # The Gaussian form, times the number of branches, is the same blurred.
    blurred = 3 * density_of_states(phonons_of_fcc(12), real([1.2, 1.6]), 0.15)
    kernel = edges[:-1] + edges.diff() / 2 - real([1.2, 1.6])[:, None]
    weights = (-(kernel / 0.15).square() / 2).exp() / (0.15 * math.sqrt(2 * math.pi))
    expected = (weights * density * 0.1).sum(1)
    torch.testing.assert_close(blurred, expected, rtol=0.05, atol=0)


def test_flat_bands_fill_one_bin():
    energies = torch.stack([cosines(2, 6)[..., 0], real(0.5).expand(6, 6)], -1)
    density = histogram_of_states(energies, real([-5.0, 0.4, 0.6, 5.0]))
    alone = histogram_of_states(cosines(2, 6), real([-5.0, 0.4, 0.6, 5.0]))
    torch.testing.assert_close(density - alone, real([0.0, 5.0, 0.0]))


def test_gradients_and_types():
    generator = torch.Generator().manual_seed(0)
    energies = torch.randn(3, 2, 2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    levels = real([-0.4, 0.3]).requires_grad_()
    assert torch.autograd.gradcheck(states_below, (energies, levels))
    found = states_below(cosines(3, 6).float(), torch.tensor([1.0]))
    assert found.dtype == torch.float32
    exact = states_below(cosines(3, 6), real([1.0]))
    torch.testing.assert_close(found, exact.float(), rtol=0, atol=1e-5)
    assert states_below(cosines(1, 6), real([])).shape == (0,)


BAND = cosines(1, 6)
MISUSED = {
    "no grid": (lambda: states_below(real([1.0]), real([0.0])), r"energies: got shape \[1\]"),
    "four": (lambda: states_below(torch.ones([2] * 5), real([0.0])), "one to three grid axes"),
    "none": (lambda: states_below(BAND[:0], real([0.0])), r"energies: got shape \[0, 1\]"),
    "NaN": (lambda: states_below(BAND * math.nan, real([0.0])), "energies: got NaN"),
    "levels": (lambda: states_below(BAND, real(0.0)), r"levels: got shape \[\]"),
    "level": (lambda: states_below(BAND, real([math.inf])), "levels: got"),
    "edges": (lambda: histogram_of_states(BAND, real([1.0, 0.0])), "edges: got"),
    "edge": (lambda: histogram_of_states(BAND, real([1.0])), r"edges: got shape \[1\]"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
