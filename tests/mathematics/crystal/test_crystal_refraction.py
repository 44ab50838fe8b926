import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import RefractionSystem, face_centred_cubic

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


def test_tolerances_reach_the_methods():
    positions, species = real([[0.0, 0, 0], [0.251, 0.25, 0.25]]), torch.tensor([0, 0])
    exact = SYSTEM.compute_symmetries(FCC, positions, species)
    loose = RefractionSystem(tolerance=0.01).compute_symmetries(FCC, positions, species)
    assert len(exact.rotations) < len(loose.rotations) == 48
    with pytest.raises(ArgumentError, match="enough points"):
        SYSTEM.detect_lattice(positions)
