import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.graph import Graph
from adaptive_attention_tiling.mathematics.topology import triangulations
from adaptive_attention_tiling.mathematics.topology.chain_complex import ChainComplex
from adaptive_attention_tiling.mathematics.topology.hodge import HodgeComplex
from adaptive_attention_tiling.mathematics.topology.homology import Cohomology
from adaptive_attention_tiling.mathematics.topology.simplicial_complex import SimplicialComplex
from adaptive_attention_tiling.mathematics.topology.whitney_forms import whitney_mass_matrix

COMPLEXES = {
    "torus": triangulations.torus(),
    "RP2": triangulations.projective_plane(),
    "Klein": triangulations.klein_bottle(),
    "disc and circle": SimplicialComplex([[0, 1, 2], [0, 2, 3], [5, 6], [6, 7], [5, 7]]),
    "S3": triangulations.sphere(3),
}


def random(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def weights_of(complex_, kind, seed=0):
    found = {}
    for k, n in enumerate(complex_.counts):
        if kind == "diagonal":
            found[k] = random(seed + k, n).exp()
        elif kind == "matrix":
            factor = random(seed + k, n, n) / n**0.5
            found[k] = factor @ factor.mT + torch.eye(n, dtype=factor.dtype) / 2
    return found


def hodge_of(name, kind):
    complex_ = COMPLEXES[name]
    return complex_, HodgeComplex(ChainComplex.of(complex_), weights_of(complex_, kind))


def test_golden_kernel_of_the_torus():
    """B2 Hodge Laplacian L1 kernel dim torus = 2."""
    _, hodge = hodge_of("torus", "ones")
    assert int((hodge.eigenvalues(1) < 1e-10).sum()) == 2
    assert len(hodge.harmonic_forms(1)) == 2


def test_golden_cycle_of_seven():
    """B2 cycle C7 lambda_2 = 2 - 2 cos(2 pi / 7)."""
    cycle = SimplicialComplex.flag(Graph.cycle(7), 1)
    hodge = HodgeComplex(ChainComplex.of(cycle))
    assert float(hodge.eigenvalues(0)[1]) == pytest.approx(0.753020396283, abs=1e-12)
    assert float(hodge.eigenvalues(0)[1]) == pytest.approx(2 - 2 * math.cos(2 * math.pi / 7))


def test_pair_weighted_graph_laplacian():
    """Weights of edges as M_1 and of nodes as M_0 give D_0^-1 (D - A)."""
    weights, masses = random(1, 7).exp(), random(2, 7).exp()
    graph = Graph(7, Graph.cycle(7).edges.unique(dim=0), weights)
    chains = ChainComplex.of(SimplicialComplex.flag(graph, 1))
    hodge = HodgeComplex(chains, {0: masses, 1: weights})
    adjacency = graph.adjacency()
    expected = (torch.diag(adjacency.sum(1)) - adjacency) / masses[:, None]
    torch.testing.assert_close(hodge.laplacian(0), expected)


@pytest.mark.parametrize("kind", ["ones", "diagonal", "matrix"])
@pytest.mark.parametrize("name", COMPLEXES)
def test_law_hodge_decomposition(name, kind):
    complex_, hodge = hodge_of(name, kind)
    for degree, size in enumerate(complex_.counts):
        form = random(7, 2, size)
        parts = hodge.decompose(form, degree)
        pieces = [parts.exact, parts.coexact, parts.harmonic]
        torch.testing.assert_close(sum(pieces), form, rtol=0, atol=1e-13)
        for i in range(3):
            for j in range(i):
                assert hodge.inner(pieces[i], pieces[j], degree).abs().max() < 1e-11
        if degree:
            again = hodge.derivative(parts.potential, degree - 1)
            torch.testing.assert_close(again, parts.exact, rtol=0, atol=1e-11)
            assert hodge.codifferential(parts.harmonic, degree).abs().max() < 1e-11
        if degree < complex_.dimension:
            again = hodge.codifferential(parts.copotential, degree + 1)
            torch.testing.assert_close(again, parts.coexact, rtol=0, atol=1e-11)
            assert hodge.derivative(parts.harmonic, degree).abs().max() < 1e-11
        if degree > 1:
            assert hodge.codifferential(parts.potential, degree - 1).abs().max() < 1e-11
        if degree < complex_.dimension - 1:
            assert hodge.derivative(parts.copotential, degree + 1).abs().max() < 1e-11


@pytest.mark.parametrize("kind", ["ones", "diagonal", "matrix"])
@pytest.mark.parametrize("name", COMPLEXES)
def test_law_laplacian(name, kind):
    """Adjoint, self-adjoint, not negative; its kernel is cohomology."""
    complex_, hodge = hodge_of(name, kind)
    cohomology = Cohomology(ChainComplex.of(complex_), "Q")
    for degree, size in enumerate(complex_.counts):
        values, betti = hodge.eigenvalues(degree), cohomology.betti_number(degree)
        assert values[:betti].abs().max() < 1e-10 if betti else True
        assert (values[betti:] > 1e-3).all()
        expected = torch.linalg.eigvals(hodge.laplacian(degree)).real.sort().values
        torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-9)
        harmonic = hodge.harmonic_forms(degree)
        assert len(harmonic) == betti
        assert (harmonic @ hodge.laplacian(degree).mT).abs().sum() < 1e-9
        gram = hodge.inner(harmonic[:, None], harmonic[None], degree)
        torch.testing.assert_close(gram, torch.eye(betti, dtype=gram.dtype))
        if degree < complex_.dimension:
            a, b = random(1, size), random(2, complex_.count(degree + 1))
            left = hodge.inner(hodge.derivative(a, degree), b, degree + 1)
            right = hodge.inner(a, hodge.codifferential(b, degree + 1), degree)
            torch.testing.assert_close(left, right)


