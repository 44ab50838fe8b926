import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.pattern_control import Box
from adaptive_attention_tiling.mathematics.dynamics.pattern_dynamics import PatternDynamics
from adaptive_attention_tiling.mathematics.dynamics.pattern_stability import growth_rate
from adaptive_attention_tiling.mathematics.dynamics.periodic_grid import PeriodicGrid
from adaptive_attention_tiling.mathematics.dynamics.reaction_diffusion import reaction_diffusion
from adaptive_attention_tiling.mathematics.dynamics.reaction_kinetics import (
    Brusselator,
    Schnakenberg,
)

DOUBLE = torch.float64
REST = Schnakenberg(0.1, 0.9).steady_state()
WAVE = 2 * math.pi / 10


def schnakenberg(ratio=10.0, points=16, length=10.0):
    diffusion = torch.tensor([1.0, ratio], dtype=DOUBLE)
    grid = PeriodicGrid((points,), (length,))
    return PatternDynamics(grid, diffusion, lambda u, b: Schnakenberg(0.1, b)(u), 0.9)


def homogeneous(system):
    return REST.expand(*system.grid.points, 2).clone()


def test_steps_are_those_of_the_flow():
    system = schnakenberg()
    state = homogeneous(system) + 0.1 * (WAVE * system.grid.coordinates()).cos()
    flow = reaction_diffusion(system.grid, system.diffusion, Schnakenberg(0.1, 0.9))
    wanted = flow.evolve(state, step=0.1, steps=3)
    torch.testing.assert_close(system.reaction_diffusion(state, steps=3), wanted)
    other = torch.tensor([0.5, 2.0], dtype=DOUBLE)
    kinetics = Brusselator(1.0, 1.5)
    wanted = reaction_diffusion(system.grid, other, kinetics).evolve(state, step=0.1, steps=1)
    torch.testing.assert_close(system.reaction_diffusion(state, other, kinetics), wanted)


@pytest.mark.parametrize(("ratio", "stable"), [(10.0, False), (8.0, True)], ids=["d=10", "d=8"])
def test_golden_stability_of_rest_is_the_dispersion_relation(ratio, stable):
    system = schnakenberg(ratio)
    waves = WAVE * torch.arange(9, dtype=DOUBLE)
    rates = growth_rate(Schnakenberg(0.1, 0.9), REST, system.diffusion, waves)
    rest = homogeneous(system)
    wave = (WAVE * system.grid.coordinates()).cos() * torch.tensor([1.0, -0.3], dtype=DOUBLE)
    found = system.stability_analysis(rest, wave)
    assert found.residual < 1e-14
    assert len(found.eigenvalues) == 32
    assert float(found.growth_rate) == pytest.approx(float(rates.max()), abs=1e-12)
    assert bool(found.growth_rate < 0) == stable
    # d/dt ln |v| of what sets off along the wave.
    system.step = 1e-3
    ahead = system.reaction_diffusion(rest + 1e-6 * wave) - rest
    slope = (ahead.norm() / (1e-6 * wave.norm())).log() / 1e-3
    assert float(found.perturbation_rate) == pytest.approx(float(slope), rel=5e-2)


def test_a_pattern_is_stable_up_to_translation():
    system = schnakenberg()
    rest = homogeneous(system)
    start = rest + 0.1 * (WAVE * system.grid.coordinates()).cos()
    system.step = 0.5
    pattern = system.reaction_diffusion(start, steps=800)
    moved = pattern.roll(1, 0) - pattern.roll(-1, 0)
    found = system.stability_analysis(pattern, moved)
    assert found.residual < 1e-10
    assert float(found.growth_rate.abs()) < 1e-4
    assert float(found.eigenvalues[1].real) < -1e-3


def test_golden_brusselator_branch_has_its_hopf_and_turing_points():
    grid = PeriodicGrid((4,), (2 * math.pi / 1.06066017178**0.5,))
    diffusion = torch.tensor([1.0, 1.0], dtype=DOUBLE)
    system = PatternDynamics(grid, diffusion, lambda u, b: Brusselator(3.0, b)(u), 9.0)
    start = torch.tensor([3.0, 3.0], dtype=DOUBLE).expand(4, 2)
    diagram = system.bifurcation_analysis(start, 9.0, (8.0, 11.0), step=0.3, steps=12)
    assert float(diagram.hopfs[0].parameter) == pytest.approx(10, abs=1e-9)
    assert float(diagram.hopfs[0].frequency) == pytest.approx(3, abs=1e-9)
    assert float(diagram.branch.parameters.max()) <= 11
    assert torch.equal(diagram.stable, diagram.branch.parameters < 10)
    # Unequal diffusion: waves grow before oscillations do, at B_T = 4.2463.
    system.diffusion = torch.tensor([1.0, 8.0], dtype=DOUBLE)
    start = torch.tensor([3.0, 4 / 3], dtype=DOUBLE).expand(4, 2)
    diagram = system.bifurcation_analysis(start, 4.0, (4.0, 4.5), step=0.05, steps=12)
    assert torch.equal(diagram.stable, diagram.branch.parameters < 4.24632034356)
    assert bool(diagram.stable.any())
    assert not bool(diagram.stable.all())


def test_control_holds_an_unstable_rest_and_keeps_its_bounds():
    system = schnakenberg(points=8)
    rest = homogeneous(system)
    current = rest + 0.1 * (WAVE * system.grid.coordinates()).cos()
    system.step = 0.2
    bounds = [Box(lower=-0.05), Box(upper=0.04)]
    found = system.pattern_control(current, rest, bounds, steps=6, iterations=10)
    assert float(found.forces.max()) <= 0.04
    assert float(found.forces.min()) >= -0.05
    assert all(b <= a for a, b in zip(found.objectives, found.objectives[1:], strict=False))
    alone = system.reaction_diffusion(current, steps=6)
    torch.testing.assert_close(found.path[0], current)
    assert float((found.path[-1] - rest).norm()) < 0.5 * float((alone - rest).norm())
    bounded = found.objectives[-1]
    free = system.pattern_control(current, rest, steps=6, iterations=10)
    assert free.objectives[-1] < bounded


def test_what_cannot_be_used_is_told():
    system = schnakenberg()
    rest = homogeneous(system)
    for wave in (0 * rest, rest[:3]):
        with pytest.raises(ArgumentError, match="perturbation: got"):
            system.stability_analysis(rest, wave)
    with pytest.raises(ArgumentError, match="pattern: got"):
        system.stability_analysis(rest[None], rest[None])
    large = schnakenberg(points=2000)
    with pytest.raises(ArgumentError, match="coarser grid"):
        large.stability_analysis(homogeneous(large), homogeneous(large))
    with pytest.raises(ArgumentError, match="range: got"):
        system.bifurcation_analysis(rest, 0.9, (1.0, 2.0))
    system.method = "euler"
    with pytest.raises(ArgumentError, match="euler stops being stable"):
        system.pattern_control(rest, rest)
    system.method = "etdrk4"
    with pytest.raises(ArgumentError, match="box: got"):
        system.pattern_control(rest, rest, [Box(upper=-1.0), Box(lower=1.0)])
