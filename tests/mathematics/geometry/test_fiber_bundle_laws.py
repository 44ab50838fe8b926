import math
from functools import cache

import pytest
import torch

from adaptive_attention_tiling.mathematics.geometry.fiber_bundle import (
    BundlePoint,
    Path,
    StructureGroup,
    TangentVector,
    adjoint_representation,
    bianchi_form,
    charge_representation,
    circle_atlas,
    curvature_form,
    determinant_representation,
    dual_representation,
    euclidean_atlas,
    flat_circle_bundle,
    flat_connection,
    gauge_transformed,
    hopf_bundle,
    monopole_bundle,
    sphere_atlas,
    tangent_bundle,
    trivial_bundle,
)

SO3 = StructureGroup(3, isometric=True, unimodular=True)
U2 = StructureGroup(2, isometric=True, is_complex=True)
GL2 = StructureGroup(2)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def parameters(group, dimension, scale=0.7):
    """Of `waves`, [2, n, r, r], in the Lie algebra."""
    form = random(2, dimension, group.size, group.size)
    if group.is_complex:
        form = torch.complex(form, random(*form.shape))
    if group.isometric:
        form = (form - form.mH) / 2
    return scale * form


def waves(form):
    """A_i(x) = sin(x_1 + i) P_0i + cos(2 x_2 x_1) P_1i, neither flat nor abelian."""

    def connection(x):
        index = torch.arange(form.shape[1], dtype=x.dtype)
        first = (x[..., :1] + index).sin().to(form.dtype)
        second = (2 * x[..., 1:2] * x[..., :1]).cos().to(form.dtype)
        return first[..., None, None] * form[0] + second[..., None, None] * form[1]

    return connection


def wavy(group, dimension=2):
    form = parameters(group, dimension)
    return trivial_bundle(euclidean_atlas(dimension), group, waves(form))


def spirals(batch=(), dimension=2):
    """Curves in R^n that do not close."""
    slope = random(*batch, 1, dimension)

    def curve(t):
        t = t[:, None]
        powers = torch.cat(
            [(k + 1) * t + (2 + k) * (t * (3 + k)).sin() for k in range(dimension)], -1
        )
        return 0.5 * powers + slope * t.square()

    return Path(curve)


def great_arc(start, end):
    """From start to end on a sphere, batched."""
    angle = torch.linalg.vecdot(start, end).clamp(-1, 1).acos()[..., None, None]

    def curve(t):
        t = t[:, None]
        weights = ((1 - t) * angle).sin(), (t * angle).sin()
        return (weights[0] * start[..., None, :] + weights[1] * end[..., None, :]) / angle.sin()

    return Path(curve)


@cache
def named(name):
    return {
        "tangent S2": lambda: tangent_bundle(sphere_atlas()),
        "tangent S3": lambda: tangent_bundle(sphere_atlas(3)),
        "monopole": lambda: monopole_bundle(-2),
        "hopf": hopf_bundle,
    }[name]()


def sphere_points(bundle, count=5):
    width = bundle.atlas.samples.shape[-1]
    return torch.nn.functional.normalize(random(count, width), dim=-1)


def reference_transport(connection, path, group, steps):
    """U' = -A U by the classical Runge-Kutta method, step by step."""
    u = group.identity(torch.zeros((), dtype=torch.float64))

    def slope(t, u):
        x, v = path.velocities(torch.tensor([t], dtype=torch.float64))
        return -torch.einsum("i,ijk->jk", v[0].to(u.dtype), connection(x)[0]) @ u

    h = 1 / steps
    for k in range(steps):
        t = k * h
        k1 = slope(t, u)
        k2 = slope(t + h / 2, u + h / 2 * k1)
        k3 = slope(t + h / 2, u + h / 2 * k2)
        u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(t + h, u + h * k3))
    return u


