import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry import (
    LearnedMetric,
    Lorentz,
    PoincareBall,
    PositiveDefinite,
    ProductManifold,
    RiemannianStructure,
    Sphere,
)
from adaptive_attention_tiling.testing.laws import MetricValidation

DOUBLE = torch.float64


def noise(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


POINTS = 0.4 * noise(12, 3).tanh()


def torus(x):
    """Radii 2 and 1: K = cos v / (2 + cos v)."""
    zero = torch.zeros_like(x[..., 0])
    return torch.stack([(2 + x[..., 1].cos()).square(), zero, zero, zero + 1], -1).unflatten(
        -1, (2, 2)
    )


def schwarzschild(x):
    r, theta = x[..., 1], x[..., 2]
    f = 1 - 2 / r
    return torch.diag_embed(torch.stack([-f, 1 / f, r**2, r**2 * theta.sin() ** 2], -1))


def positive(metric, tolerance=1e-6, **options):
    return MetricValidation(**options).check_positive_definite(metric, tolerance)


def test_learned_metrics_reach_epsilon():
    points = noise(10_000, 4)
    learned = LearnedMetric(4, epsilon=0.1).double()
    found = positive(learned, 0.1, points=points, absolute=True)
    assert found
    assert found.cases == 10_000
    assert 0.1 <= found.measured < 0.1 + 1e-6
    assert not positive(learned, 0.100001, points=points, absolute=True)
    manifold = positive(learned.structure(), 0.1, points=points, absolute=True)
    assert manifold.measured == found.measured


@pytest.mark.parametrize(
    "manifold",
    [Sphere(3), Lorentz(3), PoincareBall(3), PositiveDefinite(2)],
    ids=lambda m: type(m).__name__,
)
def test_manifolds_have_positive_metrics(manifold):
    points = POINTS
    if isinstance(manifold, PositiveDefinite):
        points = torch.tensor([[1.0, 0.1, 2.0], [3.0, -1.0, 1.0]], dtype=DOUBLE)
    assert positive(manifold, 1e-3, points=points)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize(
    ("least", "good"), [(2e-6, True), (1.01e-6, True), (0.99e-6, False), (-1e-6, False)]
)
def test_positivity_knows_no_units(scale, least, good):
    # With unit diagonal, 1 - c is the least eigenvalue.
    metric = torch.eye(2, dtype=DOUBLE).repeat(5, 1, 1)
    metric[3, 0, 1] = metric[3, 1, 0] = 1 - least
    units = torch.tensor([1.0, scale], dtype=DOUBLE)
    found = positive(scale * metric * units * units[:, None])
    assert bool(found) is good
    assert found.where == "point 3"


@pytest.mark.parametrize("tolerance", [1e-3, 1e-9, 1e-300])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_a_slightly_indefinite_metric_never_passes(tolerance, dtype):
    rounding = torch.finfo(dtype).eps
    metric = torch.tensor([[1.0, 1.0], [1.0, 1.0]], dtype=dtype)
    assert not positive(metric, tolerance)
    metric[0, 1] = metric[1, 0] = 1 + rounding
    assert not positive(metric, tolerance)
    assert not positive(1e6 * metric, tolerance, absolute=True)
    metric[0, 1] = metric[1, 0] = 1 - 8 * rounding
    assert bool(positive(metric, tolerance)) is (tolerance < rounding)


def test_what_is_no_metric_fails():
    metric = torch.eye(3, dtype=DOUBLE).repeat(4, 1, 1)
    metric[2, 0, 1] += 1e-9
    skew = positive(metric)
    assert not skew
    assert (skew.quantity, skew.where) == ("|g_ij - g_ji|", "point 2")
    metric[2] = math.nan
    assert not positive(metric)
    metric[2] = torch.eye(3)
    metric[1, 1, 1] = math.inf
    assert not positive(metric)


def test_float32_metrics_pass_within_their_rounding():
    learned = LearnedMetric(4, epsilon=0.1)
    points = noise(50, 4, dtype=torch.float32)
    assert positive(learned, 0.1, points=points, absolute=True)
    validation = MetricValidation(points=points[:5])
    assert validation.verify_compatibility(learned.structure(), tolerance=1e-6)


def compatible(metric, connection=None, tolerance=1e-12, **options):
    return MetricValidation(**options).verify_compatibility(metric, connection, tolerance)


@pytest.mark.parametrize(
    "manifold",
    [
        Sphere(3),
        Lorentz(3),
        PoincareBall(3),
        ProductManifold(Sphere(2), Lorentz(1)),
        LearnedMetric(3).double().structure(),
        RiemannianStructure(torus, 2),
    ],
    ids=lambda m: type(m).__name__,
)
def test_manifolds_know_their_connection(manifold):
    points = POINTS[:, : manifold.dimension]
    found = compatible(manifold, points=points)
    assert found, str(found)
    assert found.cases == 12
    # The tensor of Christoffel symbols is the same connection, but not a function.
    symbols = manifold.christoffel_symbols(points)
    given = compatible(manifold, symbols, points=points)
    assert given
    assert "Bianchi" in given.not_shown
    assert "Bianchi" not in found.not_shown


def test_golden_lorentzian_metrics_have_their_connection_too():
    space = RiemannianStructure(schwarzschild, 4, signature="pseudo")
    points = torch.tensor([[0.0, 6.0, 1.0, 0.3], [1.0, 9.0, 2.0, 0.0]], dtype=DOUBLE)
    assert compatible(space, points=points)
    flat = MetricValidation(points=points, curvature="scalar", curvature_tolerance=1e-12)
    assert flat.check_curvature_bounds(space, (0.0, 0.0))


BALL = PoincareBall(3)


def with_torsion(size):
    def connection(x):
        symbols = BALL.christoffel_symbols(x)
        twist = torch.zeros_like(symbols)
        # g^kl e_lij: torsion that no length and no geodesic knows of.
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            twist[..., k, i, j], twist[..., k, j, i] = size, -size
        return symbols + twist

    return connection


def test_a_connection_with_torsion_fails():
    found = compatible(BALL, with_torsion(1e-6), 1e-9, points=POINTS)
    assert not found
    assert found.quantity == "torsion, relative"
    # It keeps the metric: only the torsion is wrong.
    from adaptive_attention_tiling.mathematics.geometry.jets import first_jet
    from adaptive_attention_tiling.testing.laws.connection import compatibility_defect
    from adaptive_attention_tiling.testing.laws.metric_samples import metric_jets

    jet = metric_jets(BALL, POINTS, None)[0]
    assert torch.equal(jet.first, first_jet(BALL.metric_matrix, POINTS)[1])
    defect = compatibility_defect(with_torsion(1e-6)(POINTS), jet)
    assert float(defect.max()) < 1e-14


def test_a_connection_that_does_not_keep_the_metric_fails_from_the_bound_on():
    symbols, change = BALL.christoffel_symbols(POINTS), torch.zeros(12, 3, 3, 3, dtype=DOUBLE)
    change[7, 0, 1, 1] = 1.0
    share = compatible(BALL, symbols + 1e-6 * change, 1.0, points=POINTS).measured / 1e-6
    # g^00 (D_1 g_10 + D_1 g_01) changes by g_00 g^00 of it, over |Gamma| or 1.
    assert share == pytest.approx(1 / max(1.0, 2 * float(symbols[7].abs().max())), rel=1e-6)
    for size, good in ((0.999e-9, True), (1.001e-9, False)):
        found = compatible(BALL, symbols + size / share * change, 1e-9, points=POINTS)
        assert bool(found) is good
        assert found.where == "point 7"
        assert found.quantity == "derivative of the metric, relative"


def no_symbols(x):
    return torch.zeros(*x.shape, 2, 2, dtype=x.dtype)


@pytest.mark.parametrize("radius", [1e-7, 1.0, 1e7, 1e10])
def test_connections_of_spheres_of_any_size_are_judged_alike(radius):
    sphere, points = Sphere(2, radius), radius * POINTS[:, :2]
    symbols = sphere.christoffel_symbols(points)
    twist = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=DOUBLE)
    good = compatible(sphere, points=points, tolerance=1e-6)
    assert good, str(good)
    for wrong in (no_symbols, 1.001 * symbols, symbols * (1 + 1e-3 * twist)):
        assert not compatible(sphere, wrong, 1e-6, points=points)


