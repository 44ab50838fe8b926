import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry import Integration, RiemannianStructure
from adaptive_attention_tiling.mathematics.geometry.geodesic import acceleration


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def sphere_metric(x):
    return torch.diag_embed(torch.stack([torch.ones_like(x[..., 0]), x[..., 0].sin() ** 2], -1))


def half_plane_metric(x):
    return x[..., 1, None, None] ** -2 * torch.eye(2).to(x)


def schwarzschild_metric(x):
    """(t, r, azimuth) in the equator, of mass 1."""
    r = x[..., 1]
    f = 1 - 2 / r
    return torch.diag_embed(torch.stack([-f, 1 / f, r**2], -1))


LOOSE = Integration(tolerance=1e-8)
SPHERE = RiemannianStructure(sphere_metric, 2)
HALF_PLANE = RiemannianStructure(half_plane_metric, 2)
SPACETIME = RiemannianStructure(schwarzschild_metric, 3, signature="pseudo", integration=LOOSE)


def on_sphere(x):
    """In R^3, from polar angle and azimuth."""
    polar, azimuth = x.unbind(-1)
    return torch.stack([polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()], -1)


def sphere_distance(p, q):
    return torch.acos((on_sphere(p) * on_sphere(q)).sum(-1))


def half_plane_distance(p, q):
    return torch.acosh(1 + (p - q).square().sum(-1) / (2 * p[..., 1] * q[..., 1]))