@pytest.mark.parametrize("group", [SO3, U2, GL2], ids=str)
def test_transport_is_that_of_a_reference_in_values_and_gradients(group):
    form = parameters(group, 2).requires_grad_()
    path = Path(lambda t: torch.stack([0.4 + t.sin(), t + t.square() / 2], -1))
    bundle = trivial_bundle(euclidean_atlas(2), group, waves(form))
    fast = bundle.transport(path, steps=30)
    slow = reference_transport(waves(form), path, group, 30)
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(fast)
    gradients = [torch.autograd.grad((u * weights).sum().real, form)[0] for u in (fast, slow)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [2, 4])
def test_errors_fall_with_the_order_of_the_method(order):
    bundle, path = wavy(SO3), spirals()
    exact = bundle.transport(path, steps=512)
    errors = [
        float((bundle.transport(path, steps=steps, order=order) - exact).norm())
        for steps in (32, 64)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("group", [SO3, U2], ids=str)
@pytest.mark.parametrize("order", [2, 4])
def test_coarse_steps_stay_in_the_group_and_are_undone_on_the_way_back(group, order):
    bundle, path = wavy(group), spirals((4,))
    found = bundle.transport(path, steps=5, order=order)
    assert float(group.defect(found).max()) < 1e-13
    back = bundle.transport(path.reversed(), steps=5, order=order)
    identity = group.identity(found.real).expand_as(found)
    torch.testing.assert_close(back @ found, identity, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["tangent S2", "monopole"])
def test_transport_over_charts_composes_and_goes_along_with_frames(name):
    bundle = named(name)
    a, b, c = sphere_points(bundle, 3).unbind()
    whole = Path.through(torch.stack([a, b, c]))
    arcs = Path(lambda t: torch.nn.functional.normalize(whole.points(t), dim=-1), pieces=2)
    parts = [
        bundle.transport(great_arc(p, q), "north", "north", steps=64) for p, q in ((a, b), (b, c))
    ]
    found = bundle.transport(arcs, "north", "north", steps=96)
    torch.testing.assert_close(found, parts[1] @ parts[0], rtol=0, atol=1e-6)
    g = bundle.transition_functions("north", "south")
    crossed = bundle.transport(arcs, "south", "south", steps=96)
    ends = [g(p[None])[0] for p in (a, c)]
    torch.testing.assert_close(crossed @ ends[0], ends[1] @ found, rtol=0, atol=1e-13)


def test_no_points_are_no_error():
    none = torch.zeros(0, 3, dtype=torch.float64)
    bundle = monopole_bundle(1)
    assert bundle.curvature(none).shape == (0, 2, 2, 1, 1)
    assert bundle.connection_form(TangentVector(none, none)).shape == (0, 1, 1)


def test_a_batch_is_its_rows():
    bundle = named("tangent S2")
    start, end = sphere_points(bundle, 3), sphere_points(bundle, 3)
    together = bundle.transport(great_arc(start, end), "north", "south")
    rows = [
        bundle.transport(great_arc(p, q), "north", "south") for p, q in zip(start, end, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(rows), rtol=0, atol=1e-14)
    curvature = torch.stack([bundle.curvature(p, "north") for p in start])
    torch.testing.assert_close(bundle.curvature(start, "north"), curvature, rtol=0, atol=1e-14)


def test_great_circles_carry_their_own_tangent():
    """Geodesics are autoparallel."""
    bundle = named("tangent S3")
    start, end = sphere_points(bundle, 5), sphere_points(bundle, 5)
    path = great_arc(start, end)
    points, velocities = path.velocities(path.times(1))
    chart, fibers = bundle.local_trivialization(points.flatten(0, 1))
    slopes = torch.func.jvp(chart.coordinates, (points,), (velocities,))[1]
    jacobian = torch.func.vmap(torch.func.vmap(torch.func.jacfwd(chart.point)))
    columns = jacobian(chart.coordinates(points))
    gram = columns.mT @ columns
    local = (torch.linalg.cholesky(gram).mT @ slopes[..., None])[..., 0]
    moved = bundle.parallel_transport(fibers.total(points[:, 0], local[:, 0]), path, steps=64)
    torch.testing.assert_close(fibers.fiber(moved), local[:, 1], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved.fiber.norm(dim=-1), local[:, 0].norm(dim=-1))


@pytest.mark.parametrize("group", [SO3, U2], ids=str)
def test_curvature_is_covariant_under_gauge_transformations(group):
    connection, generator = waves(parameters(group, 3)), parameters(group, 3)

    def gauge(x):
        wave = (x @ torch.tensor([1.0, -2.0, 0.5], dtype=x.dtype)).sin().to(generator.dtype)
        return torch.linalg.matrix_exp(wave[..., None, None] * generator[0, 0])

    x = random(4, 3)
    g = gauge(x)[:, None, None]
    form = curvature_form(connection, x)
    torch.testing.assert_close(
        curvature_form(gauge_transformed(connection, gauge), x), g @ form @ g.mH, rtol=0, atol=1e-12
    )
    torch.testing.assert_close(form, -form.transpose(1, 2), rtol=0, atol=0)
    assert float(form.abs().max()) > 0.1
    assert float(bianchi_form(connection, x).abs().max()) < 1e-12
    transported = gauge_transformed(connection, gauge)
    path = spirals((2,), 3)
    ends = gauge(path.points(path.times(1)))
    before, after = (
        trivial_bundle(euclidean_atlas(3), group, form).transport(path, steps=200)
        for form in (connection, transported)
    )
    torch.testing.assert_close(after, ends[:, 1] @ before @ ends[:, 0].mH, rtol=0, atol=3e-6)


def test_bianchi_asks_for_the_commutator():
    """dF alone is not zero."""
    connection, x = waves(parameters(SO3, 3)), random(2, 3)
    slopes = torch.func.vmap(torch.func.jacfwd(lambda y: curvature_form(connection, y)))(x)
    slopes = slopes.movedim(-1, 1)
    cyclic = slopes + slopes.movedim((1, 2, 3), (2, 3, 1)) + slopes.movedim((1, 2, 3), (3, 1, 2))
    assert float(cyclic.abs().max()) > 0.1


@pytest.mark.parametrize("name", ["tangent S3", "monopole"])
def test_curvature_and_bianchi_over_charts(name):
    bundle = named(name)
    points = sphere_points(bundle, 4)
    north, south = (bundle.atlas.chart(chart) for chart in ("north", "south"))
    x = north.coordinates(points)
    slopes = torch.func.vmap(torch.func.jacfwd(lambda y: south.coordinates(north.point(y))))(x)
    g = bundle.transition_functions("north", "south")(points)[:, None, None]
    there = bundle.curvature(points, "south")
    slopes = slopes.to(there.dtype)
    pulled = torch.einsum("pai,pbj,pabkl->pijkl", slopes, slopes, there)
    here = bundle.curvature(points, "north")
    torch.testing.assert_close(pulled, g @ here @ g.mH, rtol=1e-10, atol=1e-10)
    assert float(bundle.bianchi(points).abs().max()) < 1e-10
    assert not bundle.is_flat()


@pytest.mark.parametrize("dimension", [2, 3])
def test_curvature_of_spheres_is_one(dimension):
    """F_ij = -(e_i e_j^T - e_j e_i^T) in the orthonormal frame e = lambda dx, K = 1."""
    bundle = named(f"tangent S{dimension}")
    points = sphere_points(bundle)
    squared = bundle.atlas.chart("north").coordinates(points).square().sum(-1)
    unit = torch.eye(dimension, dtype=torch.float64)
    planes = torch.einsum("ik,jl->ijkl", unit, unit)
    planes = (planes - planes.transpose(0, 1)) * (2 / (1 + squared))[:, None, None, None, None] ** 2
    torch.testing.assert_close(bundle.curvature(points, "north"), planes, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("group", [SO3, U2], ids=str)
def test_small_loops_turn_by_their_curvature(group):
    """Around squares of side h about x, holonomy = exp(-F_12 h^2) + O(h^4)."""
    bundle, x = wavy(group), torch.tensor([0.4, -0.7], dtype=torch.float64)
    square = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]], dtype=torch.float64) / 2
    form = bundle.curvature(x)[0, 1]
    errors = []
    for side in (0.2, 0.1, 0.05):
        # Transport to the corner from the centre and back, so that both are told at x.
        path = torch.cat([x[None], x + side * square, x[None]])
        found = bundle.holonomy(Path.through(path), steps=8)
        errors.append(float((found - torch.linalg.matrix_exp(-form * side**2)).norm()))
    assert math.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.3)
    assert errors[2] < 0.02 * 0.05**2


