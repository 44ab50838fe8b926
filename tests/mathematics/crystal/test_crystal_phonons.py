import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    dynamical_matrix,
    face_centred_cubic,
    nearest_neighbours,
    phonon_modes,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


X = 2 * math.pi * real([1.0, 0, 0])
L = math.pi * real([1.0, 1, 1])
FCC = nearest_neighbours(face_centred_cubic())


@pytest.mark.parametrize(
    ("point", "transverse", "longitudinal"),
    [(X, 2.0, 2.82842712475), (L, 1.41421356237, 2.82842712475)],
    ids=["B7 FCC X", "B7 FCC L"],
)
def test_golden_frequencies_of_the_fcc_lattice(point, transverse, longitudinal):
    frequencies, polarisations = phonon_modes(dynamical_matrix(point, FCC))
    expected = real([transverse, transverse, longitudinal])
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=5e-12)
    exact = real([transverse**2, transverse**2, 8]).round().sqrt()
    torch.testing.assert_close(frequencies, exact, rtol=0, atol=2e-15)
    along = (polarisations[:, 2] @ point).abs() / point.norm()
    assert float(along) == pytest.approx(1, abs=1e-14)


def test_golden_native_dynamical_matrix_at_x():
    """B7: diag(8, 4, 4) in units of C / M."""
    torch.testing.assert_close(
        dynamical_matrix(X, FCC), torch.diag(real([8.0, 4, 4])), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(
    ("lattice", "count"),
    [
        (face_centred_cubic(3.6), 12),
        (torch.eye(3, dtype=torch.float64), 6),
        (real([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]), 8),
        (real([[1.0, 0], [0.5, math.sqrt(0.75)]]), 6),
        (real([[1.0, 0], [7.0, 1.0]]), 4),
        (real([[2.0]]), 2),
    ],
    ids=["FCC", "cubic", "BCC", "hexagonal", "skewed square", "chain"],
)
def test_numbers_of_nearest_neighbours(lattice, count):
    found = nearest_neighbours(lattice)
    assert found.shape == (count, len(lattice))
    lengths = found.norm(dim=1)
    torch.testing.assert_close(lengths, lengths[:1].expand(count))
    assert float(found.sum(0).abs().max()) < 1e-12


def test_a_chain_has_its_closed_form():
    q = torch.linspace(-math.pi, math.pi, 9, dtype=torch.float64)[:, None]
    bonds = nearest_neighbours(real([[1.0]]))
    frequencies, _ = phonon_modes(dynamical_matrix(q, bonds, 3.0, 2.0))
    torch.testing.assert_close(frequencies, 2 * math.sqrt(3 / 2) * (q / 2).sin().abs())


def test_a_dynamical_matrix_is_the_transform_of_force_constants():
    """D(q) = (1/M) sum_R Phi(R) exp(-i q R), with Phi(0) such that a shift costs nothing."""
    q = torch.randn(5, 3, dtype=torch.float64)
    springs = real([1.0, 2.0, 3.0]).repeat_interleave(2)
    bonds = (
        torch.eye(3, dtype=torch.float64).repeat_interleave(2, 0)
        * real([1.0, -1]).repeat(3)[:, None]
    )
    force = -springs[:, None, None] * bonds[:, :, None] * bonds[:, None]
    phase = torch.exp(-1j * (q @ bonds.mT))
    expected = torch.einsum("bm,mij->bij", phase, force.to(phase.dtype)) - force.sum(0)
    assert float(expected.imag.abs().max()) < 1e-15
    torch.testing.assert_close(dynamical_matrix(q, bonds, springs, 4.0), expected.real / 4)


def test_laws_of_dispersion():
    q = torch.randn(6, 3, dtype=torch.float64)
    reciprocal = 2 * math.pi * torch.linalg.inv(face_centred_cubic()).T
    matrix = dynamical_matrix(q, FCC)
    shifted = dynamical_matrix(q + reciprocal[0] - 2 * reciprocal[2], FCC)
    torch.testing.assert_close(shifted, matrix, rtol=0, atol=1e-13)
    torch.testing.assert_close(dynamical_matrix(-q, FCC), matrix)
    assert torch.equal(torch.stack([dynamical_matrix(row, FCC) for row in q]), matrix)
    assert dynamical_matrix(0 * q, FCC).abs().max() == 0
    # Long waves along an axis: speeds a sqrt(C / M) / sqrt(2) and a sqrt(C / M) / 2.
    small, _ = phonon_modes(dynamical_matrix(1e-4 * real([1.0, 0, 0]), FCC))
    torch.testing.assert_close(small, 1e-4 * real([0.25, 0.25, 0.5]).sqrt(), rtol=1e-8, atol=0)


def test_gradcheck_in_wavevector_springs_and_lattice():
    q = torch.randn(2, 3, dtype=torch.float64).requires_grad_()
    spring = (1 + torch.rand(3, dtype=torch.float64)).requires_grad_()
    lattice = face_centred_cubic(1.3).requires_grad_()

    def frequencies(q, spring, lattice):
        bonds = nearest_neighbours(lattice)
        same = (bonds.detach().abs() > 0).double() @ spring  # one spring for R and -R
        return phonon_modes(dynamical_matrix(q, bonds, same))[0]

    assert torch.autograd.gradcheck(frequencies, (q, spring, lattice.detach()))
    fixed = FCC.detach()

    def of_bonds(scale):
        return phonon_modes(dynamical_matrix(q.detach(), scale * fixed))[0]

    assert torch.autograd.gradcheck(of_bonds, real(1.2).requires_grad_())


def test_float32_stays_float32():
    bonds = nearest_neighbours(face_centred_cubic(dtype=torch.float32))
    frequencies, _ = phonon_modes(dynamical_matrix(L.float(), bonds))
    torch.testing.assert_close(frequencies, torch.tensor([2.0, 2, 8]).sqrt())


def test_imaginary_frequencies_are_negative():
    """Negative springs: D is minus that of a crystal, whose frequencies come in reverse order."""
    stable, _ = phonon_modes(dynamical_matrix(X + 0.3, FCC))
    spectrum = phonon_modes(dynamical_matrix(X + 0.3, FCC, -1.0))
    torch.testing.assert_close(spectrum.frequencies, -stable.flip(0))


def test_roots_of_squares_that_are_zero_by_rounding():
    squares = real([-4.0, -1e-17, 0.0, 9.0])
    found = phonon_modes(torch.diag(squares)).frequencies
    assert found.tolist() == [-2.0, 0.0, 0.0, 3.0]
    matrix = torch.diag(real([0.0, 4.0])).requires_grad_()
    phonon_modes(matrix).frequencies.sum().backward()
    assert matrix.grad.diagonal().tolist() == [0.0, 0.25]


MISUSED = {
    "edge": (lambda: face_centred_cubic(0.0), "edge: got 0.0"),
    "lattice": (lambda: nearest_neighbours(real([[1.0, 0]])), r"lattice: got shape \[1, 2\]"),
    "flat lattice": (lambda: nearest_neighbours(torch.ones(2, 2)), "depend on each other"),
    "space": (lambda: dynamical_matrix(X[:2], FCC), r"bonds: got shape \[12, 3\] for wavevectors"),
    "half": (lambda: dynamical_matrix(X, FCC[:5]), "whose opposite is missing"),
    "uneven": (
        lambda: dynamical_matrix(X, FCC, torch.arange(12, dtype=torch.float64)),
        "has another spring",
    ),
    "mass": (lambda: dynamical_matrix(X, FCC, 1.0, 0.0), "mass: got 0.0"),
    "NaN": (lambda: dynamical_matrix(X * math.nan, FCC), "wavevector: got NaN"),
    "matrix NaN": (lambda: phonon_modes(X[:, None] * X * math.nan), "matrix: got NaN"),
    "not square": (lambda: phonon_modes(torch.ones(2, 3)), r"matrix: got shape \[2, 3\]"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
