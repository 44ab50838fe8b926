import pytest
import torch

from adaptive_attention_tiling.mathematics.geometry import LearnedMetric, RiemannianStructure

POINTS = 10_000


def conformal(factor, dimension):
    def metric(x):
        return factor(x)[..., None, None] * torch.eye(dimension).to(x)

    return RiemannianStructure(metric, dimension, checks=False)


def learned(dimension):
    """A metric without any symmetry."""
    return LearnedMetric(dimension, hidden=8).double().structure()


def points(count, dimension):
    return torch.randn(count, dimension, dtype=torch.float64)


def largest(difference, of):
    """The largest entry over that of a tensor that sets the scale."""
    return float(difference.detach().abs().max() / of.detach().abs().max())


def test_the_connection_is_metric_and_without_torsion():
    manifold, x = learned(3), points(POINTS, 3)
    gamma = manifold.christoffel_symbols(x)
    assert largest(gamma - gamma.mT, gamma) < 1e-12
    slope = manifold.covariant_differential(manifold.metric_matrix, x, "ll")
    assert largest(slope, gamma) < 1e-12
    # the bracket of two fields is D_u v - D_v u
    few, u = x[:50], torch.sin

    def v(x):
        return x.roll(1, -1) * x

    by_u = manifold.covariant_derivative(v, few, u(few))
    by_v = manifold.covariant_derivative(u, few, v(few))
    bracket = torch.func.jvp(v, (few,), (u(few),))[1] - torch.func.jvp(u, (few,), (v(few),))[1]
    assert largest(by_u - by_v - bracket, bracket) < 1e-12


def test_symmetries_of_riemann_and_the_first_bianchi_identity():
    manifold, x = learned(3), points(POINTS, 3)
    tensor = manifold.curvature_tensor(x, lowered=True)
    assert bool((tensor.abs().amax((1, 2, 3, 4)) > 0).all())
    assert largest(tensor + tensor.transpose(-1, -2), tensor) < 1e-12
    assert largest(tensor + tensor.transpose(-3, -4), tensor) < 1e-12
    assert largest(tensor - tensor.permute(0, 3, 4, 1, 2), tensor) < 1e-12
    cycle = tensor + tensor.permute(0, 1, 3, 4, 2) + tensor.permute(0, 1, 4, 2, 3)
    assert largest(cycle, tensor) < 1e-12
    upper = manifold.curvature_tensor(x)
    cycle = upper + upper.permute(0, 1, 3, 4, 2) + upper.permute(0, 1, 4, 2, 3)
    assert largest(cycle, upper) < 1e-12


def test_the_second_bianchi_identity_and_einsteins_tensor():
    """D_e R_abcd + D_c R_abde + D_d R_abec = 0, and R_ab - R g_ab / 2 has no divergence."""
    manifold, x = learned(3), points(20, 3)
    plain = RiemannianStructure(manifold.metric, 3, checks=False)
    slope = plain.covariant_differential(
        lambda x: plain.curvature_tensor(x, lowered=True), x, "llll"
    )
    cycle = slope + slope.permute(0, 1, 2, 4, 5, 3) + slope.permute(0, 1, 2, 5, 3, 4)
    assert largest(cycle, slope) < 1e-12

    def einstein(x):
        trace = plain.scalar_curvature(x)[..., None, None]
        return plain.ricci_tensor(x) - trace * plain.metric_matrix(x) / 2

    slope = plain.covariant_differential(einstein, x, "ll")
    divergence = torch.einsum("zabc,zbc->za", slope, plain.metric_matrix(x).inverse())
    assert largest(divergence, slope) < 1e-12


def test_the_curvature_turns_vectors_as_second_derivatives_do():
    """R(u, v) w = D_u D_v w - D_v D_u w for constant u and v."""
    manifold, x = learned(2), points(5, 2)
    plain = RiemannianStructure(manifold.metric, 2, checks=False)
    u, v = points(2, 2).unbind(0)

    def along(direction, field):
        return lambda x: plain.covariant_derivative(field, x, direction.expand_as(x))

    turned = along(u, along(v, torch.sin))(x) - along(v, along(u, torch.sin))(x)
    tensor = plain.curvature_tensor(x)
    exact = torch.einsum("zabcd,zb,c,d->za", tensor, x.sin(), u, v)
    assert largest(turned - exact, exact) < 1e-12