PAIRS = {
    "sphere": (
        SPHERE,
        sphere_distance,
        doubles([1, 0.3], [0.7, 1]),
        doubles([1.4, 1.3], [1.7, 0.2]),
    ),
    "half-plane": (
        HALF_PLANE,
        half_plane_distance,
        doubles([0, 1], [0, 1]),
        doubles([1.2, 1], [0.1, 0.5]),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_distance_is_the_closed_form_and_exp_undoes_log(name):
    manifold, distance, p, q = PAIRS[name]
    torch.testing.assert_close(manifold.distance(p, q), distance(p, q), rtol=0, atol=1e-12)
    assert manifold.distance(p, p).tolist() == [0, 0]
    tangent = manifold.log(p, q)
    torch.testing.assert_close(manifold.exp(p, tangent), q, rtol=0, atol=2e-8)


@pytest.mark.parametrize("name", PAIRS)
def test_transport_keeps_inner_products_and_the_geodesic_itself(name):
    manifold, _, p, q = PAIRS[name]
    along, other = manifold.log(p, q), doubles([0.3, -0.7], [1, 2])
    carried = manifold.transport(p, q, along), manifold.transport(p, q, other)
    torch.testing.assert_close(carried[0], -manifold.log(q, p), rtol=0, atol=1e-9)
    inner = manifold.inner(p, along, other)
    torch.testing.assert_close(manifold.inner(q, *carried), inner, rtol=0, atol=1e-9)


def test_many_tangents_are_carried_along_few_geodesics():
    """[5, 2, 2] along [2, 2], and [5, 2] along one; each as if it were alone."""
    manifold, _, p, q = PAIRS["sphere"]
    tangents = doubles(*torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(2)).tolist())
    carried = manifold.transport(p, q, tangents)
    each = torch.stack([manifold.transport(p, q, tangent) for tangent in tangents])
    torch.testing.assert_close(carried, each, rtol=0, atol=1e-13)
    one = manifold.transport(p[0], q[0], tangents[:, 0])
    torch.testing.assert_close(one, each[:, 0], rtol=0, atol=1e-10)


def test_far_points_are_reached_by_way_of_nearer_ones():
    """Where Newton's method from the straight line finds nothing."""
    p, q = doubles(0, 1), doubles(5, 1)
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(HALF_PLANE.distance(p, q), half_plane_distance(p, q), **close)


def test_geodesics_of_the_sphere_are_great_circles():
    """And keep their energy; by way of a frame in R^3."""
    x, v = doubles([1, 0.3], [0.7, 1]), doubles([0.4, 0.9], [-0.2, 1.1])
    times = doubles(0, 0.5, 1)
    flow = SPHERE.geodesic_flow(x, v, times)
    start, velocity = torch.func.jvp(on_sphere, (x,), (v,))
    speed = velocity.norm(dim=-1, keepdim=True)
    turned = (times[:, None, None] * speed).cos() * start
    turned = turned + (times[:, None, None] * speed).sin() * velocity / speed
    torch.testing.assert_close(on_sphere(flow.positions), turned, rtol=0, atol=1e-8)
    energy = SPHERE.inner(flow.positions, flow.velocities, flow.velocities)
    torch.testing.assert_close(energy, energy[:1].expand(3, -1), rtol=0, atol=1e-8)


def test_geodesics_of_the_half_plane_are_circles_about_the_boundary():
    flow = HALF_PLANE.geodesic_flow(doubles(0, 1), doubles(1, 0), doubles(0, 0.7, 1))
    exact = torch.stack([flow.times.tanh(), 1 / flow.times.cosh()], -1)
    torch.testing.assert_close(flow.positions, exact, rtol=0, atol=1e-8)


def test_orbits_around_a_mass():
    """Energy, angular momentum and norm stay; a circle at r = 10 turns by M^(1/2) r^(-3/2)."""
    circle = doubles(1 / math.sqrt(0.7), 0, 10**-1.5 / math.sqrt(0.7))
    bound = doubles(1.2, 0.05, 0.04)
    flow = SPACETIME.geodesic_flow(
        doubles(0, 10, 0).expand(2, 3), torch.stack([circle, bound]), doubles(0, 15, 30)
    )
    metric = SPACETIME.metric_tensor(flow.positions)
    lowered = torch.einsum("...ij,...j->...i", metric, flow.velocities)
    torch.testing.assert_close(
        lowered[..., ::2], lowered[:1, :, ::2].expand(3, -1, -1), rtol=0, atol=1e-6
    )
    norm = SPACETIME.inner(flow.positions, flow.velocities, flow.velocities)
    torch.testing.assert_close(norm, norm[:1].expand(3, -1), rtol=0, atol=1e-7)
    assert norm[0, 0].item() == pytest.approx(-1, abs=1e-14)
    times, radii, angles = flow.positions[:, 0].unbind(-1)
    torch.testing.assert_close(radii, doubles(10, 10, 10), rtol=0, atol=1e-6)
    torch.testing.assert_close(angles, 10**-1.5 * times, rtol=0, atol=1e-6)
    assert float((flow.positions[:, 1, 1] - 10).abs().max()) > 0.02


@pytest.mark.parametrize(("angle", "area"), [(1.0, 2.88836579751), (math.pi / 3, 3.14159265359)])
def test_holonomy_of_a_latitude_is_the_area_above_it(angle, area):
    """2 pi (1 - cos theta), from 0 to pi up to its sign."""

    def latitude(t):
        return torch.stack([angle + 0 * t, t])

    how = Integration(steps=40)
    matrix = SPHERE.holonomy(latitude, doubles(0, 2 * math.pi), integration=how)
    sine = abs(float(matrix[0, 1])) / math.sin(angle)  # of the turn in an orthonormal frame
    assert math.atan2(sine, float(matrix[0, 0])) == pytest.approx(area, abs=1e-5)


def test_one_tangent_is_carried_along_many_paths():
    def latitudes(t):
        return torch.stack([doubles(0.5, 1, 1.2) + 0 * t, t.expand(3)], -1)

    tangent, times = doubles(0.3, 1), doubles(0, 1)
    how = Integration(steps=4)
    carried = SPHERE.parallel_transport(latitudes, tangent, times, integration=how)
    every = SPHERE.parallel_transport(latitudes, tangent.expand(3, 2), times, integration=how)
    assert torch.equal(carried, every)


def test_a_polyline_is_the_path_of_its_segments():
    corners, tangent = doubles([1, 0], [1, 0.5], [1.2, 0.5]), doubles(0.3, 1)
    how = Integration(steps=8)
    carried = SPHERE.parallel_transport(corners, tangent, integration=how)
    assert torch.equal(carried[0], tangent)

    for number, step in enumerate(corners.diff(dim=0)):

        def straight(t, start=corners[number], step=step):
            return start + t * step

        whole = SPHERE.parallel_transport(straight, carried[number], doubles(0, 0.4, 1))
        torch.testing.assert_close(carried[number + 1], whole[-1], rtol=0, atol=1e-6)
    norms = SPHERE.inner(corners, carried, carried)
    torch.testing.assert_close(norms, norms[:1].expand(3), rtol=0, atol=1e-7)


def test_gradients_of_distance_log_exp_and_transport():
    p, q = doubles([1.0, 0.3]).requires_grad_(), doubles([1.2, 0.7]).requires_grad_()
    fixed = RiemannianStructure(sphere_metric, 2, integration=Integration(steps=3), checks=False)
    assert torch.autograd.gradcheck(fixed.log, (p, q))
    assert torch.autograd.gradgradcheck(fixed.distance, (p, q))
    assert torch.autograd.gradcheck(lambda p, q: fixed.transport(p, q, q), (p, q))
    assert torch.autograd.gradcheck(fixed.exp, (p, 0.3 * q.detach().requires_grad_()))
    found = torch.autograd.grad(fixed.distance(p, q), (p, q))
    exact = torch.autograd.grad(sphere_distance(p, q), (p, q))
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-10)
    apart = torch.autograd.grad(fixed.distance(p, p.detach()), p)[0]
    assert apart.abs().max() == 0


def test_acceleration_is_the_contraction_of_christoffel_symbols():
    x, v = doubles([1, 0.3], [0.7, 1]), doubles([0.4, 0.9], [-0.2, 1.1])
    exact = -torch.einsum("...kij,...i,...j->...k", SPHERE.christoffel_symbols(x), v, v)
    torch.testing.assert_close(acceleration(sphere_metric, x, v), exact, rtol=0, atol=1e-15)


def test_float32_keeps_its_digits():
    manifold, distance, p, q = PAIRS["sphere"]
    found = manifold.distance(p.float(), q.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), distance(p, q), rtol=0, atol=1e-5)


def test_what_no_geodesic_reaches_is_told():
    """Through the pole of polar coordinates, and into the singularity."""
    with pytest.raises(
        ArgumentError, match=r"other: got \[1.0, 3.14\d*\], the geodesic to which is"
    ):
        SPHERE.log(doubles(1, 0), doubles(1, math.pi))
    falling = RiemannianStructure(
        schwarzschild_metric, 3, signature="pseudo", integration=Integration(max_steps=40)
    )
    with pytest.raises(ArgumentError, match=r"max_steps: .*before a singularity"):
        falling.geodesic_flow(doubles(0, 3, 0), doubles(1, -1, 0), doubles(0, 40))
    with pytest.raises(ArgumentError, match="tolerance: got 2"):
        Integration(tolerance=2)
