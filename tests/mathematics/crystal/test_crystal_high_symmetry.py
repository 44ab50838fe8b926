import math
from itertools import pairwise

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, MissingDependencyError
from adaptive_attention_tiling.mathematics.crystal import (
    BrillouinZone,
    ForceConstants,
    SymmetryPoints,
    band_path,
    body_centred_cubic,
    face_centred_cubic,
    graphene,
    hexagonal,
    high_symmetry_points,
    lattice_point_group,
    orthogonal,
    reciprocal_lattice,
    simple_cubic,
)

SEEKPATH = "seekpath, of the oracles extra, is not installed"


def real(value):
    return torch.tensor(value, dtype=torch.float64)


RHOMBUS = real([[0.5, 0.8], [-0.5, 0.8]])
LATTICES = {
    "chain": orthogonal(2.0),
    "oblique": real([[1.0, 0], [0.3, 1.2]]),
    "rectangular": orthogonal(1.0, 1.5),
    "rhombic": RHOMBUS,
    "wide rhombic": RHOMBUS * real([1.0, 0.2]),
    "square": orthogonal(2.0, 2.0),
    "hexagonal net": hexagonal(),
    "cP": simple_cubic(2.0),
    "cF": face_centred_cubic(3.6),
    "cI": body_centred_cubic(),
    "tP": orthogonal(1.0, 1.0, 1.3),
    "flat tP": orthogonal(1.0, 1.0, 0.7),
    "oP": orthogonal(1.0, 1.2, 1.5),
    "hP": hexagonal(1.0, math.sqrt(8 / 3)),
    "flat hP": hexagonal(1.0, 0.6),
}
BY_SEEKPATH = {
    "tI": real([[-0.5, 0.5, 0.7], [0.5, -0.5, 0.7], [0.5, 0.5, -0.7]]),
    "flat tI": body_centred_cubic() * real([1.0, 1.0, 0.8]),
    "oF": face_centred_cubic(2.0) @ torch.diag(real([1.0, 1.2, 1.5])),
    "hR": real([[1.0, 0.2, 0.2], [0.2, 1.0, 0.2], [0.2, 0.2, 1.0]]),
    "mP": real([[1.0, 0, 0], [0, 1.2, 0], [0.3, 0, 1.4]]),
    "aP": real([[1.0, 0, 0], [0.2, 1.1, 0], [0.3, 0.4, 1.3]]),
}


