"""Closed forms, laws and gradients of spheres."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry import Sphere

F64 = torch.float64


def points(sphere, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, sphere.dimension + 1, generator=generator, dtype=F64)
    return sphere.project(x)


def tangents(sphere, p, seed=9, length=1.0):
    x = torch.randn(*p.shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    v = sphere.project_tangent(p, x)
    return length * v / v.norm(dim=-1, keepdim=True)


def arc(radius, angle):
    """Two points of S^2 this angle apart."""
    p = torch.tensor([radius, 0.0, 0.0], dtype=F64)
    return p, radius * torch.tensor([math.cos(angle), math.sin(angle), 0.0], dtype=F64)


@pytest.mark.parametrize("angle", [1e-9, 1e-3, 0.09, 0.3, math.pi / 2, 3.0, math.pi - 1e-6])
def test_closed_forms_at_every_angle(angle):
    sphere = Sphere(2, 2.0)
    p, q = arc(2.0, angle)
    assert sphere.distance(p, q).item() == pytest.approx(2 * angle, rel=1e-14)
    log = sphere.log(p, q)
    torch.testing.assert_close(
        log, torch.tensor([0, 2 * angle, 0], dtype=F64), rtol=1e-9, atol=1e-13
    )
    torch.testing.assert_close(sphere.exp(p, log), q, rtol=1e-9, atol=1e-9)
    east, north = torch.tensor([[0.0, 1, 0], [0, 0, 1]], dtype=F64)
    turned = torch.tensor([-math.sin(angle), math.cos(angle), 0], dtype=F64)
    torch.testing.assert_close(sphere.transport(p, q, east), turned, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(sphere.transport(p, q, north), north)


def test_an_octant_turns_what_is_carried_around_it_by_a_right_angle():
    sphere = Sphere(2)
    x, y, z = torch.eye(3, dtype=F64)
    carried = sphere.transport(z, x, sphere.transport(y, z, sphere.transport(x, y, y.clone())))
    torch.testing.assert_close(carried, z, rtol=0, atol=1e-15)


@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_laws(radius):
    sphere = Sphere(3, radius)
    p, q, r = (points(sphere, 50, seed=s) for s in range(3))
    d, log = sphere.distance(p, q), sphere.log(p, q)
    torch.testing.assert_close(d, sphere.distance(q, p), rtol=0, atol=0)
    assert (d <= sphere.distance(p, r) + sphere.distance(r, q) + 1e-12).all()
    torch.testing.assert_close(log.norm(dim=-1), d, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close((log * p).sum(-1), torch.zeros(50, dtype=F64), rtol=0, atol=1e-13)
    torch.testing.assert_close(sphere.exp(p, log), q, rtol=1e-12, atol=1e-13)
    v, w = tangents(sphere, p, 1, 0.9 * radius), tangents(sphere, p, 2, 3.0 * radius)
    for t in (v, w):
        torch.testing.assert_close(sphere.log(p, sphere.exp(p, t)), t, rtol=1e-11, atol=1e-12)
    moved = [sphere.transport(p, q, t) for t in (v, w)]
    torch.testing.assert_close(
        (moved[0] * q).sum(-1), torch.zeros(50, dtype=F64), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(sphere.inner(q, *moved), sphere.inner(p, v, w))
    torch.testing.assert_close(sphere.transport(q, p, moved[0]), v, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(sphere.transport(p, q, log), -sphere.log(q, p))


def test_the_chart_is_an_isometry_and_tells_the_curvature():
    sphere = Sphere(3, 2.0)
    p = points(sphere, 6)
    x = sphere.coordinates(p)
    torch.testing.assert_close(sphere.from_coordinates(x), p)
    steps = torch.eye(3, dtype=F64)
    columns = [torch.func.jvp(sphere.from_coordinates, (x,), (e.expand(6, 3),))[1] for e in steps]
    jacobian = torch.stack(columns, -1)
    torch.testing.assert_close(jacobian.mT @ jacobian, sphere.metric_matrix(x))
    torch.testing.assert_close(
        sphere.scalar_curvature(x), torch.full((6,), 1.5, dtype=F64), rtol=1e-11, atol=0
    )
    u, v = tangents(sphere, p, 3)[..., :3], tangents(sphere, p, 4)[..., :3]
    torch.testing.assert_close(
        sphere.sectional_curvature(x, u, v), torch.full((6,), 0.25, dtype=F64), rtol=1e-11, atol=0
    )


def test_gradients():
    """First and second derivatives along the sphere, at equal points too."""
    sphere = Sphere(2, 1.5)
    ends = zip(*(arc(1.5, angle) for angle in (1e-3, 1.0, 2.5, 0.0)), strict=True)
    p, q = (torch.stack(end).requires_grad_() for end in ends)
    v = torch.tensor([0.1, 0.3, -0.2], dtype=F64, requires_grad=True)
    zero = torch.zeros(3, dtype=F64, requires_grad=True)

    def exp(a, t):
        return sphere.exp(on(a), sphere.project_tangent(on(a), t))

    on = sphere.project
    calls = [
        (lambda a, b: sphere.log(on(a), on(b)), (p, q)),
        (exp, (p, v)),
        (exp, (p, zero)),
        (lambda a, b, t: sphere.transport(on(a), on(b), t), (p, q, v)),
        (sphere.metric_matrix, (v,)),
        (lambda a, b: sphere.distance(on(a[:3]), on(b[:3])), (p, q)),
    ]
    for function, inputs in calls:
        assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True, atol=1e-5)


def test_equal_points_have_distance_zero_without_a_slope():
    sphere = Sphere(3)
    p = points(sphere, 5).requires_grad_()
    q = p.detach().clone().requires_grad_()
    d = sphere.distance(p, q)
    grads = torch.autograd.grad(d.sum(), (p, q), create_graph=True)
    assert all((t == 0).all() for t in (d, *grads, sphere.log(p, q)))
    seconds = torch.autograd.grad(sum(g.sum() for g in grads), (p, q))
    assert all(s.isfinite().all() for s in seconds)


def test_a_batch_is_its_rows_and_float32_stays_near():
    sphere = Sphere(2)
    p, q = points(sphere, 4, 1), points(sphere, 5, seed=1)
    v = tangents(sphere, p.expand(4, 5, 3))
    for function, extra in [(sphere.distance, ()), (sphere.log, ()), (sphere.transport, (v,))]:
        rows = torch.stack(
            [
                torch.stack([function(a[0], b, *(e[i, j] for e in extra)) for j, b in enumerate(q)])
                for i, a in enumerate(p)
            ]
        )
        torch.testing.assert_close(function(p, q, *extra), rows, rtol=1e-14, atol=1e-15)
        single = function(p.float(), q.float(), *(e.float() for e in extra))
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), rows, rtol=1e-5, atol=2e-6)


P = torch.tensor([0.6, 0.8, 0.0], dtype=F64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sphere(2).log(P, -P), "other: got the antipode of point"),
        (lambda: Sphere(2).transport(P, -P, P), "other: got the antipode of point"),
        (lambda: Sphere(2).distance(P, 1.1 * P), r"other: got \| \|p\| / R - 1 \| up to 0.1"),
        (lambda: Sphere(3).exp(P, P), r"point: got torch.float64 \[3\], expected .*4\]"),
        (lambda: Sphere(2, -1.0), "radius: got -1.0"),
        (lambda: Sphere(2).project(0 * P), "point: got 0"),
        (lambda: Sphere(2).exp(P, torch.nan * P), "tangent: got NaN"),
    ],
)
def test_what_is_off_the_sphere_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
