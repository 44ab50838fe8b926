import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    BrillouinZone,
    body_centred_cubic,
    face_centred_cubic,
    hexagonal,
    orthogonal,
    simple_cubic,
)
from adaptive_attention_tiling.mathematics.crystal.lattice import whole_vectors

TRICLINIC = torch.tensor([[1.0, 0, 0], [0.2, 1.1, 0], [0.3, 0.4, 1.3]], dtype=torch.float64)

# Of a box 3 x 1 x 3; its shortest reciprocal vectors are no whole sums with entries up to 1.
SKEW = torch.tensor([[0.0, -3, 3], [-3, 2, -3], [3, -1, 3]], dtype=torch.float64)

# Lattice, faces, corners, volume.
GOLDEN = {
    "B5 SC": (simple_cubic(), 6, 8, 248.050213442),
    "B5 FCC": (face_centred_cubic(), 14, 24, 992.20085377),
    "B5 BCC": (body_centred_cubic(), 12, 14, 496.100426885),
    "B5 HCP": (hexagonal(1.0, math.sqrt(8 / 3)), 8, 12, 175.397988),
    "B5 hexagon": (hexagonal(), 6, 6, 45.5857500621),
    "square": (orthogonal(1.0, 1.0), 4, 4, 4 * math.pi**2),
    "chain": (orthogonal(2.0), 2, 2, math.pi),
    "skew": (SKEW, 6, 8, 8 * math.pi**3 / 9),
    "triclinic": (TRICLINIC, 14, 24, 8 * math.pi**3 / 1.43),
}


@pytest.mark.parametrize(("lattice", "faces", "corners", "volume"), GOLDEN.values(), ids=GOLDEN)
def test_golden_zones(lattice, faces, corners, volume):
    zone = BrillouinZone(lattice)
    assert zone.faces == faces
    assert zone.vertices().shape == (corners, len(lattice))
    exact = (2 * math.pi) ** len(lattice) / float(torch.linalg.det(lattice).abs())
    assert float(zone.volume()) == pytest.approx(exact, rel=1e-13)
    assert float(zone.volume()) == pytest.approx(volume, rel=5e-10)


@pytest.mark.parametrize("name", GOLDEN)
def test_folding_and_membership_by_brute_force(name):
    lattice = GOLDEN[name][0]
    zone = BrillouinZone(lattice)
    generator = torch.Generator().manual_seed(1)
    k = 20 * torch.randn(64, len(lattice), generator=generator, dtype=torch.float64)
    folded = zone.fold(k)
    assert bool(zone.contains(folded).all())
    steps = (k - folded) @ lattice.T / (2 * math.pi)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-9)
    torch.testing.assert_close(zone.fold(folded), folded)
    # Inside is nearer to 0 than to any other reciprocal lattice point; outside is not.
    wide = 2 * folded
    points = whole_vectors(len(lattice), 3).double() @ zone.reciprocal
    nearest = torch.cdist(wide, points).argmin(1)
    inside = points[nearest].norm(dim=1) == 0
    assert torch.equal(zone.contains(wide), inside)
    assert bool(inside.any())
    assert not bool(inside.all())
    assert torch.equal(zone.number(wide) == 1, inside)
    one_by_one = torch.stack([zone.fold(row) for row in k])
    assert torch.equal(folded.reshape(8, 8, -1), zone.fold(k.reshape(8, 8, -1)))
    torch.testing.assert_close(one_by_one, folded)


def test_tolerance_is_the_fraction_of_the_way_to_a_face():
    zone = BrillouinZone(TRICLINIC)
    middles = zone.normals / 2
    assert bool(zone.contains(middles).all())
    assert not bool(zone.contains(1.01 * middles).any())
    assert bool(zone.contains(1.01 * middles, tolerance=0.02).all())


