import pytest
import torch

from adaptive_attention_tiling.evaluation.theory.resolution_convergence import (
    DoubleWell,
    compromise,
    limits,
    mode,
    relaxation,
    rest,
    roughness,
    stiffness_of,
)


@pytest.mark.parametrize("time_step", [1.0, 10.0])
def test_a_quadratic_energy_falls_to_its_known_limit(time_step):
    found = relaxation(time_step)
    assert found.errors[0] > 0.4
    assert found.errors[-1] < 1e-8
    assert found.rate == pytest.approx(1 / (1 + time_step), rel=1e-3)
    assert found.energies[-1] < 0.5 * found.energies[0]
    assert found.rise <= 1e-15
    assert 0 < found.roughness <= 1


def test_waves_are_modes_of_the_laplacian():
    wave = mode(7, 3)
    ends = torch.cat([wave[:1], wave, wave[-1:]])
    assert torch.allclose(ends.diff().diff(), -stiffness_of(7, 3) * wave)


def test_golden_roughness():
    assert roughness(torch.tensor([0.1, 0.4, 0.4, 0.2])) == pytest.approx(0.5 * (0.09 + 0.04))


def test_the_limit_is_a_minimum_of_f_and_not_of_e():
    apart, tied = compromise(0.0), compromise(1.0)
    assert max(apart.slope_of_f, apart.slope_of_e, tied.slope_of_f) < 1e-10
    # Flattened to 1 / (1 + stiffness) of its swing of 0.3; where the wave is highest, cos(pi / 8).
    flattened = 1 / (1 + stiffness_of(16, 4))
    highest = float(mode(16, 4).max())
    assert tied.slope_of_e == pytest.approx(0.3 * highest * (1 - flattened))
    assert apart.energy < 1e-20 < 0.04 < tied.energy


def test_a_flat_field_grows_rougher_and_less_so_where_it_diffuses():
    found = [compromise(diffusion) for diffusion in (0.0, 1.0, 10.0)]
    assert all(one.roughness_start == 0 for one in found)
    ends = [one.roughness_end for one in found]
    assert ends == sorted(ends, reverse=True)
    assert ends[-1] > 0


def test_two_wells_have_two_limits_and_a_ridge_between():
    low, high, ridge = (rest("", value, tiles=4) for value in (0.4, 0.7, 0.55))
    assert max(low.slope, high.slope, ridge.slope) < 1e-9
    assert (low.mean, high.mean) == (pytest.approx(0.25), pytest.approx(0.85))
    assert min(low.curvature, high.curvature) > 0.1
    assert ridge.mean == pytest.approx(0.55)
    assert ridge.curvature < -0.05
    assert ridge.energy > max(low.energy, high.energy) + 0.005


def test_ties_between_tiles_leave_fewer_limits_but_never_one():
    free, tied = (limits(diffusion, tiles=3, starts=24) for diffusion in (0.0, 0.3))
    assert max(free.worst_slope, tied.worst_slope) < 1e-9
    assert 4 < free.limits <= 8
    assert tied.limits == 2


def test_double_well_slope_and_curvature_are_its_derivatives():
    at = torch.linspace(0.1, 1, 10, dtype=torch.float64, requires_grad=True)
    well = DoubleWell(torch.full_like(at, 3.0))
    (slope,) = torch.autograd.grad(well.value(at).sum(), at, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), at)
    assert torch.allclose(slope, well.slope(at))
    assert torch.allclose(curvature, well.curvature(at))