@pytest.mark.parametrize("group", [SO3, U2], ids=str)
def test_curvature_bounds_holonomy(group):
    """|holonomy - 1| <= integral of |F| over squares of side 0.3 to 1.2."""
    bundle = wavy(group)
    corners = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], dtype=torch.float64)
    middles = (torch.cartesian_prod(*[torch.arange(20, dtype=torch.float64)] * 2) + 0.5) / 20
    ratios = []
    for side in (0.3, 1.2):
        found = bundle.holonomy(Path.through(side * corners))
        defect = torch.linalg.matrix_norm(found - group.identity(corners), ord=2)
        norms = torch.linalg.matrix_norm(bundle.curvature(side * middles)[:, 0, 1], ord=2)
        ratios.append(float(defect / (norms.mean() * side**2)))
    assert max(ratios) < 1.001  # 0.1 % for the midpoint rule
    assert ratios[0] > 0.9


@pytest.mark.parametrize("charge", [-2, 1, 3])
def test_chern_number_by_winding_and_by_flux(charge):
    bundle = monopole_bundle(charge)
    phi = 2 * math.pi * torch.arange(33, dtype=torch.float64) / 32
    equator = torch.stack([phi.cos(), phi.sin(), torch.zeros_like(phi)], -1)
    g = bundle.transition_functions("south", "north")(equator)[:, 0, 0]
    turns = (g[1:] / g[:-1]).angle().sum() / (2 * math.pi)
    assert float(turns) == pytest.approx(charge, abs=1e-13)
    z = torch.linspace(-1, 1, 41, dtype=torch.float64)[1:-1]
    radius = (1 - z.square()).sqrt()
    points = torch.stack([radius * 0.6, radius * 0.8, z], -1)
    north = bundle.atlas.chart("north").coordinates(points)
    density = (
        bundle.curvature(points, "north")[:, 0, 1, 0, 0] * (1 + north.square().sum(-1)) ** 2 / 4
    )
    assert float(density.real.abs().max()) < 1e-12
    flux = -density.imag.mean() * 4 * math.pi / (2 * math.pi)  # c_1 = i / 2 pi integral of F
    assert float(flux) == pytest.approx(charge, abs=1e-12)