@pytest.mark.parametrize("kind", ["diagonal", "matrix"])
def test_gradients_reach_weights_and_cochains(kind):
    complex_ = triangulations.sphere(1) if kind == "matrix" else COMPLEXES["disc and circle"]
    chains = ChainComplex.of(complex_)
    raw = [
        random(3 + k, n, *([n] if kind == "matrix" else [])) for k, n in enumerate(complex_.counts)
    ]
    form = random(9, complex_.count(1))

    def parts(form, *raw):
        weights = {
            k: w.exp() if w.dim() == 1 else w @ w.mT + torch.eye(len(w), dtype=w.dtype)
            for k, w in enumerate(raw)
        }
        hodge = HodgeComplex(chains, weights)
        found = hodge.decompose(form, 1)
        values = hodge.eigenvalues(0)[1:]
        return found.exact, found.harmonic, found.potential, hodge.harmonic_forms(1), values

    inputs = [each.requires_grad_() for each in (form, *raw)]
    assert torch.autograd.gradcheck(parts, inputs)


def test_float32_and_batches():
    complex_ = COMPLEXES["torus"]
    chains = ChainComplex.of(complex_)
    hodge = HodgeComplex(chains, dtype=torch.float32)
    form = random(4, 3, 2, 21).float()
    whole = hodge.decompose(form, 1)
    exact = HodgeComplex(chains).decompose(form.double(), 1)
    torch.testing.assert_close(whole.harmonic.double(), exact.harmonic, rtol=0, atol=2e-6)
    for i in range(3):
        one = hodge.decompose(form[i, 1], 1)
        torch.testing.assert_close(one.potential, whole.potential[i, 1], rtol=0, atol=1e-6)