def half_plane_in(*units):
    """Curvature -4/3, with coordinates that are told in these units."""
    u = torch.tensor(units, dtype=DOUBLE)
    slanted = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=DOUBLE) * u * u[:, None]

    def metric(x):
        return slanted / (u[1] * x[..., 1, None, None]) ** 2

    return metric, torch.tensor([[0.3, 1.0], [-1.0, 2.0]], dtype=DOUBLE) / u


@pytest.mark.parametrize("units", [(1.0, 1e10), (1e-7, 1e7), (1e6, 1e-6), (1e-9, 1e-9)], ids=str)
def test_units_of_coordinates_change_no_verdict(units):
    metric, points = half_plane_in(*units)
    assert bounded(metric, (-4 / 3, -4 / 3), points)
    assert not bounded(metric, (-4 / 3 + 1e-8, 0.0), points)
    plain, places = half_plane_in(1.0, 1.0)
    symbols = RiemannianStructure(plain, 2).christoffel_symbols(places)
    u = torch.tensor(units, dtype=DOUBLE)
    symbols = symbols * u * u[:, None] / u[:, None, None]
    assert compatible(metric, symbols, 1e-6, points=points)
    assert not compatible(metric, 1.0001 * symbols, 1e-6, points=points)


def test_a_metric_at_rest_may_move_by_rounding():
    def ones(x):
        return (x[..., 0].cos() ** 2 + x[..., 0].sin() ** 2)[..., None, None] * torch.eye(2).to(x)

    points = POINTS[:, :2]
    assert compatible(ones, no_symbols, points=points)
    assert bounded(ones, (0.0, 0.0), points)
    assert not compatible(ones, lambda x: no_symbols(x) + 1e-9, 1e-6, points=points)
    samples = 2 + torch.eye(2, dtype=DOUBLE) + 1e-15 * noise(9, 9, 2, 2)
    samples = (samples + samples.mT) / 2
    still = torch.zeros(9, 9, 2, 2, 2, dtype=DOUBLE)
    for spacing in (1e-3, 1.0, 1e3):
        assert compatible(samples, still, 1e-6, spacings=(spacing, spacing))