@pytest.mark.parametrize("dimension", [2, 3, 4])
@pytest.mark.parametrize("radius", [1.0, 2.0])
def test_spheres_and_hyperbolic_spaces_are_of_one_curvature(dimension, radius):
    """Scalar +- n (n - 1) / R^2 and sectional +- 1 / R^2, in every plane."""
    count = POINTS // 10
    x = 0.9 * radius * torch.rand(count, dimension).double() / dimension**0.5
    u, v = points(2 * count, dimension).split(count)
    for sign in (1, -1):
        manifold = conformal(
            lambda x, sign=sign: 4 / (1 + sign * x.square().sum(-1) / radius**2) ** 2, dimension
        )
        expected = sign * dimension * (dimension - 1) / radius**2
        assert float((manifold.scalar_curvature(x) - expected).abs().max()) < 1e-10
        by_planes = manifold.sectional_curvature(x, u, v)
        # a plane of nearly parallel vectors loses digits
        flat = (1 - torch.cosine_similarity(u, v).square()) < 0.1
        assert float((by_planes - sign / radius**2)[~flat].abs().max()) < 1e-10
        metric, ricci = manifold.metric_matrix(x), manifold.ricci_tensor(x)
        einstein = ricci - sign * (dimension - 1) / radius**2 * metric
        assert largest(einstein, ricci) < 1e-12


def test_the_torus_stays_within_its_bounds():
    """K from -1 to 1/3 for radii 2 and 1, both reached."""

    def metric(x):
        return torch.diag_embed(
            torch.stack([(2 + x[..., 1].cos()) ** 2, torch.ones_like(x[..., 1])], -1)
        )

    x = torch.stack([torch.zeros(POINTS), torch.linspace(0, torch.pi, POINTS)], -1).double()
    curvature = RiemannianStructure(metric, 2).scalar_curvature(x) / 2
    assert float(curvature.max()) == pytest.approx(1 / 3, abs=1e-10)
    assert float(curvature.min()) == pytest.approx(-1, abs=1e-10)


def test_a_symbolic_metric_by_sympy():
    """Christoffel symbols, Riemann's tensor and R of polynomials and sines, by another program."""
    sympy = pytest.importorskip("sympy", reason="sympy, of the oracles extra, is not installed")
    x, y = names = sympy.symbols("x y")
    matrix = sympy.Matrix([[3 + x * y, sympy.sin(x)], [sympy.sin(x), 2 + y**2]])
    at = {x: sympy.Rational(1, 3), y: sympy.Rational(-1, 2)}
    inverse, n = matrix.inv(), range(2)
    first = [[[matrix[i, j].diff(k) for k in names] for j in n] for i in n]

    def symbol(k, i, j):
        return (
            sum(inverse[k, m] * (first[j][m][i] + first[i][m][j] - first[i][j][m]) for m in n) / 2
        )

    gamma = [[[symbol(k, i, j) for j in n] for i in n] for k in n]
    value = torch.tensor(
        [[[float(gamma[k][i][j].subs(at)) for j in n] for i in n] for k in n], dtype=torch.float64
    )
    slope = torch.tensor(
        [
            [[[float(gamma[k][i][j].diff(m).subs(at)) for m in names] for j in n] for i in n]
            for k in n
        ],
        dtype=torch.float64,
    )
    half = torch.einsum("adbc->abcd", slope) + torch.einsum("ace,edb->abcd", value, value)
    riemann = half - half.transpose(-1, -2)

    def metric(p):
        x, y = p.unbind(-1)
        rows = [[3 + x * y, x.sin()], [x.sin(), 2 + y**2]]
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    point = torch.tensor([1 / 3, -1 / 2], dtype=torch.float64)
    manifold = RiemannianStructure(metric, 2)
    close = {"rtol": 0, "atol": 1e-13}
    torch.testing.assert_close(manifold.christoffel_symbols(point), value, **close)
    torch.testing.assert_close(manifold.curvature_tensor(point), riemann, **close)
    scalar = torch.einsum("bd,abad->", metric(point).inverse(), riemann)
    torch.testing.assert_close(manifold.scalar_curvature(point), scalar, **close)
