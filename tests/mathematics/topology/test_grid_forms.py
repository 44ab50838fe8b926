import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.topology.chain_complex import ChainComplex
from adaptive_attention_tiling.mathematics.topology.cubical_complex import CubicalComplex
from adaptive_attention_tiling.mathematics.topology.grid_forms import GridForms
from adaptive_attention_tiling.mathematics.topology.hodge import HodgeComplex
from adaptive_attention_tiling.mathematics.topology.homology import Homology

GRIDS = {
    "circle": ((5,), (True,)),
    "line": ((5,), (False,)),
    "torus": ((3, 4), (True, True)),
    "annulus": ((4, 3), (True, False)),
    "square": ((3, 4), (False, False)),
    "3-torus": ((3, 2, 3), (True, True, True)),
    "solid torus": ((3, 2, 3), (False, True, False)),
}
PARAMETERS = [
    pytest.param(*GRIDS[name], k, id=f"{name} {k}")
    for name in GRIDS
    for k in range(len(GRIDS[name][0]) + 1)
]


def random(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def grid_of(shape, periodic):
    spacing = torch.tensor([0.5, 0.8, 1.3], dtype=torch.float64)[: len(shape)]
    return GridForms(shape, spacing, periodic)


def form_of(grid, degree, seed, *batch):
    size = math.comb(grid.dimension, degree)
    return random(seed, *batch, size, *grid.shape)


@pytest.mark.parametrize(("shape", "periodic", "degree"), PARAMETERS)
def test_pair_grid_and_cubical_complex(shape, periodic, degree):
    """d, delta, the Laplacian, inner products and the spectrum against dense matrices."""
    grid = grid_of(shape, periodic)
    complex_ = grid.cubical_complex()
    hodge = HodgeComplex(
        complex_.chain_complex(),
        {k: grid.cochain(grid.weights(k), k) for k in range(grid.dimension + 1)},
    )
    form, other = form_of(grid, degree, 1, 2), form_of(grid, degree, 2, 2)
    flat = grid.cochain(form, degree)
    close = torch.testing.assert_close
    close(grid.inner(form, other, degree), hodge.inner(flat, grid.cochain(other, degree), degree))
    close(grid.cochain(grid.laplacian(form, degree), degree), flat @ hodge.laplacian(degree).mT)
    close(grid.eigenvalues(degree), hodge.eigenvalues(degree), rtol=1e-10, atol=1e-10)
    if degree < grid.dimension:
        up = grid.derivative(form, degree)
        close(grid.cochain(up, degree + 1), hodge.derivative(flat, degree))
        close(up, torch.where(grid.cells(degree + 1), up, 0.0))
    if degree:
        down = grid.codifferential(form, degree)
        close(grid.cochain(down, degree - 1), hodge.codifferential(flat, degree))
    if all(periodic):
        fast, slow = grid.decompose(form, degree), hodge.decompose(flat, degree)
        for part in ("exact", "coexact", "harmonic"):
            close(grid.cochain(getattr(fast, part), degree), getattr(slow, part))
        if degree:
            close(grid.cochain(fast.potential, degree - 1), slow.potential)
        if degree < grid.dimension:
            close(grid.cochain(fast.copotential, degree + 1), slow.copotential)


@pytest.mark.parametrize(("shape", "periodic", "degree"), PARAMETERS)
def test_law_d_d_and_star(shape, periodic, degree):
    grid = grid_of(shape, periodic)
    whole = form_of(grid, degree, 3, 2).mul(8).round()
    if degree < grid.dimension - 1:
        assert not grid.derivative(grid.derivative(whole, degree), degree + 1).any()
    dual = grid.star(whole, degree)
    assert dual.shape[1] == math.comb(grid.dimension, grid.dimension - degree)
    kept = torch.where(grid.cells(degree), whole, 0.0)
    torch.testing.assert_close(grid.unstar(dual, degree), kept)
    # a wedge star a, added up over pairs of a cell and its dual, is <a, a>.
    back = grid.unstar(dual, degree) * grid.weights(degree)
    torch.testing.assert_close(
        (kept * back).sum((1, *range(2, whole.dim()))), grid.inner(whole, whole, degree)
    )


def test_law_codifferential_is_star_d_star():
    """On the torus delta f = (-1)^{n(k+1)+1} star^-1 d star f, d on the dual grid."""
    grid = grid_of((3, 4), (True, True))
    form = form_of(grid, 1, 4)
    dual = grid.star(form, 1)  # components along 0 and 1 of dual edges
    # The dual cell of a point is the square before it: differences look back.
    curl = (dual[1] - dual[1].roll(1, 0)) - (dual[0] - dual[0].roll(1, 1))
    expected = grid.unstar(-curl[None], 0)
    torch.testing.assert_close(grid.codifferential(form, 1), expected)


def test_order_of_the_laplacian():
    """sin x on a circle of length 2 pi: eigenvalue 1 - h^2 / 12 + ..."""
    errors = []
    for count in (16, 32):
        step = 2 * math.pi / count
        grid = GridForms((count,), torch.tensor([step], dtype=torch.float64))
        wave = torch.sin(step * torch.arange(count, dtype=torch.float64))[None]
        errors.append(float((grid.laplacian(wave, 0) - wave).abs().max()))
        assert errors[-1] == pytest.approx(step**2 / 12, rel=0.01)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)