def test_coordinates_far_out_need_their_scale():
    metric, points = half_plane_in(1e-12, 1e-12)
    symbols = 1.001e-12 * RiemannianStructure(half_plane_in(1.0, 1.0)[0], 2).christoffel_symbols(
        1e-12 * points
    )
    assert not compatible(metric, symbols, 1e-6, points=points, coordinate_scale=1e12)


def test_a_small_twist_that_turns_fast_breaks_bianchi_alone():
    def connection(x):
        symbols = BALL.christoffel_symbols(x).clone()
        twist = torch.zeros_like(symbols)
        wave = 1e-9 * (1e6 * x[..., 2]).sin()
        twist[..., 0, 0, 1], twist[..., 0, 1, 0] = wave, -wave
        return symbols + twist

    assert compatible(BALL, connection(POINTS), 1e-6, points=POINTS)
    found = compatible(BALL, connection, 1e-6, points=POINTS)
    assert not found
    assert found.quantity == "Bianchi's cyclic sum, relative"


def grid(count, low=0.6, high=1.6):
    axis = torch.linspace(low, high, count, dtype=DOUBLE)
    x = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    return x, ((high - low) / (count - 1),) * 2


def test_samples_on_a_grid_are_judged_within_their_resolution():
    x, spacings = grid(41)
    samples, symbols = torus(x), RiemannianStructure(torus, 2).christoffel_symbols(x)
    found = compatible(samples, symbols, 1e-7, spacings=spacings)
    assert found
    assert found.cases == 37**2
    assert not compatible(samples, 1.01 * symbols, 1e-7, spacings=spacings)
    bounds = MetricValidation(spacings=spacings)
    inner = x[2:-2, 2:-2, 1].cos()
    exact = (inner / (2 + inner)).min(), (inner / (2 + inner)).max()
    assert bounds.check_curvature_bounds(samples, tuple(map(float, exact)))
    assert not bounds.check_curvature_bounds(samples, (float(exact[0]) + 1e-3, 1.0))
    # Few samples know less, and say so by a wider bound.
    x, spacings = grid(11)
    coarse = compatible(torus(x), RiemannianStructure(torus, 2).christoffel_symbols(x), 1e-7,
                        spacings=spacings)  # fmt: skip
    assert coarse
    assert coarse.upper > 10 * found.upper


