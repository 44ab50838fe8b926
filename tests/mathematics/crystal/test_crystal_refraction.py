import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    ForceConstants,
    RefractionSystem,
    face_centred_cubic,
)

SYSTEM = RefractionSystem()
FCC = face_centred_cubic()


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def test_one_crystal_through_all_methods():
    positions, species = real([[0.0, 0, 0], [0.25, 0.25, 0.25]]), torch.tensor([0, 1])
    assert len(SYSTEM.compute_symmetries(FCC, positions, species).rotations) == 24
    (zone,) = SYSTEM.brillouin_zones(FCC)
    assert zone.faces == 14
    frequencies, _ = SYSTEM.phonon_modes(2 * math.pi * real([1.0, 0, 0]), FCC)
    torch.testing.assert_close(frequencies, real([2.0, 2, math.sqrt(8)]))
    cells = torch.cartesian_prod(*[torch.arange(-6.0, 7)] * 3).double()
    points = cells @ FCC
    found = SYSTEM.detect_lattice(points[points.norm(dim=1) < 2.1]).lattice
    assert float(torch.linalg.det(found).abs()) == pytest.approx(0.25)
    harmonics = torch.tensor([[1], [-1]])
    bands = RefractionSystem(most=8).band_structure(
        real([[1.0]]), real([[2.0]]), harmonics, real([1.0, 1.0])
    )
    torch.testing.assert_close(bands[0, :2], real([-0.110248816992, 1.85910807251]))


def test_phonons_of_crystals_with_a_basis():
    q = real([[0.3, -0.2, 0.5], [1.0, 2.0, 3.0]])
    positions = real([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    springs = ((1.0, 0.4), (0.1, 0.05))
    expected = ForceConstants.springs(FCC, positions, (1.0, 1.7), *springs).modes(q)
    found = SYSTEM.phonon_modes(q, FCC, positions, (1.0, 1.7), *springs)
    torch.testing.assert_close(found.frequencies, expected.frequencies, rtol=0, atol=0)
    assert found.polarisations.shape == (2, 6, 6)
    light = SYSTEM.phonon_modes(q, FCC, positions, central=(1.0, 0.4))
    ones = ForceConstants.springs(FCC, positions, (1.0, 1.0), (1.0, 0.4)).modes(q)
    torch.testing.assert_close(light.frequencies, ones.frequencies, rtol=0, atol=0)


def test_tolerances_reach_the_methods():
    positions, species = real([[0.0, 0, 0], [0.251, 0.25, 0.25]]), torch.tensor([0, 0])
    exact = SYSTEM.compute_symmetries(FCC, positions, species)
    loose = RefractionSystem(tolerance=0.01).compute_symmetries(FCC, positions, species)
    assert len(exact.rotations) < len(loose.rotations) == 48
    with pytest.raises(ArgumentError, match="enough points"):
        SYSTEM.detect_lattice(positions)
