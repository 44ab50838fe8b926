import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.ricci_flow import (
    rotational_curvatures,
    rotational_ricci_flow,
)

DOUBLE = torch.float64


def profile(points, neck=1.0):
    """sin s (1 - (1 - neck) sin^2 s): the unit sphere, or a dumbbell with a waist."""
    height = torch.linspace(0, math.pi, points, dtype=DOUBLE).sin()
    height[-1] = 0
    return height * (1 - (1 - neck) * height.square())


@pytest.mark.parametrize(("dimension", "end"), [(2, 1 / 2), (3, 1 / 4)])
def test_golden_extinction_of_spheres(dimension, end):
    flow = rotational_ricci_flow(
        profile(11), math.pi, dimension=dimension, largest_curvature=150.0, every=20
    )
    assert flow.singular
    assert float(flow.times[-1]) == pytest.approx(end, rel=0.01)
    # r^2 = 1 - 2 (n - 1) t, and round all the time.
    radii = flow.radii.amax(-1)
    exact = 1 - flow.times / end
    torch.testing.assert_close(radii.square(), exact, rtol=0, atol=1e-3)
    torch.testing.assert_close(flow.lengths, math.pi * radii, rtol=1e-3, atol=0)


def test_curvatures_of_the_sphere_and_their_order():
    errors = []
    for points in (21, 41):
        along, across = rotational_curvatures(profile(points), torch.tensor(math.pi, dtype=DOUBLE))
        errors.append(float(torch.stack([along - 1, across - 1]).abs().max()))
    assert math.log2(errors[0] / errors[1]) > 1.9
    along, across = rotational_curvatures(
        torch.stack([profile(41), 2 * profile(41)]), math.pi * torch.tensor([1.0, 2.0]).double()
    )
    torch.testing.assert_close(along[0], 4 * along[1])
    torch.testing.assert_close(across[0], 4 * across[1])


def test_a_dumbbell_pinches_at_its_neck():
    flow = rotational_ricci_flow(profile(31, 0.15), math.pi, largest_curvature=300.0, every=1)
    assert flow.singular
    necks, times = flow.radii[:, 15], flow.times
    assert bool((necks.diff() < 0).all())
    assert float(necks[-1]) < 0.06
    # At a waist psi_ss >= 0, so that its square falls at 2 (n - 2) at most, and nearly so at last.
    falling = -necks.square().diff() / times.diff()
    assert float(falling.max()) <= 2
    assert float(falling[-1]) > float(falling[0]) > 1
    # Both bells outlive it, far from a point.
    assert float(flow.radii[-1].max()) > 0.3
    assert float(flow.lengths[-1]) > 3
    slopes = flow.radii.diff(dim=-1) / flow.lengths[:, None] * 30
    assert float(slopes.abs().max()) <= 1
    finer = rotational_ricci_flow(profile(41, 0.15), math.pi, largest_curvature=300.0)
    assert float(finer.times[-1]) == pytest.approx(float(times[-1]), rel=2e-3)


def test_a_dumbbell_of_dimension_two_grows_round_and_obeys_the_area_law():
    flow = rotational_ricci_flow(profile(31, 0.5), math.pi, dimension=2, time=0.2, every=40)
    assert not flow.singular
    assert float(flow.times[-1]) == 0.2
    areas = 2 * math.pi * flow.radii.sum(-1) * flow.lengths / 30
    # dA/dt = -4 pi chi = -8 pi, by Gauss and Bonnet.
    torch.testing.assert_close(areas, areas[0] - 8 * math.pi * flow.times, rtol=0, atol=0.02)
    shape = flow.radii.amax(-1) / flow.lengths * math.pi
    assert abs(float(shape[-1]) - 1) < 0.5 * abs(float(shape[0]) - 1)
    waist = flow.radii[:, 15] / flow.radii.amax(-1)
    assert float(waist[-1]) > float(waist[0])


def test_what_cannot_flow_is_told():
    good = profile(11)
    for radii in (good[:5], good[None], -good, 2 * good, good + 0.1, good.flip(0) * math.nan):
        with pytest.raises(ArgumentError, match="radii: got"):
            rotational_ricci_flow(radii, math.pi)
    bad = {"dimension": (1, 4), "time": (0.0,), "largest_curvature": (-1.0, math.inf)}
    for name, value in ((name, value) for name, values in bad.items() for value in values):
        with pytest.raises(ArgumentError, match=f"{name}: got"):
            rotational_ricci_flow(good, math.pi, **{name: value})
    with pytest.raises(ArgumentError, match="length: got"):
        rotational_ricci_flow(good, 0.0)
