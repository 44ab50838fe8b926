import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry import (
    Euclidean,
    Lorentz,
    PoincareBall,
    PositiveDefinite,
    ProductManifold,
    RiemannianStructure,
    Sphere,
)

PARTS = (Euclidean(2), Sphere(2, 0.5), PoincareBall(2), PositiveDefinite(2))


def doubles(*shape, seed=0):
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def product():
    """A product, two coordinates and two tangents at the first point."""
    manifold = ProductManifold(*PARTS)
    shift = torch.cat([torch.zeros(6), torch.tensor([1.0, 0.0, 1.0])]).double()
    x, y = (doubles(5, 9, seed=seed) * 0.7 + shift for seed in (0, 1))
    tangents = [
        torch.func.jvp(manifold.from_coordinates, (x,), (doubles(5, 9, seed=seed),))[1]
        for seed in (2, 3)
    ]
    return manifold, x, y, tangents


def test_a_plane_is_flat_and_straight():
    plane, p, q = Euclidean(3), doubles(4, 3), doubles(4, 3, seed=1)
    assert torch.equal(plane.exp(p, plane.log(p, q)), p + (q - p))
    torch.testing.assert_close(plane.distance(p, q), (q - p).norm(dim=-1), rtol=1e-15, atol=0)
    assert torch.equal(plane.transport(p, q, q), q)
    assert torch.equal(plane.inner(p, p, q), (p * q).sum(-1))
    assert float(plane.curvature_tensor(p).abs().max()) == 0
    assert torch.equal(plane.metric_tensor(p), torch.eye(3).double().expand(4, 3, 3))
    flow = plane.geodesic_flow(p, q, torch.tensor([0.0, 2.0]).double())
    assert torch.equal(flow.positions[1], p + 2 * q)
    assert torch.equal(flow.velocities[1], q)
    start = p.requires_grad_()
    assert (
        float(torch.autograd.grad(plane.distance(start, p.detach()).sum(), start)[0].abs().max())
        == 0
    )


