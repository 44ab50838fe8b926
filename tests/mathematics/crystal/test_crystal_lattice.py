import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    body_centred_cubic,
    face_centred_cubic,
    hexagonal,
    lattice_point_group,
    lattice_system,
    minkowski_reduced,
    orthogonal,
    reciprocal_lattice,
    simple_cubic,
)
from adaptive_attention_tiling.mathematics.crystal.lattice import whole_vectors


def real(value):
    return torch.tensor(value, dtype=torch.float64)


LATTICES = {
    "chain": (orthogonal(2.0), "chain", 2),
    "oblique": (real([[1.0, 0], [0.3, 1.2]]), "oblique", 2),
    "rectangular": (orthogonal(1.0, 1.5), "rectangular", 4),
    "centred rectangular": (real([[0.5, 0.8], [-0.5, 0.8]]), "centred rectangular", 4),
    "square": (orthogonal(2.0, 2.0), "square", 8),
    "hexagonal net": (hexagonal(), "hexagonal", 12),
    "triclinic": (real([[1.0, 0, 0], [0.2, 1.1, 0], [0.3, 0.4, 1.3]]), "triclinic", 2),
    "monoclinic": (real([[1.0, 0, 0], [0, 1.2, 0], [0.3, 0, 1.4]]), "monoclinic", 4),
    "orthorhombic": (orthogonal(1.0, 1.1, 1.3), "orthorhombic", 8),
    "rhombohedral": (
        real([[1.0, 0.2, 0.2], [0.2, 1.0, 0.2], [0.2, 0.2, 1.0]]),
        "rhombohedral",
        12,
    ),
    "tetragonal": (orthogonal(1.0, 1.0, 1.3), "tetragonal", 16),
    "HCP": (hexagonal(1.0, math.sqrt(8 / 3)), "hexagonal", 24),
    "SC": (simple_cubic(2.0), "simple cubic", 48),
    "BCC": (body_centred_cubic(), "body-centred cubic", 48),
    "FCC": (face_centred_cubic(3.6), "face-centred cubic", 48),
}


def skewed(lattice, seed=0):
    """The same lattice by another basis, turned in space."""
    generator = torch.Generator().manual_seed(seed)
    size = len(lattice)
    mixed = torch.eye(size, dtype=torch.float64)
    for _ in range(4):
        upper = torch.randint(-2, 3, (size, size), generator=generator).double().triu(1)
        unit = torch.eye(size, dtype=torch.float64) + upper
        mixed = unit.T @ mixed if _ % 2 else unit @ mixed
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return mixed @ lattice @ turn


@pytest.mark.parametrize(("lattice", "system", "order"), LATTICES.values(), ids=LATTICES)
def test_systems_by_any_basis(lattice, system, order):
    for basis in (lattice, skewed(lattice)):
        assert lattice_system(basis) == system
        group = lattice_point_group(basis)
        metric = basis @ basis.T
        assert len(group) == order
        kept = group.double() @ metric @ group.double().mT
        torch.testing.assert_close(
            kept, metric.expand_as(kept), rtol=0, atol=1e-9 * float(metric.max())
        )
    # Closed under products, and only the identity leaves all three vectors.
    known = {tuple(w.flatten().tolist()) for w in group}
    assert len(known) == order
    assert all(tuple((a @ b).flatten().tolist()) in known for a in group[:6] for b in group)


@pytest.mark.parametrize("name", LATTICES)
def test_reduction_finds_the_successive_minima(name):
    lattice = LATTICES[name][0]
    bad = skewed(lattice, 3)
    basis, transform = minkowski_reduced(bad)
    torch.testing.assert_close(transform.double() @ bad, basis)
    assert abs(int(torch.linalg.det(transform.double()).round())) == 1
    # Minkowski: no vector whose entries from i on share no factor is shorter than vector i.
    whole = whole_vectors(len(basis), 3)
    lengths = (whole.double() @ basis).norm(dim=1)
    for row in range(len(basis)):
        primitive = torch.gcd(whole[:, row], whole[:, -1]) == 1
        if row == 0 and len(basis) == 3:
            primitive = torch.gcd(torch.gcd(whole[:, 0], whole[:, 1]), whole[:, 2]) == 1
        if row == len(basis) - 1:
            primitive = whole[:, row].abs() == 1
        assert float(lengths[primitive].min()) == pytest.approx(float(basis[row].norm()), rel=1e-9)


def test_reciprocal_lattices():
    lattice = torch.stack([skewed(simple_cubic(), seed) for seed in range(3)])
    found = reciprocal_lattice(lattice)
    for one, other in zip(lattice, found, strict=True):
        torch.testing.assert_close(one @ other.T, 2 * math.pi * torch.eye(3, dtype=torch.float64))
        assert torch.equal(reciprocal_lattice(one), other)
    torch.testing.assert_close(reciprocal_lattice(found), lattice)
    # FCC of edge a and BCC of edge 4 pi / a are each other's.
    torch.testing.assert_close(
        reciprocal_lattice(face_centred_cubic(2.0)), body_centred_cubic(2 * math.pi)
    )
    assert torch.autograd.gradcheck(reciprocal_lattice, lattice.requires_grad_())


def test_reduction_is_differentiable_and_keeps_its_type():
    lattice = skewed(LATTICES["triclinic"][0], 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: minkowski_reduced(a).basis, lattice)
    assert minkowski_reduced(hexagonal(dtype=torch.float32)).basis.dtype == torch.float32
    assert lattice_system(hexagonal(dtype=torch.float32)) == "hexagonal"


MISUSED = {
    "edge": (lambda: simple_cubic(-1.0), "edge: got -1.0"),
    "height": (lambda: hexagonal(1.0, 0.0), "height: got 0.0"),
    "infinite edge": (lambda: orthogonal(1.0, math.inf), "edges: got inf"),
    "flat": (lambda: reciprocal_lattice(torch.ones(2, 2)), "depend on each other"),
    "zero row": (lambda: reciprocal_lattice(real([[0.0, 0], [0, 1]])), "depend on each other"),
    "shape": (lambda: reciprocal_lattice(torch.ones(2, 3)), r"lattice: got shape \[2, 3\]"),
    "NaN": (lambda: reciprocal_lattice(real([[math.nan]])), "lattice: got NaN"),
    "large": (lambda: minkowski_reduced(torch.eye(4)), r"expected \[n, n\] with n <= 3"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
