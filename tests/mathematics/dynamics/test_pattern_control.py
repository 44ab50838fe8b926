import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.pattern_control import Box, controlled

DOUBLE = torch.float64
STEPS = 4


def linear_problem():
    generator = torch.Generator().manual_seed(2)
    matrix = 0.4 * torch.randn(5, 5, generator=generator, dtype=DOUBLE)
    start, target = torch.randn(2, 5, generator=generator, dtype=DOUBLE)
    return matrix, start, target, lambda u, c: matrix @ u + c


def test_linear_flow_against_least_squares():
    matrix, start, target, advance = linear_problem()
    found = controlled(advance, start, target, steps=STEPS, effort=0.1, tolerance=1e-11)
    powers = [torch.linalg.matrix_power(matrix, STEPS - 1 - t) for t in range(STEPS)]
    reach = torch.cat(powers, 1)
    missing = target - torch.linalg.matrix_power(matrix, STEPS) @ start
    eye = torch.eye(5 * STEPS, dtype=DOUBLE)
    exact = torch.linalg.solve(reach.mT @ reach + 0.1 * eye, reach.mT @ missing)
    torch.testing.assert_close(found.forces.reshape(-1), exact, rtol=0, atol=1e-9)
    assert found.stationarity <= 1e-11
    torch.testing.assert_close(found.path[-1] - target, reach @ exact - missing, rtol=0, atol=1e-9)


def test_bounds_hold_and_the_minimum_is_one():
    _, start, target, advance = linear_problem()
    box = Box(-0.2, 0.1)
    found = controlled(advance, start, target, steps=STEPS, effort=0.1, box=box, tolerance=1e-10)
    forces = found.forces
    assert float(forces.max()) <= 0.1
    assert float(forces.min()) >= -0.2
    assert bool((forces == 0.1).any())
    assert bool((forces == -0.2).any())
    assert found.stationarity <= 1e-10
    assert all(b <= a for a, b in zip(found.objectives, found.objectives[1:], strict=False))
    free = controlled(advance, start, target, steps=STEPS, effort=0.1)
    assert free.objectives[-1] < found.objectives[-1] < found.objectives[0]

    # Convex: no other forces inside do better.
    def objective(c):
        field = start
        for force in c:
            field = advance(field, force)
        return float((field - target).square().mean() + 0.1 * c.square().mean(1).sum()) / 2

    assert objective(forces) == pytest.approx(found.objectives[-1], abs=1e-14)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        nudge = 0.05 * torch.randn(STEPS, 5, generator=generator, dtype=DOUBLE)
        assert objective(box.project(forces + nudge)) >= found.objectives[-1]


def test_a_box_without_zero_starts_at_its_edge():
    _, start, target, advance = linear_problem()
    found = controlled(advance, start, target, steps=2, box=Box(lower=0.3))
    assert float(found.forces.min()) >= 0.3


def test_what_cannot_be_steered_is_told():
    _, start, target, advance = linear_problem()
    with pytest.raises(ArgumentError, match="target: got"):
        controlled(advance, start, target[:3], steps=2)
    with pytest.raises(ArgumentError, match="target: got"):
        controlled(advance, start, target * math.nan, steps=2)
    with pytest.raises(ArgumentError, match="steps: got"):
        controlled(advance, start, target, steps=0)
    with pytest.raises(ArgumentError, match="effort: got"):
        controlled(advance, start, target, steps=2, effort=0.0)
    with pytest.raises(ArgumentError, match="box: got"):
        controlled(advance, start, target, steps=2, box=Box(1.0, 0.0))
    with pytest.raises(ArgumentError, match="advance: got"):
        controlled(lambda u, c: (u + c) / 0, start, target, steps=2)
