import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.exact_flows import (
    cigar_metric,
    curve_shortening_area,
    curve_shortening_circle,
    grim_reaper,
    mean_curvature_extinction,
    mean_curvature_flow_sphere,
    ricci_flow_area,
    ricci_flow_extinction,
    ricci_flow_hyperbolic,
    ricci_flow_sphere,
)
from adaptive_attention_tiling.mathematics.geometry.riemannian import RiemannianStructure
from adaptive_attention_tiling.mathematics.runge_kutta import integrate

DOUBLE = torch.float64


def number(value):
    return torch.tensor(value, dtype=DOUBLE)


ONE, TENTH = number(1.0), number(0.1)


@pytest.mark.parametrize(
    ("found", "golden"),
    [
        pytest.param(ricci_flow_extinction(ONE, 2), 0.5, id="Ricci-flow S^2 T"),
        pytest.param(ricci_flow_extinction(ONE, 3), 0.25, id="Ricci-flow S^3 T"),
        pytest.param(ricci_flow_sphere(ONE, TENTH, 3), 0.774596669241, id="Ricci-flow S^3 r(0.1)"),
        pytest.param(
            ricci_flow_area(number(4 * math.pi), TENTH, 2), 10.0530964915, id="S^2 A(0.1)"
        ),
        pytest.param(mean_curvature_flow_sphere(ONE, TENTH, 2), 0.774596669241, id="MCF sphere"),
        pytest.param(curve_shortening_circle(ONE, TENTH), 0.894427191, id="curve shortening"),
        pytest.param(mean_curvature_extinction(ONE, 2), 0.25, id="MCF T"),
        pytest.param(ricci_flow_hyperbolic(ONE, TENTH, 2), math.sqrt(1.2), id="H^2 grows"),
    ],
)
def test_golden_flows(found, golden):
    assert float(found) == pytest.approx(golden, rel=1e-11)


def round_sphere(radius, dimension):
    """Spherical coordinates: r^2 (d a^2 + sin^2 a (d b^2 + sin^2 b ...))."""

    def metric(angles):
        sines = torch.ones_like(angles[..., :1])
        scales = [sines]
        for axis in range(dimension - 1):
            scales.append(scales[-1] * angles[..., axis : axis + 1].sin().square())
        return radius**2 * torch.diag_embed(torch.cat(scales, -1))

    return RiemannianStructure(metric, dimension, checks=False)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_radius_follows_the_curvature_of_its_sphere(dimension):
    point = torch.full((dimension,), 1.1, dtype=DOUBLE)

    def shrinking(_, radius):
        # g = r^2 h moves by d(r^2)/dt h = -2 Ric.
        sphere = round_sphere(radius, dimension)
        return -sphere.ricci_tensor(point)[0, 0] * radius / sphere.metric_matrix(point)[0, 0]

    times = torch.linspace(0, 0.1, 2, dtype=DOUBLE)
    found = integrate(shrinking, ONE, times, method="rk4", steps=4)
    expected = ricci_flow_sphere(ONE, times, dimension)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
def test_hyperbolic_space_grows_by_its_curvature(dimension):
    # The ball of curvature -1/r^2: d(r^2)/dt h = -2 Ric with g = r^2 h.
    def ball(x):
        scale = 4 * 1.7**2 / (1 - x.square().sum(-1)) ** 2
        return scale[..., None, None] * torch.eye(dimension, dtype=DOUBLE)

    point = torch.full((dimension,), 0.3, dtype=DOUBLE)
    tensor = RiemannianStructure(ball, dimension).ricci_tensor(point)
    change = -2 * tensor * 1.7**2
    torch.testing.assert_close(change, 2 * (dimension - 1) * ball(point))
    grown = ricci_flow_hyperbolic(number(1.7), TENTH, dimension).square() - 1.7**2
    torch.testing.assert_close(change * TENTH, grown * ball(point))


def test_the_area_law_is_gauss_bonnet():
    # A(t) of the sphere, and the law of area with chi = 2.
    times = torch.linspace(0, 0.45, 10, dtype=DOUBLE)
    areas = 4 * math.pi * ricci_flow_sphere(ONE, times, 2).square()
    torch.testing.assert_close(areas, ricci_flow_area(number(4 * math.pi), times, 2))
    assert ricci_flow_area(ONE, times, 0).tolist() == [1.0] * 10
    assert bool((ricci_flow_area(ONE, times, -2).diff() > 0).all())
    # A circle's area, and that of any closed curve.
    enclosed = math.pi * curve_shortening_circle(ONE, times).square()
    torch.testing.assert_close(enclosed, curve_shortening_area(number(math.pi), times))


def test_the_cigar_is_a_ricci_flow():
    places = torch.randn(6, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    for time in (0.0, 0.3):
        t = number(time)
        surface = RiemannianStructure(lambda x, t=t: cigar_metric(x, t), 2)
        _, change = torch.func.jvp(lambda s: cigar_metric(places, s), (t,), (torch.ones_like(t),))
        torch.testing.assert_close(
            change, -2 * surface.ricci_tensor(places), rtol=1e-11, atol=1e-13
        )
    surface = RiemannianStructure(lambda x: cigar_metric(x, number(0.0)), 2)
    curvature = surface.scalar_curvature(places) / 2
    torch.testing.assert_close(curvature, 2 / (1 + places.square().sum(-1)), rtol=1e-11, atol=0)
    at_one = surface.scalar_curvature(torch.tensor([1.0, 0.0], dtype=DOUBLE))
    assert float(at_one) == pytest.approx(2, abs=1e-13)


def test_the_grim_reaper_moves_by_its_curvature():
    x = torch.linspace(-1.2, 1.2, 9, dtype=DOUBLE, requires_grad=True)
    y = grim_reaper(x, number(0.4))
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    # y_t = y_xx / (1 + y_x^2), and here y_t = 1.
    torch.testing.assert_close(bend / (1 + slope.detach() ** 2), torch.ones(9, dtype=DOUBLE))


def test_gradients_and_batches():
    radius = torch.tensor([[1.0], [2.0]], dtype=DOUBLE, requires_grad=True)
    time = torch.tensor([0.05, 0.1], dtype=DOUBLE, requires_grad=True)
    for flow in (ricci_flow_sphere, ricci_flow_hyperbolic, mean_curvature_flow_sphere):
        assert torch.autograd.gradcheck(lambda r, t, flow=flow: flow(r, t, 3), (radius, time))
        together = flow(radius, time, 3)
        assert torch.equal(together[1, 0], flow(radius[1, 0], time[0], 3))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: ricci_flow_sphere(ONE, number(0.5), 2), r"time: got 0.5, .* t < r\(0\)\^2 / 2"),
        (lambda: ricci_flow_sphere(-ONE, TENTH, 2), "radius: got -1.0"),
        (lambda: ricci_flow_sphere(ONE, TENTH, 1), "dimension: got 1"),
        (lambda: ricci_flow_sphere(number(math.nan), TENTH, 2), "radius: got nan"),
        (lambda: ricci_flow_area(ONE, ONE, 2), r"t < A\(0\) / \(4 pi chi\)"),
        (lambda: curve_shortening_area(ONE, ONE), r"t < A\(0\) / \(2 pi\)"),
        (lambda: grim_reaper(number(2.0), ONE), "place: "),
    ],
)  # fmt: skip
def test_what_is_gone_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
