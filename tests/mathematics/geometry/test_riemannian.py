import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.mathematics.geometry import RiemannianStructure


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def diagonal(*entries):
    return torch.diag_embed(torch.stack(torch.broadcast_tensors(*entries), -1))


def sphere(radius=1.0, dimension=2):
    """Polar angles first, the azimuth last."""

    def metric(x):
        squares, entries = torch.ones_like(x[..., 0]), []
        for angle in x.unbind(-1):
            entries.append(radius**2 * squares)
            squares = squares * angle.sin() ** 2
        return diagonal(*entries)

    return RiemannianStructure(metric, dimension)


def conformal(factor, dimension, **options):
    """factor(x) (dx_1^2 + ... + dx_n^2)."""

    def metric(x):
        return factor(x)[..., None, None] * torch.eye(dimension).to(x)

    return RiemannianStructure(metric, dimension, **options)


def half_space(dimension=2):
    return conformal(lambda x: x[..., -1] ** -2, dimension)


def ball(dimension=3):
    return conformal(lambda x: 4 / (1 - x.square().sum(-1)) ** 2, dimension)


def torus(outer=2.0, inner=1.0):
    def metric(x):
        v = x[..., 1]
        return diagonal((outer + inner * v.cos()) ** 2, inner**2 + 0 * v)

    return RiemannianStructure(metric, 2)


def schwarzschild(mass=1.0):
    """(t, r, polar angle, azimuth), signs - + + +."""

    def metric(x):
        r, angle = x[..., 1], x[..., 2]
        f = 1 - 2 * mass / r
        return diagonal(-f, 1 / f, r**2, r**2 * angle.sin() ** 2)

    return RiemannianStructure(metric, 4, signature="pseudo")


def cigar(time=0.0):
    """Hamilton's steady soliton as it stands at a time."""
    return conformal(lambda x: 1 / (math.exp(4 * time) + x.square().sum(-1)), 2)


def plane(manifold, x):
    """K of the plane of the first two coordinates."""
    basis = torch.eye(manifold.dimension).to(x)
    return manifold.sectional_curvature(x, basis[0].expand_as(x), basis[1].expand_as(x))


S, H, ORBIT = doubles(1, 0.3), doubles(0.2, 1.3), doubles(0, 6, 1.1, 0.4)
ANGLES, OUT = doubles(1, 0.8, 0.2), doubles(0.6, 0.8)
GOLDEN = {
    "S2 Gamma^theta_phiphi": (lambda: sphere().christoffel_symbols(S)[0, 1, 1], -0.454648713413),
    "S2 Gamma^phi_thetaphi": (lambda: sphere().christoffel_symbols(S)[1, 0, 1], 0.642092615934),
    "S2 radius 2, K": (lambda: plane(sphere(2), S), 0.25),
    "H2 Gamma^x_xy": (lambda: half_space().christoffel_symbols(H)[0, 0, 1], -0.769230769231),
    "H2 Gamma^y_xx": (lambda: half_space().christoffel_symbols(H)[1, 0, 0], 0.769230769231),
    "H2 Gamma^y_yy": (lambda: half_space().christoffel_symbols(H)[1, 1, 1], -0.769230769231),
    "H2 K": (lambda: plane(half_space(), H), -1),
    "H3 scalar": (lambda: half_space(3).scalar_curvature(doubles(0.2, 0.1, 1.3)), -6),
    "H3 scalar, ball": (lambda: ball().scalar_curvature(doubles(0.2, -0.1, 0.5)), -6),
    "Schwarzschild Kretschmann": (lambda: schwarzschild().kretschmann(ORBIT), 0.00102880658436),
    "Schwarzschild Ricci": (lambda: schwarzschild().ricci_tensor(ORBIT).abs().max(), 0),
    "torus K at 0.5": (lambda: plane(torus(), doubles(0.3, 0.5)), 0.304972157363),
    "cigar K at 1": (lambda: plane(cigar(), OUT), 1),
    "cigar R at 1": (lambda: cigar().scalar_curvature(OUT), 2),
    "S3 Ric_00": (lambda: sphere(1, 3).ricci_tensor(ANGLES)[0, 0], 2),
    "S3 radius 2, scalar": (lambda: sphere(2, 3).scalar_curvature(ANGLES), 1.5),
}


@pytest.mark.parametrize("row", GOLDEN)
def test_golden(row):
    found, expected = GOLDEN[row]
    assert float(found()) == pytest.approx(expected, abs=1e-12)


def test_golden_poincare_ball_christoffel_symbols():
    """lambda (d_ki x_j + d_kj x_i - d_ij x_k) with lambda = 2 / (1 - |x|^2)."""
    x, one = doubles(0.3, -0.2, 0.5), torch.eye(3, dtype=torch.float64)
    closed = torch.einsum("ki,j->kij", one, x) + torch.einsum("kj,i->kij", one, x)
    closed = 2 / (1 - x @ x) * (closed - torch.einsum("ij,k->kij", one, x))
    torch.testing.assert_close(ball().christoffel_symbols(x), closed, rtol=0, atol=1e-14)


