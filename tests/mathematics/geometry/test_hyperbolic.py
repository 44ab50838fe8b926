"""Golden values, laws and gradients of both forms of hyperbolic space."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry import (
    Lorentz,
    PoincareBall,
    ball_from_lorentz,
    lorentz_from_ball,
)

F64 = torch.float64
X, Y = torch.tensor([0.1, 0.2], dtype=F64), torch.tensor([-0.3, 0.4], dtype=F64)
FORMS = {"lorentz": Lorentz, "ball": PoincareBall}


def points(form, *shape, radius=1.0, reach=2.0, seed=0, dtype=F64):
    """Points up to `reach` R from the origin, the first half within R."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.randn(*shape, generator=generator, dtype=F64)
    axes = axes / axes.norm(dim=-1, keepdim=True)
    r = reach * torch.rand(*shape[:-1], 1, generator=generator, dtype=F64)
    half = r.sinh() if form == "lorentz" else (r / 2).tanh()
    return (radius * axes * half).to(dtype)


def vectors(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


GOLDEN = {
    "d((.1,.2),(-.3,.4))": (lambda: PoincareBall(2).distance(X, Y), 1.01543425653),
    "Lorentz dist after map": (
        lambda: Lorentz(2).distance(lorentz_from_ball(X), lorentz_from_ball(Y)),
        1.01543425653,
    ),
    "d(0,(.5,0)) = ln 3": (
        lambda: PoincareBall(2).distance(0 * X, torch.tensor([0.5, 0.0], dtype=F64)),
        1.09861228867,
    ),
    "exp(log) roundtrip": (
        lambda: (PoincareBall(2).exp(X, PoincareBall(2).log(X, Y)) - Y).norm(),
        0.0,
    ),
    "+-(1-1e-6) in float64": (
        lambda: PoincareBall(1).distance(*torch.tensor([[1 - 1e-6], [1e-6 - 1]], dtype=F64)),
        4 * math.atanh(1 - 1e-6),
    ),
}


@pytest.mark.parametrize("row", GOLDEN)
def test_golden(row):
    compute, expected = GOLDEN[row]
    assert compute().item() == pytest.approx(expected, rel=5e-12, abs=5e-16)


def test_golden_float32_near_the_boundary():
    x = torch.tensor([1 - 1e-6, 0.0])
    exact = 4 * math.atanh(float(x[0]))
    assert exact == pytest.approx(28.9909, abs=5e-5)
    assert PoincareBall(2).distance(x, -x).item() == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("r", [2.0, 10.0])
def test_golden_float32_small_distances_far_out(r):
    angle = 1e-3
    u = torch.tensor([[math.sinh(r), 0], [math.sinh(r) * math.cos(angle)] * 2])
    u[1, 1] = math.sinh(r) * math.sin(angle)
    exact = Lorentz(2).distance(*u.double()).item()  # of the float32 numbers
    formula = 2 * math.asinh(math.sinh(r) * math.sin(angle / 2))
    assert exact == pytest.approx(formula, rel=1e-6)
    assert Lorentz(2).distance(*u).item() == pytest.approx(exact, rel=1.2e-7)
    if r == 2:
        assert exact == pytest.approx(0.0036268581, abs=5e-11)


def test_geoopt_agrees_inside_of_its_accurate_range():
    geoopt = pytest.importorskip("geoopt", reason="geoopt, of the oracles extra, is not installed")
    x, y = (points("ball", 20, 3, radius=2.0, reach=3.0, seed=s) for s in (0, 1))
    v = vectors(20, 3)
    ours, theirs = PoincareBall(3, radius=2.0), geoopt.PoincareBall(c=0.25)
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(ours.distance(x, y), theirs.dist(x, y), **close)
    torch.testing.assert_close(ours.log(x, y), theirs.logmap(x, y), **close)
    torch.testing.assert_close(ours.exp(x, 0.3 * v), theirs.expmap(x, 0.3 * v), **close)
    torch.testing.assert_close(ours.transport(x, y, v), theirs.transp(x, y, v), **close)
    torch.testing.assert_close(ours.moebius_add(x / 2, y / 2), theirs.mobius_add(x / 2, y / 2))
    torch.testing.assert_close(ours.inner(x, v, v), theirs.norm(x, v).square(), **close)
    u, w = lorentz_from_ball(x, 2.0), lorentz_from_ball(y, 2.0)
    lorentz = geoopt.Lorentz(k=torch.tensor(4.0, dtype=F64))
    hyperboloid = [
        torch.cat([(4 + p.square().sum(-1, keepdim=True)).sqrt(), p], -1) for p in (u, w)
    ]
    torch.testing.assert_close(
        Lorentz(3, radius=2.0).distance(u, w), lorentz.dist(*hyperboloid), rtol=1e-7, atol=1e-7
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_laws(form, radius):
    space = FORMS[form](3, radius)
    x, y, z = (points(form, 40, 3, radius=radius, seed=s) for s in range(3))
    d = space.distance(x, y)
    log = space.log(x, y)
    torch.testing.assert_close(d, space.distance(y, x), rtol=1e-13, atol=0)
    assert (d <= space.distance(x, z) + space.distance(z, y) + 1e-12).all()
    torch.testing.assert_close(space.inner(x, log, log).sqrt(), d, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(space.exp(x, log), y, rtol=1e-12, atol=1e-13)
    v, w = vectors(2, 40, 3).unbind()
    v, w = (t * (d / space.inner(x, t, t).sqrt())[:, None] for t in (v, w))
    end = space.exp(x, v)
    torch.testing.assert_close(space.distance(x, end), d, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(space.log(x, end), v, rtol=1e-11, atol=1e-12)
    moved = [space.transport(x, y, t) for t in (v, w)]
    torch.testing.assert_close(space.inner(y, *moved), space.inner(x, v, w), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(space.transport(y, x, moved[0]), v, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(space.transport(x, y, log), -space.log(y, x), rtol=1e-11, atol=1e-12)


def test_maps_between_the_forms_are_isometries():
    ball, lorentz = PoincareBall(3, 2.0), Lorentz(3, 2.0)
    x, y = (points("ball", 30, 3, radius=2.0, reach=4.0, seed=s) for s in (3, 4))
    u, w = lorentz_from_ball(x, 2.0), lorentz_from_ball(y, 2.0)
    torch.testing.assert_close(ball_from_lorentz(u, 2.0), x, rtol=1e-13, atol=0)
    torch.testing.assert_close(ball.distance(x, y), lorentz.distance(u, w), rtol=1e-12, atol=0)
    # the derivative of the map takes dx to du; both have the same frame components
    v = vectors(30, 3)
    du = torch.func.jvp(lambda p: lorentz_from_ball(p, 2.0), (x,), (v,))[1]
    frame = lorentz.frame_tangent(u, du)
    torch.testing.assert_close(frame, v * 2 / (1 - x.square().sum(-1, keepdim=True) / 4))
    torch.testing.assert_close(lorentz.coordinate_tangent(u, frame), du)
    gap = 1 - y.square().sum(-1, keepdim=True) / 4
    torch.testing.assert_close(
        lorentz.transport(u, w, frame), ball.transport(x, y, v) * 2 / gap, rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("form", FORMS)
def test_transport_is_what_the_connection_says(form):
    """Carried in many steps by dV = -Gamma(V, dx) in coordinates."""
    space = FORMS[form](2, 1.5)
    x, y = points(form, 2, 2, radius=1.5, seed=5)
    v = torch.tensor([0.3, -0.2], dtype=F64)
    steps = 1000
    times = (torch.arange(steps, dtype=F64) + 0.5) / steps
    middles = space.exp(x, times[:, None] * space.log(x, y))
    ends = space.exp(x, torch.linspace(0, 1, steps + 1, dtype=F64)[:, None] * space.log(x, y))
    turn = torch.einsum("bkij,bi->bkj", space.christoffel_symbols(middles), ends[1:] - ends[:-1])
    carried = v if form == "ball" else space.coordinate_tangent(x, v)
    for one in turn:
        half = carried - one @ carried / 2
        carried = carried - one @ half
    expected = space.transport(x, y, v)
    if form == "lorentz":
        carried = space.frame_tangent(y, carried)
    torch.testing.assert_close(carried, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_curvature_is_that_of_the_radius(form, radius):
    space = FORMS[form](3, radius)
    x = points(form, 6, 3, radius=radius)
    scalar = space.scalar_curvature(x)
    torch.testing.assert_close(
        scalar, torch.full((6,), -6 / radius**2, dtype=F64), rtol=1e-10, atol=0
    )
    k = space.sectional_curvature(x, *vectors(2, 6, 3).unbind())
    torch.testing.assert_close(k, torch.full((6,), -1 / radius**2, dtype=F64), rtol=1e-10, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_geodesic_flow_has_constant_speed_and_ends_where_exp_does(form):
    space = FORMS[form](2)
    x = points(form, 4, 2)
    v = vectors(4, 2) / 3
    flow = space.geodesic_flow(x, v, torch.tensor([0.0, 0.5, 1.0], dtype=F64))
    torch.testing.assert_close(flow.positions[2], space.exp(x, v))
    torch.testing.assert_close(flow.velocities[0], v)
    speed = space.inner(flow.positions, flow.velocities, flow.velocities)
    torch.testing.assert_close(speed, space.inner(x, v, v).expand(3, 4))


PAIRS = {
    "apart": (0.9, 0.4),
    "equal": (0.9, 0.9),
    "at the origin": (0.0, 0.7),
    "both at the origin": (0.0, 0.0),
    "far out and equal": (3.0, 3.0),
    "far out": (2.5, 3.0),
    "to the origin": (2.0, 0.0),
}


def pairs(form, names):
    """Pairs of points at these distances from the origin; where r differ, directions do too."""
    r = torch.tensor([PAIRS[name] for name in names], dtype=F64).T
    angle = (r - r[0]) * 2 + 0.3
    half = r.sinh() if form == "lorentz" else (r / 2).tanh()
    both = half[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
    return [p.clone().requires_grad_() for p in both]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", ["log", "exp", "exp of 0", "transport", "distance", "metric"])
def test_gradients(form, call):
    """First and second derivatives at points alike, apart, far out and at the origin."""
    space = FORMS[form](2, 1.5)
    apart = [n for n in PAIRS if "equal" not in n and "both" not in n]
    x, y = pairs(form, apart if call == "distance" else PAIRS)
    v = torch.tensor([0.2, -0.1], dtype=F64, requires_grad=True)
    zero = torch.zeros(2, dtype=F64, requires_grad=True)
    function, inputs = {
        "log": (space.log, (x, y)),
        "exp": (space.exp, (x, v)),
        "exp of 0": (space.exp, (x, zero)),
        "transport": (space.transport, (x, y, v)),
        "distance": (space.distance, (x, y)),
        "metric": (
            lambda p, t: space.inner(p, t, t)[:, None, None] * space.metric_matrix(p),
            (x, v),
        ),
    }[call]
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True, atol=1e-6)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("reach", [0.0, 1.0, 12.0, 30.0])
def test_coincident_points_have_distance_zero_without_a_slope(form, dtype, reach):
    space = FORMS[form](3)
    x = points(form, 5, 3, reach=reach, dtype=dtype)
    x = (space.project(x) if form == "ball" else x).requires_grad_()
    y = x.detach().clone().requires_grad_()
    d = space.distance(x, y)
    grads = torch.autograd.grad(d.sum(), (x, y), create_graph=True)
    seconds = torch.autograd.grad(sum(g.sum() for g in grads), (x, y))
    for tensor in (d, *grads, space.log(x, y)):
        assert (tensor == 0).all()
    assert all(s.isfinite().all() for s in seconds)
    log_slope = torch.autograd.functional.jacobian(lambda p: space.log(x.detach(), p).sum(0), y)
    assert log_slope.isfinite().all()
    torch.testing.assert_close(space.exp(x, 0 * x), x, rtol=1e-6, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_is_its_rows_and_broadcasts(form):
    space = FORMS[form](3)
    x, y = points(form, 4, 1, 3, seed=1, reach=4.0), points(form, 5, 3, seed=2, reach=4.0)
    v = vectors(4, 5, 3) / 4
    for function, extra in [(space.distance, ()), (space.log, ()), (space.transport, (v,))]:
        rows = [
            torch.stack([function(a[0], b, *(e[i, j] for e in extra)) for j, b in enumerate(y)])
            for i, a in enumerate(x)
        ]
        torch.testing.assert_close(
            function(x, y, *extra), torch.stack(rows), rtol=1e-13, atol=1e-15
        )
    rows = torch.stack([torch.stack([space.exp(a[0], t) for t in v[i]]) for i, a in enumerate(x)])
    torch.testing.assert_close(space.exp(x, v), rows, rtol=1e-13, atol=1e-15)


def test_moebius_addition_moves_points_as_exp_of_carried_log_does():
    ball = PoincareBall(3, 2.0)
    x, y = (points("ball", 20, 3, radius=2.0, seed=s) for s in (0, 1))
    zero = torch.zeros_like(x)
    torch.testing.assert_close(
        ball.moebius_add(x, y), ball.exp(x, ball.transport(zero, x, ball.log(zero, y)))
    )
    torch.testing.assert_close(ball.moebius_add(-x, ball.moebius_add(x, y)), y)


def test_centroid_and_busemann():
    space = Lorentz(3, 1.5)
    u = points("lorentz", 4, 2, 3, radius=1.5, reach=3.0)
    middle = space.centroid(u)
    ends = [space.distance(middle, u[:, i]) for i in (0, 1)]
    torch.testing.assert_close(ends[0], ends[1])
    torch.testing.assert_close(sum(ends), space.distance(u[:, 0], u[:, 1]))
    weights = torch.tensor([0.0, 3.0], dtype=F64)
    torch.testing.assert_close(space.centroid(u, weights.expand(4, 2)), u[:, 1])
    far = torch.tensor([3e12, 2e12], dtype=F64).reshape(2, 1)
    between = Lorentz(1).centroid(far).item()
    assert between == pytest.approx(math.sqrt(6e24), rel=1e-12)
    e = torch.tensor([0.6, 0.0, -0.8], dtype=F64)
    away = 1.5 * math.sinh(20.0) * e
    torch.testing.assert_close(
        space.busemann(u, 7 * e), space.distance(u, away) - 30, rtol=1e-9, atol=1e-9
    )


FAR = torch.tensor([[1e30, 0.0], [-1e30, 0.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PoincareBall(2).distance(X, 10 * X), r"other: got \|x\| up to 2.23.*project"),
        (lambda: PoincareBall(2).exp(10 * X, X), r"point: got \|x\| up to 2.23"),
        (lambda: PoincareBall(2, 0.0), "radius: got 0.0"),
        (lambda: Lorentz(2).distance(X, torch.nan * Y), "other: got NaN or infinity"),
        (lambda: Lorentz(3).distance(X, Y), r"point: got torch.float64 \[2\], expected .* 3\]"),
        (lambda: Lorentz(2).log(X.half(), Y.half()), "got torch.float16"),
        (lambda: Lorentz(2).exp(X.float(), 2000 * X.float()), "tangent: got length up to 447.2"),
        (lambda: Lorentz(2).centroid(X[None], -X[:1]), "weights: got a negative weight"),
        (lambda: lorentz_from_ball(9 * X), "point: got"),
        # 70 R from the origin each, 140 R apart: sinh of that is no float32.
        (lambda: Lorentz(2).distance(*FAR), "other: got points too far apart for torch.float32"),
        (lambda: Lorentz(2).log(*FAR), "other: got points too far apart"),
        (lambda: Lorentz(2).transport(*FAR, X.float()), "other: got points too far apart"),
    ],
)
def test_what_is_off_the_manifold_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_project_moves_what_is_outside_to_the_reach():
    ball = PoincareBall(2, 3.0)
    for dtype, reach in ((torch.float32, 15.9), (F64, 36.0)):
        outside = torch.tensor([[30.0, 40.0], [1e-3, 3.0]], dtype=dtype)
        inside = ball.project(outside)
        ball.check_point(inside)
        torch.testing.assert_close(
            ball.distance(torch.zeros_like(inside), inside).double(),
            torch.full((2,), 3 * reach, dtype=F64),
            rtol=0.05,
            atol=0,
        )
        assert ball.reach(dtype) == pytest.approx(3 * reach, rel=0.01)
    assert torch.equal(ball.project(X), X)