def test_the_hopf_bundle_is_the_monopole_of_minus_one():
    hopf, monopole = named("hopf"), monopole_bundle(-1)
    points = sphere_points(hopf)
    torch.testing.assert_close(hopf.curvature(points, "north"), monopole.curvature(points, "north"))
    for pair in (("north", "south"), ("south", "north")):
        torch.testing.assert_close(
            hopf.transition_functions(*pair)(points), monopole.transition_functions(*pair)(points)
        )


REPRESENTATIONS = [
    ("charge 3", monopole_bundle, charge_representation(3)),
    ("charge -2", monopole_bundle, charge_representation(-2)),
    ("dual", None, dual_representation(GL2)),
    ("determinant", None, determinant_representation(GL2)),
    ("adjoint", None, adjoint_representation(GL2)),
]


@pytest.mark.parametrize(
    ("make", "representation"),
    [row[1:] for row in REPRESENTATIONS],
    ids=[row[0] for row in REPRESENTATIONS],
)
def test_transport_of_associated_bundles_is_represented(make, representation):
    if make is None:
        bundle, path = wavy(GL2), spirals((2,))
    else:
        bundle = make(1)
        path = great_arc(sphere_points(bundle), sphere_points(bundle))
    charts = [bundle.atlas.charts[i].name for i in (0, -1)]
    plain = bundle.transport(path, *charts, steps=100)
    found = bundle.associated(representation).transport(path, *charts, steps=100)
    torch.testing.assert_close(found, representation.matrix(plain), rtol=1e-5, atol=1e-6)
    one, two = plain[0], plain[1]
    products = (
        representation.matrix(one @ two),
        representation.matrix(one) @ representation.matrix(two),
    )
    torch.testing.assert_close(*products)