def skewed(lattice, seed=1):
    """The same lattice by another basis, turned in space."""
    generator = torch.Generator().manual_seed(seed)
    size = len(lattice)
    upper = torch.randint(-2, 3, (size, size), generator=generator).double().triu(1)
    unit = torch.eye(size, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return (unit + upper).T @ (unit + upper) @ lattice @ turn


def stars(lattice, wavevector):
    """All images of a wavevector under the point group, in fractions modulo 1, sorted."""
    fractions = wavevector @ torch.linalg.inv(reciprocal_lattice(lattice))
    group = torch.linalg.inv(lattice_point_group(lattice).double()).mT
    images = ((fractions @ group) * 720).round().long().remainder(720)
    return images.unique(dim=0).tolist()


@pytest.mark.parametrize("name", LATTICES)
def test_points_are_more_symmetric_than_their_neighbours(name, monkeypatch):
    """Each point has a small star, in any basis; those of different labels differ. By tables."""
    monkeypatch.setattr("adaptive_attention_tiling.optional.installed", lambda module: False)
    for lattice in (LATTICES[name], skewed(LATTICES[name])):
        points, path = high_symmetry_points(lattice)
        order = len(lattice_point_group(lattice))
        found = {label: stars(lattice, k) for label, k in points.items()}
        assert found["Γ"] == [[0] * len(lattice)]
        assert all(order % len(star) == 0 for star in found.values())
        assert all(len(star) <= order // 2 for star in found.values())
        # K and U of FCC are one, half a zone apart.
        assert len({str(star) for star in found.values()}) == len(found) - (name == "cF")
        assert {label for run in path for label in run} == set(points)


@pytest.mark.parametrize(
    "name", [name for name in LATTICES if len(LATTICES[name]) == 3] + ["tI", "oF"]
)
@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_points_and_paths_are_those_of_seekpath(name):
    seekpath = pytest.importorskip("seekpath", reason=SEEKPATH)
    lattice = (LATTICES | BY_SEEKPATH)[name]
    found = seekpath.get_path_orig_cell((lattice.tolist(), [[0.0] * 3], [1]))
    points, path = high_symmetry_points(lattice)
    theirs = {
        label.replace("GAMMA", "Γ").replace("SIGMA", "Σ"): real(fractions)
        @ reciprocal_lattice(lattice)
        for label, fractions in found["point_coords"].items()
    }
    steps = [step for run in path for step in pairwise(run)]
    expected = [
        tuple(label.replace("GAMMA", "Γ").replace("SIGMA", "Σ") for label in step)
        for step in found["path"]
    ]
    assert steps == expected
    for label, k in points.items():
        assert stars(lattice, k) == stars(lattice, theirs[label])
    for start, end in steps:
        # Not only ends: the segments are as long.
        length = float((points[start] - points[end]).norm())
        assert length == pytest.approx(float((theirs[start] - theirs[end]).norm()), rel=1e-9)


@pytest.mark.parametrize("name", BY_SEEKPATH)
def test_other_lattices_of_space_are_asked_of_seekpath(name, monkeypatch):
    pytest.importorskip("seekpath", reason=SEEKPATH)
    points = high_symmetry_points(BY_SEEKPATH[name])
    assert len(points.wavevectors) > 5
    assert not any(word in label for label in points.wavevectors for word in ("GAMMA", "MA_", "DA"))
    monkeypatch.setattr("adaptive_attention_tiling.optional.installed", lambda module: False)
    with pytest.raises(MissingDependencyError, match=r"path of a .* lattice needs seekpath"):
        high_symmetry_points(BY_SEEKPATH[name])
    assert "Γ" in high_symmetry_points(LATTICES["cF"]).wavevectors


@pytest.mark.parametrize(
    ("lattice", "label", "expected"),
    [
        (face_centred_cubic(), "X", 2 * math.pi * real([0.0, 1, 0])),
        (face_centred_cubic(), "L", math.pi * real([1.0, 1, 1])),
        (face_centred_cubic(), "W", 2 * math.pi * real([0.5, 1, 0])),
        (face_centred_cubic(), "K", 1.5 * math.pi * real([1.0, 1, 0])),
        (body_centred_cubic(), "H", 2 * math.pi * real([0.0, 1, 0])),
        (body_centred_cubic(), "P", math.pi * real([1.0, 1, 1])),
        (body_centred_cubic(), "N", math.pi * real([1.0, 1, 0])),
        (hexagonal(2.0), "K", real([2 * math.pi / 3, 0])),
        (hexagonal(2.0), "M", math.pi / 2 * real([1.0, 1 / math.sqrt(3)])),
        (simple_cubic(), "R", math.pi * real([1.0, 1, 1])),
        (orthogonal(1.0, 0.9), "X", math.pi * real([0, 1 / 0.9])),
    ],
)
def test_standard_bases_keep_the_textbook_directions(lattice, label, expected):
    found = high_symmetry_points(lattice).wavevectors[label]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_bands_along_a_path():
    """Graphene: 3 t at Gamma, t at M, 0 at K; phonons of FCC: sqrt 8 at X and at L."""
    sheet = graphene()
    path = band_path(high_symmetry_points(sheet.lattice), 60)
    upper = sheet.bands(path.wavevectors)[:, 1]
    found = [(label, round(float(upper[index]), 12) + 0.0) for index, label in path.ticks]
    assert found == [("Γ", 3.0), ("M", 1.0), ("K", 0.0), ("Γ", 3.0)]
    crystal = ForceConstants.springs(face_centred_cubic(), real([[0.0] * 3]), (1.0,), (1.0,))
    path = band_path(high_symmetry_points(crystal.lattice), 40, ["ΓX", "LΓ"])
    top = crystal.modes(path.wavevectors).frequencies[:, -1].square()
    assert [label for _, label in path.ticks] == ["Γ", "X", "L", "Γ"]
    torch.testing.assert_close(
        top[[index for index, _ in path.ticks]], real([0.0, 8, 8, 0]), rtol=0, atol=1e-13
    )


def test_steps_ticks_and_jumps():
    points = SymmetryPoints(
        {"A": real([0.0, 0]), "B": real([3.0, 0]), "C": real([3.0, 4]), "D": real([0.0, 4])},
        (("A", "B", "C"), ("D", "A")),
    )
    path = band_path(points, 11)
    assert path.ticks == ((0, "A"), (3, "B"), (7, "C"), (8, "D"), (12, "A"))
    expected = [0.0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11]
    torch.testing.assert_close(path.distances, real(expected), rtol=0, atol=1e-14)
    steps = path.wavevectors.diff(dim=0).norm(dim=1)
    assert steps.tolist() == pytest.approx([1.0] * 7 + [3.0] + [1.0] * 4)
    torch.testing.assert_close(path.wavevectors[9], real([0.0, 3]))
    # Each segment has at least one step, and one's own path may be given.
    assert len(band_path(points, 1).wavevectors) == 5
    assert band_path(points, 2, [("C", "A")]).distances.tolist() == [0.0, 2.5, 5.0]


def test_points_are_differentiable_and_keep_their_type():
    lattice = LATTICES["hP"].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a: band_path(high_symmetry_points(a), 20).wavevectors, lattice
    )
    points = high_symmetry_points(face_centred_cubic(dtype=torch.float32)).wavevectors
    assert points["W"].dtype == torch.float32


POINTS = high_symmetry_points(hexagonal())


def test_oblique_points_do_not_depend_on_the_basis():
    """S in the zone, whichever of a, b and a, -b is the reduced basis that was come upon."""
    lattice = LATTICES["oblique"]
    zone = BrillouinZone(lattice)
    for change in ([[1.0, 0], [0, 1]], [[1, 0], [0, -1]], [[-1, 1], [0, 1]], [[0, 1], [1, -2]]):
        points = high_symmetry_points(real(change) @ lattice).wavevectors
        assert bool(zone.contains(torch.stack(list(points.values()))).all())


MISUSED = {
    "label": (lambda: band_path(POINTS, 9, ["ΓQ"]), "expected runs of two or more of Γ, M, K"),
    "one": (lambda: band_path(POINTS, 9, ["Γ"]), r"path: got \[\['Γ'\]\]"),
    "none": (lambda: band_path(POINTS, 9, []), r"path: got \[\]"),
    "count": (lambda: band_path(POINTS, 0), "count: got 0"),
    "still": (lambda: band_path(POINTS, 9, ["ΓΓ"]), "a step from a point to itself"),
    "lattice": (lambda: high_symmetry_points(torch.ones(2, 2)), "depend on each other"),
    "four": (lambda: high_symmetry_points(torch.eye(4)), "n <= 3"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