def test_rounding_of_a_sheared_cell_adds_no_faces():
    turned = 1.37 * torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=torch.float64)
    sheared = torch.tensor([[1.0, 0], [1e6, 1]], dtype=torch.float64) @ turned
    assert BrillouinZone(sheared).faces == 4


def test_zones_of_a_chain_are_intervals():
    zone = BrillouinZone(orthogonal(1.0))
    k = math.pi * torch.tensor([[0.5], [-0.9], [1.5], [-2.5], [3.2]], dtype=torch.float64)
    assert zone.number(k).tolist() == [1, 1, 2, 3, 4]
    torch.testing.assert_close(
        zone.fold(k)[:, 0] / math.pi, torch.tensor([0.5, -0.9, -0.5, -0.5, -0.8]).double()
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_polygons_close_the_zone(name):
    """Euler: v - e + f = 2 in space; each edge is run once each way; normals point outward."""
    lattice = GOLDEN[name][0]
    zone = BrillouinZone(lattice)
    polygons, corners = zone.polygons(), zone.vertices()
    assert len(polygons) == zone.faces
    numbers = []
    for face, normal in zip(polygons, zone.normals, strict=True):
        reach = normal.square().sum() / 2
        torch.testing.assert_close(face @ normal, reach.expand(len(face)))
        numbers.append(torch.cdist(face, corners).argmin(1).tolist())
        if len(lattice) == 3:
            turns = torch.linalg.cross(face.roll(-1, 0) - face, face.roll(-2, 0) - face.roll(-1, 0))
            assert bool((turns @ normal > 0).all())
    if len(lattice) == 3:
        edges = [(a, b) for face in numbers for a, b in zip(face, face[1:] + face[:1], strict=True)]
        assert len(set(edges)) == len(edges)
        assert {(b, a) for a, b in edges} == set(edges)
        assert len(corners) - len(edges) // 2 + zone.faces == 2
    if len(lattice) == 2:
        around = torch.stack([corners, corners.roll(-1, 0)])
        areas = around[0, :, 0] * around[1, :, 1] - around[0, :, 1] * around[1, :, 0]
        assert bool((areas > 0).all())
        assert float(areas.sum() / 2) == pytest.approx(float(zone.volume()))
        assert sorted(numbers) == sorted([i, (i + 1) % len(corners)] for i in range(len(corners)))
    if len(lattice) == 1:
        assert [face.shape for face in polygons] == [(1, 1)] * 2
        assert corners[:, 0].tolist() == sorted(corners[:, 0].tolist())


@pytest.mark.parametrize("name", ["B5 FCC", "B5 HCP", "B5 hexagon", "square", "chain", "triclinic"])
def test_all_zones_are_as_large_as_the_first(name):
    """Each wave has one image in every zone: the n-th nearest to 0 lies in the n-th."""
    zone = BrillouinZone(GOLDEN[name][0])
    size = len(zone.reciprocal)
    generator = torch.Generator().manual_seed(2)
    k = 9 * torch.randn(20, size, generator=generator, dtype=torch.float64)
    images = zone.fold(k)[:, None] + whole_vectors(size, 2).double() @ zone.reciprocal
    order = images.norm(dim=-1).argsort(dim=1)[:, :5]
    nearest = images.gather(1, order[..., None].expand(-1, -1, size))
    count = min(5, len(zone.normals) + 1)
    assert zone.number(nearest[:, :count]).tolist() == [list(range(1, count + 1))] * 20


def test_areas_of_the_zones_of_a_square():
    """By counting points of a grid of 202 by 208, of which few lie on a border."""
    across, up = (
        6 * math.pi * ((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5) for n in (202, 208)
    )
    numbers = BrillouinZone(orthogonal(1.0, 1.0)).number(torch.cartesian_prod(across, up))
    counts = torch.bincount(numbers)[1:5].double() * (36 * math.pi**2 / (202 * 208))
    torch.testing.assert_close(counts, torch.full((4,), 4 * math.pi**2).double(), rtol=3e-2, atol=0)


@pytest.mark.parametrize("name", ["B5 SC", "B5 FCC", "B5 BCC", "B5 HCP", "triclinic"])
def test_corners_are_those_of_qhull(name):
    spatial = pytest.importorskip(
        "scipy.spatial", reason="scipy, of the oracles extra, is not installed"
    )
    zone = BrillouinZone(GOLDEN[name][0])
    points = whole_vectors(3, 2).double() @ zone.reciprocal
    voronoi = spatial.Voronoi(points.numpy())
    region = voronoi.regions[voronoi.point_region[int(points.norm(dim=1).argmin())]]
    theirs = torch.from_numpy(voronoi.vertices[region])
    gaps = torch.cdist(theirs, zone.vertices())
    assert float(gaps.min(0).values.max()) < 1e-9
    assert float(gaps.min(1).values.max()) < 1e-9


def test_volume_and_corners_have_exact_gradients():
    lattice = TRICLINIC.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: BrillouinZone(a).volume(), lattice)
    (gradient,) = torch.autograd.grad(BrillouinZone(lattice).volume(), lattice)
    (exact,) = torch.autograd.grad(8 * math.pi**3 / torch.linalg.det(lattice).abs(), lattice)
    torch.testing.assert_close(gradient, exact, rtol=1e-10, atol=1e-9)
    k = torch.randn(3, 3, dtype=torch.float64) * 5
    assert torch.autograd.gradcheck(
        lambda a, k: BrillouinZone(a).fold(k), (lattice, k.requires_grad_())
    )


def test_float32_finds_the_same_zone():
    zone = BrillouinZone(face_centred_cubic(dtype=torch.float32))
    assert (zone.faces, len(zone.vertices())) == (14, 24)
    assert zone.volume().dtype == torch.float32
    assert float(zone.volume()) == pytest.approx(992.20085377, rel=1e-5)


@pytest.mark.parametrize("name", GOLDEN)
def test_float32_has_as_many_faces_and_corners(name):
    lattice, faces, corners, volume = GOLDEN[name]
    zone = BrillouinZone(lattice.float())
    assert (zone.faces, len(zone.vertices())) == (faces, corners)
    assert float(zone.volume()) == pytest.approx(volume, rel=1e-5)


THIN = {
    "oblique": ([[1.0, 0], [0.3, 1]], 6, 6),
    "triclinic": ([[1.0, 0, 0], [0.3, 1.1, 0], [0.2, 0.3, 1]], 14, 24),
    "rectangular": ([[1.0, 0], [0, 1]], 4, 4),
}


@pytest.mark.parametrize("length", [1e3, 1e4])
@pytest.mark.parametrize(("rows", "faces", "corners"), THIN.values(), ids=THIN)
def test_zones_of_long_cells(rows, faces, corners, length):
    """Faces part by the square of length: the volume is (2 pi)^n / det all the same."""
    lattice = torch.tensor(rows, dtype=torch.float64)
    lattice[-1, -1] *= length
    zone = BrillouinZone(lattice)
    assert (zone.faces, len(zone.vertices())) == (faces, corners)
    exact = (2 * math.pi) ** len(lattice) / float(torch.linalg.det(lattice))
    assert float(zone.volume()) == pytest.approx(exact, rel=1e-10)
    assert sum(len(face) for face in zone.polygons()) == corners * len(lattice)


MISUSED = {
    "large": (lambda: BrillouinZone(torch.eye(4)), "lattice: got shape"),
    "flat": (lambda: BrillouinZone(torch.ones(2, 2)), "depend on each other"),
    "space": (
        lambda: BrillouinZone(torch.eye(2)).fold(torch.zeros(3)),
        r"wavevector: got shape \[3\]",
    ),
    "NaN": (
        lambda: BrillouinZone(torch.eye(1)).contains(torch.tensor([math.nan])),
        "wavevector: got NaN",
    ),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