def test_principal_bundles_transport_group_elements_equivariantly():
    vectors = named("tangent S2")
    bundle = vectors.frames()
    start, end = sphere_points(bundle), sphere_points(bundle)
    path = great_arc(start, end)
    frames = torch.linalg.qr(random(5, 2, 2)).Q
    moved = bundle.parallel_transport(BundlePoint(start, "north", frames), path)
    turned = torch.linalg.qr(random(2, 2)).Q
    both = bundle.parallel_transport(BundlePoint(start, "north", frames @ turned), path)
    torch.testing.assert_close(both.fiber, moved.fiber @ turned)
    columns = [
        vectors.parallel_transport(BundlePoint(start, "north", frames[..., k]), path).fiber
        for k in range(2)
    ]
    torch.testing.assert_close(moved.fiber, torch.stack(columns, -1))
    assert float(bundle.group.defect(moved.fiber).max()) < 1e-13


def test_projection_undoes_trivialisation_and_frames_change_by_transitions():
    bundle = named("tangent S3")
    points = sphere_points(bundle)
    _, fibers = bundle.local_trivialization(points)
    values = random(5, 3)
    total = fibers.total(points, values)
    assert bundle.bundle_projection(total) is points
    assert torch.equal(fibers.fiber(total), values)
    other = "south" if total.chart == "north" else "north"
    g = bundle.transition_functions(total.chart, other)(points)
    there = BundlePoint(points, other, (g @ values[..., None])[..., 0])
    torch.testing.assert_close(fibers.fiber(there), values)


def test_pure_gauges_are_flat_and_their_sections_parallel():
    """A = -dg g^(-1) has s = g c for parallel sections, whatever the path."""
    generator = parameters(SO3, 2)

    def gauge(x):
        phase = (x[..., 0] * x[..., 1]).sin()[..., None, None]
        return torch.linalg.matrix_exp(phase * generator[0, 0]) @ torch.linalg.matrix_exp(
            x[..., :1, None] * generator[0, 1]
        )

    connection = gauge_transformed(flat_connection(SO3), gauge)
    bundle = trivial_bundle(euclidean_atlas(2), SO3, connection)
    assert bundle.is_flat()
    assert not wavy(SO3).is_flat()
    path = spirals()
    ends = gauge(path.points(path.times(1)))
    torch.testing.assert_close(
        bundle.transport(path, steps=200), ends[1] @ ends[0].mT, rtol=0, atol=2e-6
    )
    constant, points, vectors = random(3), random(4, 2), random(4, 2)
    found = bundle.covariant_derivative(
        lambda x: gauge(x) @ constant, TangentVector(points, vectors)
    )
    assert float(found.abs().max()) < 1e-12