EVERY = {
    "plane": Euclidean(2),
    "sphere": Sphere(2),
    "lorentz": Lorentz(2),
    "ball": PoincareBall(2),
    "positive": PositiveDefinite(2),
    "given": RiemannianStructure(PoincareBall(2).metric_matrix, 2),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_geodesic_flow_begins_at_time_zero_and_broadcasts(name):
    """Many points with one velocity, and times that leave 0 out."""
    manifold = EVERY[name]
    x = doubles(3, manifold.dimension).abs() / 10 + 0.3
    if name == "positive":
        x = x * torch.tensor([3.0, 0.1, 3.0], dtype=x.dtype)
    p = manifold.from_coordinates(x)
    v = manifold.from_coordinates(doubles(manifold.dimension, seed=1) / 10)
    if name == "sphere":
        p, v = p[:1].expand(3, -1), manifold.project_tangent(p[0], v)
    times = torch.tensor([0.5, 1.0, 2.0], dtype=x.dtype)
    flow = manifold.geodesic_flow(p, v, times)
    assert flow.positions.shape == flow.velocities.shape == (3, *p.shape)
    for index, time in enumerate(times):
        end = manifold.exp(p, time * v)
        torch.testing.assert_close(flow.positions[index], end, rtol=0, atol=1e-8)
        moved = manifold.transport(p, end, v.expand_as(p))
        torch.testing.assert_close(flow.velocities[index], moved, rtol=0, atol=1e-8)


@pytest.mark.parametrize("size", [0, -3, 2.5, True])
@pytest.mark.parametrize("make", [Euclidean, Sphere, Lorentz, PoincareBall, PositiveDefinite])
def test_what_is_no_dimension_is_told(make, size):
    with pytest.raises(ArgumentError, match=r"(dimension|size): got .*expected an integer >= 1"):
        make(size)


def test_every_map_acts_on_each_part():
    manifold, x, y, (u, v) = product()
    p, q = manifold.from_coordinates(x), manifold.from_coordinates(y)
    manifold.check_point(p)
    assert manifold.dimension == 9
    assert p.shape == (5, 2 + 3 + 2 + 4)
    torch.testing.assert_close(manifold.coordinates(p), x, rtol=0, atol=1e-14)
    each = list(zip(PARTS, *map(manifold.parts, (p, q, u, v)), strict=True))
    distances = torch.stack([part.distance(a, b) for part, a, b, _, _ in each])
    torch.testing.assert_close(manifold.distance(p, q), distances.norm(dim=0))
    inner = sum(part.inner(a, c, d) for part, a, _, c, d in each)
    torch.testing.assert_close(manifold.metric_tensor(p, (u, v)), inner)
    for part, own in zip(each, manifold.parts(manifold.log(p, q)), strict=True):
        assert torch.equal(part[0].log(*part[1:3]), own)
    torch.testing.assert_close(manifold.exp(p, manifold.log(p, q)), q, rtol=0, atol=1e-13)
    carried = manifold.transport(p, q, u), manifold.transport(p, q, v)
    torch.testing.assert_close(manifold.inner(q, *carried), inner)
    # the inner product of tangents is that of their components in the chart
    one = torch.eye(9).double()[[0, 1, 7, 8], None].expand(-1, 5, -1)
    basis = [torch.func.jvp(manifold.from_coordinates, (x,), (e.clone(),))[1] for e in one]
    matrix = manifold.inner(p, torch.stack(basis)[:2], torch.stack(basis)[:2].flip(0))
    torch.testing.assert_close(manifold.metric_matrix(x)[:, 0, 1], matrix[0], rtol=0, atol=1e-14)
    matrix = manifold.inner(p, basis[2], basis[3])
    torch.testing.assert_close(manifold.metric_matrix(x)[:, 7, 8], matrix, rtol=0, atol=1e-14)


def test_curvature_is_the_sum_of_the_parts():
    manifold, x, _, _ = product()
    parts = x.split([part.dimension for part in PARTS], -1)
    total = sum(part.scalar_curvature(own) for part, own in zip(PARTS, parts, strict=True))
    torch.testing.assert_close(manifold.scalar_curvature(x), total, rtol=0, atol=1e-11)
    ball_and_sphere = ProductManifold(PoincareBall(2), Sphere(2))
    mixed = ball_and_sphere.curvature_tensor(doubles(3, 4))[:, :2, :2, 2:, 2:]
    assert float(mixed.abs().max()) < 1e-14


def test_shortest_ways_agree_with_those_of_the_metric_alone():
    """Closed forms of the factors against collocation in the chart of the product."""
    manifold, x, y, _ = product()
    numeric = RiemannianStructure(manifold.metric_matrix, 9)
    p, q = manifold.from_coordinates(x[:2]), manifold.from_coordinates(y[:2])
    torch.testing.assert_close(
        numeric.distance(x[:2], y[:2]), manifold.distance(p, q), rtol=0, atol=1e-10
    )


def test_distance_has_two_gradients_in_the_chart():
    manifold = ProductManifold(Sphere(1), PoincareBall(2))
    x, y = doubles(1, 3), doubles(1, 3, seed=1)

    def distance(x, y):
        return manifold.distance(manifold.from_coordinates(x), manifold.from_coordinates(y))

    inputs = x.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(distance, inputs)
    assert torch.autograd.gradgradcheck(distance, inputs)


def test_what_is_no_point_is_told():
    manifold, x, _, _ = product()
    p = manifold.from_coordinates(x)
    with pytest.raises(ArgumentError, match=r"point: got shape \[5, 10\], expected \[\*b, 11\]"):
        manifold.check_point(p[:, 1:])
    with pytest.raises(ArgumentError, match=r"point: .*sphere of radius 0.5"):
        manifold.check_point(2 * p)
    with pytest.raises(ArgumentError, match="factors: got none"):
        ProductManifold()
    with pytest.raises(ArgumentError, match="point: got NaN"):
        Euclidean(2).check_point(torch.tensor([0, math.nan]))
    with pytest.raises(ArgumentError, match="tangent: got"):
        Euclidean(2).exp(torch.zeros(2), torch.zeros(3))
