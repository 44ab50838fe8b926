"""Curve shortening against circles, Angenent's oval, and what is proven of embedded curves."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    curve_shortening_flow,
    curve_shortening_step,
    flow_singularities,
    grim_reaper,
)
from adaptive_attention_tiling.mathematics.dynamics.curve_flow import (
    curve_area,
    curve_curvature,
    curve_length,
)

DOUBLE = torch.float64


def around(k, radius=None):
    angle = torch.arange(k, dtype=DOUBLE) * 2 * math.pi / k
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    return circle if radius is None else circle * radius(angle)[:, None]


def star(k=50):
    return around(k, lambda angle: 1 + 0.4 * (5 * angle).cos())


def oval(time, k):
    """cos x = e^t cosh y, t < 0: an exact flow, two grim reapers far back in time."""
    angle = torch.arange(k, dtype=DOUBLE) * 2 * math.pi / k + 0.01
    x = math.acos(math.exp(time)) * angle.sin()
    y = (math.exp(-time) * x.cos()).clamp(min=1).acosh() * angle.cos().sign()
    return torch.stack([x, y], -1)


def from_oval(points, time):
    """Distances to the oval, to first order."""
    x, y = points.unbind(-1)
    slope = torch.stack([x.sin(), math.exp(time) * y.sinh()], -1).norm(dim=-1)
    return ((x.cos() - math.exp(time) * y.cosh()) / slope).abs().max()


def flowed(points, time, steps):
    for _ in range(steps):
        points = curve_shortening_step(points, time / steps)
    return points


@pytest.mark.parametrize(
    ("start", "defect", "area"),
    [
        pytest.param(
            lambda k: around(k),
            lambda p: (p.norm(dim=-1) - math.sqrt(0.6)).abs().max(),
            0.6 * math.pi,
            id="circle r^2 = 1 - 2 t",
        ),
        pytest.param(
            lambda k: oval(-2.0, k), lambda p: from_oval(p, -1.8), 3.6 * math.pi, id="oval"
        ),
    ],
)
def test_golden_curves_and_the_area_law_to_their_order(start, defect, area):
    errors, areas = [], []
    for k, steps in ((24, 5), (48, 20), (96, 80)):
        end = flowed(start(k), 0.2, steps)
        errors.append(float(defect(end)))
        areas.append(abs(float(curve_area(end)) - area))
    for row in (errors, areas):
        assert row[2] < 0.02
        assert 1.7 < math.log2(row[1] / row[2]) < 2.4
    assert float(from_oval(oval(-1.0, 30), -1.0)) < 1e-12


def test_the_end_of_a_long_oval_is_a_grim_reaper():
    # Near its tip cos x = e^t cosh y is y = -t + ln 2 + ln cos x, a reaper that moves down.
    points = oval(-12.0, 200)
    tip = points[(points[:, 1] > 9) & (points[:, 0].abs() < 1.2)]
    reaper = -grim_reaper(tip[:, 0], torch.tensor(-12.0 - math.log(2), dtype=DOUBLE))
    torch.testing.assert_close(tip[:, 1], reaper, rtol=0, atol=1e-6)


def test_lengths_never_grow_and_corners_grow_even():
    generator = torch.Generator().manual_seed(0)
    shapes = torch.stack([star(40), oval(-2.0, 40), around(40) * torch.tensor([3.0, 0.4])])
    rough = shapes + 0.02 * torch.randn(shapes.shape, dtype=DOUBLE, generator=generator)
    for step in (1e-5, 1e-2, 1.0, 100.0):
        after = curve_shortening_step(rough, step)
        assert bool((curve_length(after) < curve_length(rough)).all())
        for one, alone in zip(after, rough, strict=True):
            torch.testing.assert_close(one, curve_shortening_step(alone, step))
    turned = curve_shortening_step(rough.flip(-2), 0.01).flip(-2)
    torch.testing.assert_close(turned, curve_shortening_step(rough, 0.01))
    angle = torch.arange(20, dtype=DOUBLE) * 2 * math.pi / 20
    angle = angle + 0.4 * angle.sin()
    crowded = torch.stack([angle.cos(), angle.sin()], -1)
    ratios = []
    for points in (crowded, flowed(crowded, 0.3, 150)):
        spans = (points.roll(-1, 0) - points).norm(dim=-1)
        ratios.append(float(spans.max() / spans.min()))
    assert ratios[0] > 2.2
    assert ratios[1] < 1.4


def test_an_embedded_curve_turns_convex_then_round_and_is_gone_in_time():
    start = star()
    flow = curve_shortening_flow(start, largest_curvature=400.0, share=0.02)
    assert flow.singular
    assert bool((flow.lengths.diff() < 0).all())
    # dA/dt = -2 pi to the method's order.
    falling = -flow.areas.diff() / flow.times.diff() / (2 * math.pi)
    assert bool(((falling - 1).abs() < 0.05)[flow.times[1:] > 0.1].all())
    ratios = flow.isoperimetric_ratios
    assert float(ratios[0]) > 2.5
    assert float(ratios[-1]) == pytest.approx(1, abs=2e-3)
    bends = torch.stack([curve_curvature(points) for points in flow.points])
    convex = (bends > 0).all(-1)
    assert not bool(convex[0])
    first = int(convex.nonzero()[0])
    assert bool(convex[first:].all())
    assert bool((ratios[first:].diff() < 1e-4).all())
    (end,) = flow_singularities(flow, 100.0)
    assert end.kind == "point"
    assert end.time == pytest.approx(float(flow.areas[0]) / (2 * math.pi), rel=0.04)
    assert end.rate == pytest.approx(1 / 2, rel=0.03)
    assert float(end.place.norm()) < 0.1


def test_times_and_curvature_of_a_flow():
    flow = curve_shortening_flow(around(40), time=0.3, every=20)
    assert not flow.singular
    assert float(flow.times[-1]) == 0.3
    assert len(flow.times) < 10
    radii = flow.points.norm(dim=-1).mean(-1)
    torch.testing.assert_close(flow.curvatures, radii**-2, rtol=0.02, atol=0)
    torch.testing.assert_close(radii.square(), 1 - 2 * flow.times, rtol=0.02, atol=0)
    assert float(curve_curvature(around(40)).min()) > 0 > float(curve_curvature(
        around(40).flip(0)).max())  # fmt: skip
    assert flow.volumes.equal(flow.lengths)
    ellipse = torch.tensor([1.0, 2.0], dtype=DOUBLE) * around(40)
    flow = curve_shortening_flow(ellipse, time=0.01)
    assert flow.places[0].abs().tolist() == pytest.approx([0, 2], abs=1e-12)
    assert float(flow.curvatures[0]) == pytest.approx(4, rel=0.05)  # kappa = b / a^2


def test_the_singular_state_is_kept_whatever_every_is():
    flow = curve_shortening_flow(around(24), share=0.1, largest_curvature=20.0, every=7)
    assert flow.singular
    assert float(flow.curvatures[-2]) < 20 <= float(flow.curvatures[-1])


def test_gradients_and_float32():
    points = star(8).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: curve_shortening_step(p, 0.05), (points,))
    assert torch.autograd.gradgradcheck(
        lambda p: curve_area(curve_shortening_step(p, 0.05)), (points,), fast_mode=True
    )
    single = curve_shortening_step(star().float(), 0.01)
    torch.testing.assert_close(single, curve_shortening_step(star(), 0.01).float(), rtol=0,
                               atol=1e-5)  # fmt: skip


LINE = torch.stack([torch.tensor([0, 1, 2, 3, 2, 1.0]), torch.zeros(6)], -1)
TWICE = around(8)[[0, 1, 1, 2, 3, 4, 5, 6, 7]]
WINDING = 2 * math.pi * torch.arange(64, dtype=DOUBLE) / 64
LIMACON = (0.5 + WINDING.cos())[:, None] * torch.stack([WINDING.cos(), WINDING.sin()], -1)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: curve_shortening_step(around(8), 0.0), "step: got 0.0"),
        (lambda: curve_shortening_step(around(8), math.inf), "step: got inf"),
        (lambda: curve_shortening_step(around(4), 0.1), r"points: got torch.float64 \[4, 2\]"),
        (lambda: curve_shortening_step(around(8).mT, 0.1), r"points: got torch.float64 \[2, 8\]"),
        (lambda: curve_shortening_step(around(8).long(), 0.1), "points: got torch.int64"),
        (lambda: curve_shortening_flow(LIMACON), "points: got edges that cross"),
        (lambda: curve_shortening_flow(LIMACON.flip(0).roll(9, 0)), "points: got edges that cross"),
        (lambda: curve_shortening_flow(around(8)[[0, 1, 2, 3, 4, 6, 5, 7]]), "edges that cross"),
        (lambda: curve_shortening_step(math.nan * around(8), 0.1), "points: got NaN"),
        (lambda: curve_shortening_step(TWICE, 0.1), "points: got a corner twice"),
        (lambda: curve_shortening_step(LINE, 0.1), "points: got no area"),
        (lambda: curve_shortening_flow(around(9), time=0.5), "time: got 0.5"),
        (lambda: curve_shortening_flow(around(9), time=0.0), "time: got 0.0"),
        (lambda: curve_shortening_flow(around(9)[None]), "expected one curve"),
        (lambda: curve_shortening_flow(around(9), share=0.6), "share: got 0.6"),
        (lambda: curve_shortening_flow(around(9), every=0), "every: got 0"),
        (lambda: curve_shortening_flow(around(9), largest_curvature=0), "largest_curvature: got"),
    ],
)
def test_what_is_no_curve_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