def test_covariant_derivatives_obey_leibniz_and_see_the_connection():
    bundle = named("tangent S2")
    points = sphere_points(bundle)
    vectors = torch.linalg.cross(points, random(5, 3))
    tangent = TangentVector(points, vectors, "north")

    def section(p):
        return torch.stack([p[..., 0] * p[..., 2], p[..., 1].sin()], -1)

    def scale(p):
        return p[..., 2:].exp() + p[..., :1]

    value, slope = torch.func.jvp(scale, (points,), (vectors,))
    left = bundle.covariant_derivative(lambda p: scale(p) * section(p), tangent)
    right = slope * section(points) + value * bundle.covariant_derivative(section, tangent)
    torch.testing.assert_close(left, right)
    form = bundle.connection_form(tangent)
    assert torch.equal(form, -form.mT)  # or rounding would leave the group
    double = bundle.connection_form(TangentVector(points, 2 * vectors, "north"))
    torch.testing.assert_close(double, 2 * form)
    frames = bundle.frames()
    constant = torch.eye(2, dtype=torch.float64).expand(5, 2, 2)
    torch.testing.assert_close(
        frames.covariant_derivative(lambda p: constant + 0 * p[..., :1, None], tangent), form
    )


def test_flat_bundles_over_the_circle_have_the_holonomy_they_are_built_with():
    turn = torch.linalg.qr(random(3, 3)).Q
    bundle = flat_circle_bundle(StructureGroup(3, isometric=True), turn)

    def rounds(count, start):
        return Path(
            lambda t: circle_atlas().chart("east").point((start + 2 * math.pi * count * t)[:, None])
        )

    torch.testing.assert_close(bundle.holonomy(rounds(1, 0.0)), turn)
    torch.testing.assert_close(bundle.holonomy(rounds(-2, 0.0)), torch.linalg.inv(turn @ turn))
    torch.testing.assert_close(bundle.holonomy(rounds(1, -0.5), "east"), turn)
    assert bundle.is_flat()


@pytest.mark.parametrize("group", [SO3, U2], ids=str)
def test_gradcheck_of_transport_and_holonomy(group):
    form = parameters(group, 2, 0.4).requires_grad_()
    vertices = random(2, 3, 2).requires_grad_()

    def both(form, vertices):
        bundle = trivial_bundle(euclidean_atlas(2), group, waves(form))
        closed = torch.cat([vertices, vertices[:, :1]], 1)
        return bundle.transport(Path.through(vertices), steps=1), bundle.holonomy(
            Path.through(closed), steps=1
        )

    # Finite differences leave the Lie algebra, so the group that is checked is GL.
    group = StructureGroup(group.size, is_complex=group.is_complex)
    assert torch.autograd.gradcheck(both, (form, vertices), fast_mode=True)


@pytest.mark.parametrize("name", ["tangent S2", "hopf"])
def test_gradcheck_of_transport_through_both_charts(name):
    ends = random(2, 2, 3).requires_grad_()

    def found(ends):
        start, end = torch.nn.functional.normalize(ends, dim=-1)
        return named(name).transport(great_arc(start, end), "north", "south", steps=4)

    assert torch.autograd.gradcheck(found, ends, fast_mode=True)


def test_gradgradcheck_of_holonomy():
    form = parameters(GL2, 2, 0.4).requires_grad_()
    triangle = torch.tensor([[0, 0], [1, 0], [0.3, 0.8], [0, 0]], dtype=torch.float64)

    def found(form):
        bundle = trivial_bundle(euclidean_atlas(2), GL2, waves(form))
        return bundle.holonomy(Path.through(triangle), steps=1)

    assert torch.autograd.gradgradcheck(found, form, fast_mode=True)


def test_float32_bundles_stay_float32():
    bundle = tangent_bundle(sphere_atlas(2, torch.float32))
    angle = 2 * math.pi

    def curve(t):
        ring = 0.6 * (angle * t).cos(), 0.6 * (angle * t).sin(), torch.full_like(t, 0.8)
        return torch.stack(ring, -1)

    found = bundle.holonomy(Path(curve, dtype=torch.float32))
    assert found.dtype == torch.float32
    turned = math.atan2(float(found[1, 0]), float(found[0, 0]))
    assert turned == pytest.approx(angle * 0.2, abs=1e-5)
