import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    body_centred_cubic,
    face_centred_cubic,
    hexagonal,
    orthogonal,
    simple_cubic,
    symmetry_operations,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


FCC = face_centred_cubic()
# a_1 and a_2 of `hexagonal` are 60 degrees apart: thirds are (1/3, 1/3).
CLOSE_PACKED = [[0.0, 0, 0], [1 / 3, 1 / 3, 0.5]]
TRICLINIC = real([[1.0, 0, 0], [0.2, 1.1, 0], [0.3, 0.4, 1.3]])
QUARTER = [[0.0, 0, 0], [0.25, 0.25, 0.25]]
HALF = [[0.0, 0, 0], [0.5, 0.5, 0.5]]
ONE = [[0.1, 0.2, 0.3]]

CRYSTALS = {
    "B5 SC": (simple_cubic(), ONE, [0], 48),
    "B5 FCC": (FCC, ONE, [0], 48),
    "B5 BCC": (body_centred_cubic(), ONE, [0], 48),
    "B5 diamond": (FCC, QUARTER, [0, 0], 48),
    "B5 zincblende": (FCC, QUARTER, [0, 1], 24),
    "B5 NaCl": (FCC, HALF, [0, 1], 48),
    "B5 CsCl": (simple_cubic(), HALF, [0, 1], 48),
    "B5 HCP": (hexagonal(1.0, math.sqrt(8 / 3)), CLOSE_PACKED, [0, 0], 24),
    "B5 tetragonal": (orthogonal(1.0, 1.0, 1.3), ONE, [0], 16),
    "B5 orthorhombic": (orthogonal(1.0, 1.2, 1.5), ONE, [0], 8),
    "B5 triclinic": (TRICLINIC, ONE, [0], 2),
    "honeycomb p6m": (hexagonal(), [[0.0, 0], [1 / 3, 1 / 3]], [0, 0], 12),
    "boron nitride p3m1": (hexagonal(), [[0.0, 0], [1 / 3, 1 / 3]], [0, 1], 6),
    "square p4m": (orthogonal(1.0, 1.0), [[0.0, 0]], [0], 8),
    "pinwheel p4": (
        orthogonal(1.0, 1.0),
        [[0.1, 0.23], [-0.23, 0.1], [-0.1, -0.23], [0.23, -0.1]],
        [0] * 4,
        4,
    ),
    "no symmetry p1": (orthogonal(1.0, 1.0), [[0.0, 0], [0.1, 0.23], [0.31, 0.4]], [0, 1, 2], 1),
    "three kinds in line": (
        orthogonal(1.0, 1.0),
        [[0.0, 0], [0.2, 0], [-0.2, 0]],
        [0, 1, 2],
        2,
    ),
    "two cells of SC": (orthogonal(1.0, 1.0, 2.0), [[0.0, 0, 0], [0, 0, 0.5]], [0, 0], 32),
}


@pytest.mark.parametrize(
    ("lattice", "positions", "species", "count"), CRYSTALS.values(), ids=CRYSTALS
)
def test_golden_numbers_of_operations(lattice, positions, species, count):
    positions, species = real(positions), torch.tensor(species)
    rotations, translations = symmetry_operations(lattice, positions, species)
    assert len(rotations) == len(translations) == count
    assert float(translations.min()) >= 0
    assert float(translations.max()) < 1
    metric = lattice @ lattice.T
    kept = rotations.double() @ metric @ rotations.double().mT
    torch.testing.assert_close(kept, metric.expand_as(kept), rtol=0, atol=1e-12)
    images = positions @ rotations.double() + translations[:, None]
    away = images[:, :, None] - positions
    gaps = (away - away.round()).abs().amax(-1)
    gaps = torch.where(species[:, None] == species, gaps, 1.0)
    assert float(gaps.min(-1).values.max()) < 1e-12
    # A group: products are among them.
    known = {key(w, t) for w, t in zip(rotations, translations, strict=True)}
    assert len(known) == count
    for w, t in list(zip(rotations, translations, strict=True))[:4]:
        products = rotations @ w, translations @ w.double() + t
        assert {key(*pair) for pair in zip(*products, strict=True)} == known


def key(rotation, translation):
    return (*rotation.flatten().tolist(), *((translation * 1e6).round() % 1e6).tolist())


def test_screws_and_glides_of_close_packing():
    """P6_3/mmc: half of the operations move by half the height, and none by less."""
    lattice, positions, species, _ = CRYSTALS["B5 HCP"]
    _, moved = symmetry_operations(lattice, real(positions), torch.tensor(species))
    heights = moved[:, 2]
    assert int((heights == 0).sum()) == 12
    torch.testing.assert_close(heights[heights != 0], real([0.5]).expand(12))


def test_noise_within_tolerance_keeps_the_group_and_beyond_breaks_it():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    noisy = real(QUARTER) + 0.003 * noise
    species = torch.tensor([0, 0])
    assert len(symmetry_operations(FCC, noisy, species, 0.05).rotations) == 48
    assert len(symmetry_operations(FCC, noisy, species, 1e-5).rotations) < 48
    strained = FCC @ torch.diag(real([1.0, 1.0, 1.01]))
    assert len(symmetry_operations(strained, real(QUARTER), species).rotations) == 16
    assert len(symmetry_operations(FCC.float(), real(QUARTER).float(), species).rotations) == 48


@pytest.mark.parametrize("name", [name for name in CRYSTALS if name.startswith("B5")])
@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_operations_are_those_of_spglib(name):
    spglib = pytest.importorskip("spglib", reason="spglib, of the oracles extra, is not installed")
    lattice, positions, species, _ = CRYSTALS[name]
    theirs = spglib.get_symmetry((lattice.tolist(), positions, species), symprec=1e-5)
    ours = symmetry_operations(lattice, real(positions), torch.tensor(species))
    # spglib moves columns, x -> W x + t.
    expected = {
        key(torch.from_numpy(w).T.long(), torch.from_numpy(t))
        for w, t in zip(theirs["rotations"], theirs["translations"], strict=True)
    }
    assert {key(w, t) for w, t in zip(*ours, strict=True)} == expected


ATOM = torch.tensor([0])
MISUSED = {
    "space": (
        lambda: symmetry_operations(FCC, real([[0.0, 0]]), ATOM),
        r"positions: got shape \[1, 2\]",
    ),
    "none": (lambda: symmetry_operations(FCC, torch.zeros(0, 3), ATOM), "with m >= 1"),
    "NaN": (lambda: symmetry_operations(FCC, real(ONE) * math.nan, ATOM), "positions: got NaN"),
    "species": (
        lambda: symmetry_operations(FCC, real(ONE), real([0.0])),
        "species: got torch.float64",
    ),
    "kinds": (lambda: symmetry_operations(FCC, real(HALF), ATOM), "expected 2 whole numbers"),
    "twice": (
        lambda: symmetry_operations(FCC, real([*ONE, [1.1, 0.2, 0.3]]), torch.tensor([0, 1])),
        "two atoms at one place",
    ),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