def test_gradients_reach_spacing_and_form():
    spacing = torch.tensor([0.5, 0.8], dtype=torch.float64, requires_grad=True)
    form = random(5, 2, 3, 3).requires_grad_()

    def parts(form, spacing):
        found = GridForms((3, 3), spacing).decompose(form, 1)
        lines = GridForms((3, 3), spacing, (True, False))
        return found.exact, found.coexact, found.copotential, lines.laplacian(form, 1)

    assert torch.autograd.gradcheck(parts, (form, spacing))


def test_float32_and_batches():
    grid = GridForms((4, 4), torch.tensor([1.0, 0.5]))
    form = form_of(grid, 1, 6, 3).float()
    whole = grid.decompose(form, 1)
    assert whole.exact.dtype == torch.float32
    for i in range(3):
        torch.testing.assert_close(grid.decompose(form[i], 1).exact, whole.exact[i])
        torch.testing.assert_close(grid.laplacian(form[i], 1), grid.laplacian(form, 1)[i])


SPACES = {
    "torus": (CubicalComplex.of_grid((3, 4), (True, True)), [1, 2, 1]),
    "torus of one cell": (CubicalComplex.of_grid((1, 1), (True, True)), [1, 2, 1]),
    "3-torus": (CubicalComplex.of_grid((2, 1, 3), (True,) * 3), [1, 3, 3, 1]),
    "annulus": (CubicalComplex.of_grid((4, 3), (True, False)), [1, 1, 0]),
    "box": (CubicalComplex.of_grid((2, 3, 2), (False,) * 3), [1, 0, 0, 0]),
    "ring of voxels": (
        CubicalComplex.of_voxels(torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]]).bool()),
        [1, 1, 0],
    ),
    "two voxels that meet in a point": (CubicalComplex.of_voxels(torch.eye(2).bool()), [1, 0, 0]),
    "two that wrap": (
        CubicalComplex.of_voxels(torch.tensor([True, False, True]), [True]),
        [1, 0],
    ),
}


@pytest.mark.parametrize(("complex_", "betti"), SPACES.values(), ids=SPACES)
def test_golden_homology_of_cubical_complexes(complex_, betti):
    chains = complex_.chain_complex()
    homology = Homology(chains)
    assert [homology.betti_number(k) for k in range(len(betti))] == betti
    assert all(not homology.group(k).torsion for k in range(len(betti)))
    assert complex_.euler_characteristic() == chains.euler_characteristic()
    assert complex_.euler_characteristic() == sum((-1) ** k * b for k, b in enumerate(betti))


def test_pair_grid_and_tensor_product():
    circle = ChainComplex({1: torch.tensor([[-1, 0, 1], [1, -1, 0], [0, 1, -1]])})
    line = ChainComplex({1: torch.tensor([[-1, 0], [1, -1], [0, 1]])})
    product = circle.tensor(line)
    grid = CubicalComplex.of_grid((3, 3), (True, False)).chain_complex()
    for k in range(3):
        assert product.count(k) == grid.count(k)
        values = [
            torch.linalg.matrix_rank(c.boundary(k).to_dense().double()) for c in (product, grid)
        ]
        assert values[0] == values[1]


def test_the_empty_cubical_complex():
    empty = CubicalComplex([])
    assert (empty.dimension, empty.counts, empty.euler_characteristic()) == (-1, (), 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GridForms((3,), torch.ones(2)), r"spacing: got \[1.0, 1.0\]"),
        (lambda: GridForms((3,), torch.tensor([-1.0])), "1 numbers > 0"),
        (lambda: GridForms((3, 1), torch.ones(2), (True, False)), r"shape: got \[3, 1\]"),
        (lambda: GridForms((3, 3), torch.ones(2), (True,)), "periodic"),
        (lambda: GridForms((3,), torch.ones(1)).derivative(torch.ones(1, 4), 0), "form: got shape"),
        (lambda: GridForms((3,), torch.ones(1)).derivative(torch.ones(0, 3), 2), "degree 0 to 1"),
        (lambda: GridForms((3,), torch.ones(1), [False]).decompose(torch.ones(1, 3), 0), "circles"),
        (
            lambda: GridForms((3,), torch.ones(1)).codifferential(torch.ones(1, 3), 0),
            "degree: got 0",
        ),
        (lambda: CubicalComplex([(1, 2), (1,)]), "cubes: got"),
        (lambda: CubicalComplex([(-1,)]), r"cubes: got \[-1\]"),
        (lambda: CubicalComplex([(6,)], [3]), r"cubes: got \[6\]"),
        (lambda: CubicalComplex.of_voxels(torch.ones(2, 2)), "mask: got torch.float32"),
        (
            lambda: CubicalComplex.of_voxels(torch.ones(2, 2).bool(), [True]),
            r"periodic: got \[True\], expected 2 booleans",
        ),
        (lambda: CubicalComplex.of_grid((2,), ()), r"periodic: got \[\], expected 1 booleans"),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