def grid_mesh(size, seed):
    """A unit square in triangles, its inner points moved a little."""
    axis = torch.linspace(0, 1, size + 1, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    points[1:-1, 1:-1] += random(seed, size - 1, size - 1, 2) * 0.1 / size
    triangles = []
    for i in range(size):
        for j in range(size):
            a, b = i * (size + 1) + j, (i + 1) * (size + 1) + j
            triangles += [(a, b, b + 1), (a, a + 1, b + 1)]
    return SimplicialComplex(triangles), points.reshape(-1, 2)


def test_golden_whitney_forms_of_linear_functions():
    """Constant forms are in their span: lengths are areas times squared gradients."""
    complex_, points = grid_mesh(3, 5)
    masses = [whitney_mass_matrix(complex_, points, k) for k in range(3)]
    hodge = HodgeComplex(ChainComplex.of(complex_), dict(enumerate(masses)))
    slope = torch.tensor([0.7, -1.3], dtype=torch.float64)
    gradient = hodge.derivative(points @ slope, 0)
    assert float(hodge.inner(gradient, gradient, 1)) == pytest.approx(float(slope @ slope))
    one = torch.ones(complex_.count(0), dtype=torch.float64)
    assert float(hodge.inner(one, one, 0)) == pytest.approx(1)
    linear = points[:, 0]
    assert float(hodge.inner(linear, linear, 0)) == pytest.approx(1 / 3)
    edges = complex_.simplices(1)
    across = points[edges[:, 1]] - points[edges[:, 0]]
    assert float(hodge.inner(across[:, 0], across[:, 1], 1)) == pytest.approx(0, abs=1e-14)
    corners = points[complex_.simplices(2)]
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]).abs() / 2
    torch.testing.assert_close(masses[2], torch.diag(1 / areas))


def test_pair_cotangent_laplacian():
    complex_, points = grid_mesh(3, 6)
    d = HodgeComplex(ChainComplex.of(complex_)).coboundary(0)
    stiffness = d.mT @ whitney_mass_matrix(complex_, points, 1) @ d
    expected = torch.zeros_like(stiffness)
    for triangle in complex_.simplices(2).tolist():
        for place in range(3):
            i, j, k = (triangle[(place + s) % 3] for s in range(3))
            u, v = points[i] - points[k], points[j] - points[k]
            half = (u @ v) / (u[0] * v[1] - u[1] * v[0]).abs() / 2
            for row, column, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                expected[row, column] += sign * half
    torch.testing.assert_close(stiffness, expected)


def test_order_of_the_first_eigenvalue_of_a_square():
    """Neumann eigenvalue pi^2 on functions and on their gradients, with error O(h^2)."""
    errors = []
    for size in (4, 8):
        complex_, points = grid_mesh(size, 7)
        masses = {k: whitney_mass_matrix(complex_, points, k) for k in (0, 1)}
        hodge = HodgeComplex(ChainComplex.of(complex_), masses)
        errors.append(float(hodge.eigenvalues(0)[1]) / math.pi**2 - 1)
    assert 3 < errors[0] / errors[1] < 5
    assert 0 < errors[1] < 0.02


def test_gradients_reach_positions():
    complex_ = SimplicialComplex([[0, 1, 2], [1, 2, 3]])
    points = random(8, 4, 3).requires_grad_()
    for degree in range(3):
        assert torch.autograd.gradcheck(
            lambda x, k=degree: whitney_mass_matrix(complex_, x, k), points
        )
        values = torch.linalg.eigvalsh(whitney_mass_matrix(complex_, points, degree))
        assert (values > 0).all()


CHAINS = ChainComplex.of(COMPLEXES["torus"])
TRIANGLE = SimplicialComplex([[0, 1, 2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HodgeComplex(CHAINS, {1: torch.ones(3)}), r"weights: got torch.float32 \[3\] in"),
        (lambda: HodgeComplex(CHAINS, {0: torch.zeros(7)}), "least 0.0 in degree 0"),
        (lambda: HodgeComplex(CHAINS, {0: torch.full((7,), torch.nan)}), "least nan in degree 0"),
        (lambda: HodgeComplex(CHAINS, {0: -torch.eye(7)}), "not positive definite in degree 0"),
        (
            lambda: HodgeComplex(CHAINS, {0: torch.eye(7) + torch.ones(7, 7).triu(1) / 9}),
            "not positive definite in degree 0",
        ),
        (lambda: HodgeComplex(CHAINS).decompose(torch.ones(21), 1), "form: got torch.float32"),
        (lambda: HodgeComplex(CHAINS).derivative(random(0, 3), 1), r"\[..., 21\] in degree 1"),
        (lambda: whitney_mass_matrix(TRIANGLE, torch.zeros(3, 2), 1), "a flat facet, number 0"),
        (lambda: whitney_mass_matrix(TRIANGLE, torch.zeros(3, 1), 1), r"shape \[3, 1\]"),
        (
            lambda: whitney_mass_matrix(COMPLEXES["disc and circle"], torch.zeros(7, 2), 1),
            "facets of several dimensions",
        ),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