def gauss(count, start, end):
    """Nodes and weights of Gauss and Legendre."""
    k = torch.arange(1, count, dtype=torch.float64)
    off = k / (4 * k**2 - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return start + (end - start) * (1 + nodes) / 2, (end - start) * vectors[0] ** 2


def test_golden_areas_and_integrals_of_curvature():
    nodes, weights = gauss(40, 0, math.tanh(0.5))
    line = torch.stack([nodes, 0 * nodes], -1)
    area = 2 * math.pi * (weights * nodes * ball(2).volume_density(line)).sum()
    assert float(area) == pytest.approx(3.41227626528, abs=1e-11)

    v = torch.arange(32, dtype=torch.float64) * math.pi / 16  # periodic: equal weights are exact
    x = torch.stack([0 * v, v], -1)
    whole = (plane(torus(), x) * torus().volume_density(x)).sum() * (math.pi / 16) * 2 * math.pi
    assert float(whole) == pytest.approx(0, abs=1e-13)
    assert float(torus().volume_density(x).sum()) * math.pi / 16 == pytest.approx(4 * math.pi)

    # rho = tan(s) maps the plane on [0, pi / 2)
    s, weights = gauss(40, 0, math.pi / 2)
    x = torch.stack([s.tan(), 0 * s], -1)
    ring = 2 * math.pi * s.tan() * cigar().volume_density(x) / s.cos() ** 2
    assert float((weights * ring * plane(cigar(), x)).sum()) == pytest.approx(
        2 * math.pi, abs=1e-11
    )


def test_golden_cigar_flows_and_is_a_soliton():
    x, time = torch.randn(50, 2, dtype=torch.float64), doubles(0.1)
    speed = torch.func.jacfwd(lambda t: 1 / ((4 * t).exp() + x.square().sum(-1)))(time[0])
    flown = speed[:, None, None] * torch.eye(2).to(x) + 2 * cigar(0.1).ricci_tensor(x)
    assert float(flown.abs().max()) < 1e-13

    def slope(x):
        """Of f = -ln(1 + rho^2)."""
        return -2 * x / (1 + x.square().sum(-1, keepdim=True))

    hessian = cigar().covariant_differential(slope, x, "l")
    assert float((cigar().ricci_tensor(x) + hessian).abs().max()) < 1e-13


@pytest.mark.parametrize(
    ("signature", "value", "message"),
    [
        (
            "riemannian",
            [[1.0, 0.0], [0.0, -1.0]],
            r"negative eigenvalue at \[0.5, 2.0\], expected a pos",
        ),
        ("riemannian", [[1.0, 1.0], [1.0, 1.0]], "metric: got a singular matrix"),
        ("pseudo", [[0.0, 0.0], [0.0, -1.0]], "metric: got a singular matrix"),
        ("pseudo", [[1.0, 0.5], [0.0, -1.0]], "metric: got a matrix that is not symmetric"),
        ("riemannian", [[1.0, 0.0], [0.0, math.inf]], "metric: got NaN or infinity"),
        ("riemannian", [[1.0]], r"metric: got shape .*, expected \[3, 2, 2\]"),
    ],
)
def test_wrong_metrics_are_told(signature, value, message):
    def metric(x):
        wrong = (x[..., :1, None] == 0.5) if len(value) == 2 else torch.ones(3, 1, 1) > 0
        return torch.where(wrong, doubles(*value), torch.eye(len(value), dtype=torch.float64))

    manifold = RiemannianStructure(metric, 2, signature=signature)
    x = doubles([1, 1], [0.5, 2], [0.5, 3])
    for ask in (manifold.christoffel_symbols, manifold.scalar_curvature, manifold.metric_tensor):
        with pytest.raises(ArgumentError, match=message):
            ask(x)


def test_lorentzian_metrics_are_not_singular():
    """Null coordinates: zeros on the diagonal."""
    flat = RiemannianStructure(
        lambda x: doubles([0, 1], [1, 0]) + 0 * x[..., None], 2, signature="pseudo"
    )
    assert flat.scalar_curvature(doubles(1, 2)) == 0
    with pytest.raises(UnsupportedError, match="take inner"):
        flat.distance(doubles(1, 2), doubles(2, 3))


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (torch.ones(3, 4), r"point: got torch.float32 \[3, 4\], expected floating \[\*b, 2\]"),
        (torch.tensor([1, 1]), "point: got torch.int64"),
        (torch.tensor(1.0), "point: got"),
        (torch.tensor([1, math.nan]), "point: got NaN or infinity"),
        (torch.tensor([0.0, 1.0]), r"metric: got a singular matrix at \[0.0, 1.0\]"),
    ],
)
def test_points_that_are_none_are_told(point, message):
    with pytest.raises(ArgumentError, match=message):
        sphere().check_point(point)
    with pytest.raises(ArgumentError, match=message):
        sphere().log(point, S)


@pytest.mark.parametrize("indices", ["lx", "l", "lll", ""])
def test_indices_that_a_tensor_does_not_have_are_told(indices):
    with pytest.raises(ArgumentError, match=rf"indices: got '{indices}', expected 2 of"):
        sphere().covariant_differential(sphere().metric_matrix, S, indices)


def test_wrong_options_are_told():
    with pytest.raises(ArgumentError, match="signature: got lorentz"):
        RiemannianStructure(lambda x: x, 2, signature="lorentz")
    with pytest.raises(ArgumentError, match="times: got None"):
        sphere().parallel_transport(lambda t: S * t, S)