def test_mixed_second_differences_on_a_grid():
    def sheared(x):
        a, b = x[..., 0], x[..., 1]
        off = 0.3 * a.sin() * b.cos()
        return torch.stack([1 + a * b, off, off, 2 + a], -1).unflatten(-1, (2, 2))

    x, spacings = grid(61)
    scalar = RiemannianStructure(sheared, 2).scalar_curvature(x[2:-2, 2:-2])
    low, high = float(scalar.min()), float(scalar.max())
    laws = MetricValidation(spacings=spacings, curvature="scalar")
    assert laws.check_curvature_bounds(sheared(x), (low, high))
    assert not laws.check_curvature_bounds(sheared(x), (low, high - 0.02 * (high - low)))


def bounded(metric, bounds, points, **options):
    return MetricValidation(points=points, **options).check_curvature_bounds(metric, bounds)


@pytest.mark.parametrize("radius", [1.0, 2.0, 1e3])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_golden_spheres(radius, n):
    points = 0.3 * POINTS[:4].repeat(1, 2)[:, :n] * radius
    sphere = Sphere(n, radius)
    K = 1 / radius**2
    assert bounded(sphere, (K, K), points)
    scalar = n * (n - 1) * K
    assert bounded(sphere, (scalar, scalar), points, curvature="scalar")
    for low, high in ((K * (1 + 1e-7), 2 * K), (0.0, K * (1 - 1e-7))):
        assert not bounded(sphere, (low, high), points)


@pytest.mark.parametrize("manifold", [Lorentz(3), PoincareBall(3)], ids=lambda m: type(m).__name__)
def test_golden_hyperbolic_space(manifold):
    assert bounded(manifold, (-6.0, -6.0), POINTS, curvature="scalar")
    assert bounded(manifold, (-1.0, -1.0), POINTS)
    assert not bounded(manifold, (-1.0 + 1e-8, 0.0), POINTS)


def test_golden_torus_and_one_point_out_of_bounds():
    v = torch.linspace(-3, 3, 30, dtype=DOUBLE)
    points = torch.stack([v, v], -1)
    points[11, 1] = math.pi
    points[20, 1] = 0.0
    assert bounded(torus, (-1.0, 1 / 3), points)
    assert bounded(torus, (-math.inf, 1 / 3), points)
    low = bounded(torus, (-1 + 1e-9, 1.0), points)
    assert not low
    assert (low.where, low.measured) == ("point 11", pytest.approx(-1, abs=1e-13))
    high = bounded(torus, (-1.0, 1 / 3 - 1e-9), points)
    assert (bool(high), high.where) == (False, "point 20")


def complex_plane(x):
    """CP^2 of holomorphic curvature 4: K from 1 to 4, operator eigenvalues from 0."""
    u, v = x[..., :2], x[..., 2:]
    size = 1 + x.square().sum(-1)[..., None, None]
    turned = torch.stack([-x[..., 2], -x[..., 3], x[..., 0], x[..., 1]], -1)
    outer = x[..., :, None] * x[..., None, :] + turned[..., :, None] * turned[..., None, :]
    assert u.shape == v.shape
    return (size * torch.eye(4, dtype=x.dtype) - outer) / size.square()


def test_planes_of_four_dimensions_are_sought_where_eigenvalues_are_not_reached():
    points = 0.5 * noise(6, 4)
    found = bounded(complex_plane, (1.0, 4.0), points, curvature_tolerance=1e-9)
    assert found, str(found)
    assert "K stays in [-" in found.not_shown or "K stays in [" in found.not_shown
    for bounds in ((1.0 + 1e-4, 4.0), (1.0, 4.0 - 1e-4)):
        assert not bounded(complex_plane, bounds, points)
    wide = bounded(complex_plane, (-7.0, 7.0), points)
    assert wide
    assert "missed" not in wide.not_shown


def test_curvature_that_is_not_a_number_fails():
    def rough(x):
        return torch.eye(2, dtype=x.dtype) * (1 + x[..., :1, None].abs().sqrt() ** 3)

    points = torch.tensor([[0.5, 0.0], [0.0, 0.0]], dtype=DOUBLE)
    found = bounded(rough, (-1e9, 1e9), points)
    assert not found
    assert math.isnan(found.measured)


def test_indefinite_and_singular_metrics_fail_as_such():
    def indefinite(x):
        return torch.diag_embed(torch.stack([torch.ones_like(x[..., 0]), x[..., 1]], -1))

    points = torch.tensor([[0.0, 1.0], [0.0, -1.0], [0.0, 0.0]], dtype=DOUBLE)
    found = bounded(indefinite, (-1.0, 1.0), points[:2])
    assert not found
    assert "positive definite" in found.law
    for check in (bounded(indefinite, (-1.0, 1.0), points), compatible(
        indefinite, torch.zeros(3, 2, 2, 2).double(), points=points)):  # fmt: skip
        assert not check
        assert "not singular" in check.law
        assert check.where == "point 2"


def test_all_laws_at_once():
    found = MetricValidation(points=POINTS).all(PoincareBall(3), bounds=(-1.0, 0.0))
    assert [bool(report) for report in found] == [True, True, True]
    assert len(MetricValidation().all(torch.eye(2))) == 1
    assert len(MetricValidation(points=POINTS).all(BALL.metric_matrix)) == 1


SAMPLES = torch.eye(2, dtype=DOUBLE).repeat(5, 5, 1, 1)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("metric", lambda: positive([1.0])),
        ("metric", lambda: positive(torch.ones(3))),
        ("metric", lambda: positive(torch.ones(0, 2, 2))),
        ("metric", lambda: positive(torch.ones(2, 2, dtype=torch.long))),
        ("metric", lambda: positive(lambda x: x, points=POINTS)),
        ("points", lambda: positive(BALL)),
        ("points", lambda: positive(BALL, points=POINTS[:0])),
        ("points", lambda: positive(BALL, points=POINTS * math.nan)),
        ("tolerance", lambda: positive(torch.eye(2), 0.0)),
        ("tolerance", lambda: positive(torch.eye(2), math.nan)),
        ("connection", lambda: compatible(BALL.metric_matrix, points=POINTS)),
        ("connection", lambda: compatible(BALL, torch.zeros(3, 3, 3), points=POINTS)),
        ("connection", lambda: compatible(SAMPLES, torus, spacings=(0.1, 0.1))),
        ("spacings", lambda: compatible(SAMPLES, torus)),
        ("spacings", lambda: compatible(SAMPLES, torus, spacings=(0.1,))),
        ("spacings", lambda: compatible(SAMPLES, torus, spacings=(0.1, 0.0))),
        ("spacings", lambda: compatible(SAMPLES[:4], torus, spacings=(0.1, 0.1))),
        ("bounds", lambda: compatible(BALL, tolerance=math.nan, points=POINTS)),
        ("bounds", lambda: bounded(BALL, (1.0, 0.0), POINTS)),
        ("bounds", lambda: bounded(BALL, (-math.inf, math.inf), POINTS)),
        ("metric", lambda: bounded(lambda x: x[..., None] * 0 + 1, (0, 1), POINTS[:, :1])),
        ("curvature", lambda: MetricValidation(curvature="ricci")),
        ("coordinate_scale", lambda: MetricValidation(coordinate_scale=0.0)),
        ("curvature_tolerance", lambda: MetricValidation(curvature_tolerance=-1.0)),
        ("planes", lambda: MetricValidation(planes=0)),
    ],
)
def test_what_cannot_be_judged_is_told(name, call):
    with pytest.raises(ArgumentError, match=f"{name}: got"):
        call()
