import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.bifurcation import continued
from adaptive_attention_tiling.mathematics.dynamics.branch_stability import (
    bifurcation_diagram,
    hopf_point,
)
from adaptive_attention_tiling.mathematics.dynamics.reaction_kinetics import Brusselator

DOUBLE = torch.float64
BETA = 8 / 3


def lorenz(u, rho):
    x, y, z = u
    return torch.stack([10 * (y - x), x * (rho - z) - y, x * y - BETA * z])


def lorenz_rest(rho):
    root = math.sqrt(BETA * (rho - 1))
    return torch.tensor([root, root, rho - 1], dtype=DOUBLE)


def test_golden_lorenz_hopf():
    branch = continued(lorenz, lorenz_rest(20.0), 20.0, step=1.0, steps=8)
    diagram = bifurcation_diagram(lorenz, branch)
    (hopf,) = diagram.hopfs
    assert float(hopf.parameter) == pytest.approx(470 / 19, abs=1e-11)
    assert float(hopf.parameter) == pytest.approx(24.7368421053, abs=1e-10)
    assert float(hopf.frequency) == pytest.approx(math.sqrt(BETA * (10 + 470 / 19)), abs=1e-10)
    assert diagram.folds == []
    below = branch.parameters < 470 / 19
    assert torch.equal(diagram.stable, below)
    assert bool(below.any())
    assert not bool(below.all())
    torch.testing.assert_close(hopf.state, lorenz_rest(470 / 19))


def test_golden_brusselator_hopf():
    def residual(u, b):
        return Brusselator(3.0, b)(u)

    hopf = hopf_point(residual, torch.tensor([3.0, 3.2], dtype=DOUBLE), 9.5)
    assert float(hopf.parameter) == pytest.approx(10, abs=1e-11)
    assert float(hopf.frequency) == pytest.approx(3, abs=1e-11)


def test_pairs_that_turn_real_are_no_hopf_points():
    # Brusselator with A = 1: oscillations from B = 2 on, a node instead of a focus from B = 4 on.
    def residual(u, b):
        return Brusselator(1.0, b)(u)

    start = torch.tensor([1.0, 1.5], dtype=DOUBLE)
    diagram = bifurcation_diagram(residual, continued(residual, start, 1.5, step=0.3, steps=15))
    assert float(diagram.branch.parameters[-1]) > 4.2
    assert float(diagram.eigenvalues[-1].imag.abs().max()) == 0
    (hopf,) = diagram.hopfs
    assert float(hopf.parameter) == pytest.approx(2, abs=1e-11)
    assert float(hopf.frequency) == pytest.approx(1, abs=1e-11)

    # Two real rates that cross together, as those of a wave's sine and cosine.
    def doubled(u, p):
        return p * u - u**3

    both = continued(doubled, torch.zeros(2, dtype=DOUBLE), -0.95, step=0.3, steps=6)
    assert bifurcation_diagram(doubled, both).hopfs == []


def test_golden_bratu_fold_changes_stability():
    points = 19
    width = 1 / (points + 1)

    def bratu(u, parameter):
        inside = torch.nn.functional.pad(u, (1, 1))
        return (inside[2:] - 2 * u + inside[:-2]) / width**2 + parameter * u.exp()

    branch = continued(bratu, torch.zeros(points, dtype=DOUBLE), 0.5, step=0.5, steps=16)
    diagram = bifurcation_diagram(bratu, branch)
    (fold,) = diagram.folds
    # Second order: 4.6e-5 at 199 points, a hundred times as much here.
    assert float(fold.parameter) == pytest.approx(3.51383071913, abs=5.5e-3)
    (turn,) = branch.folds()
    assert diagram.stable[: turn + 1].all()
    assert not diagram.stable[turn + 1 :].any()
    assert diagram.hopfs == []


def test_oracle_numpy_rates():
    branch = continued(lorenz, lorenz_rest(20.0), 20.0, step=1.0, steps=2)
    diagram = bifurcation_diagram(lorenz, branch)
    x, y, z = branch.states[1].tolist()
    rho = float(branch.parameters[1])
    matrix = torch.tensor([[-10, 10, 0], [rho - z, -1, -x], [y, x, -BETA]], dtype=DOUBLE)
    found, wanted = diagram.eigenvalues[1], torch.linalg.eigvals(matrix)
    assert sorted(found.real.tolist()) == pytest.approx(sorted(wanted.real.tolist()))


def test_what_has_no_hopf_point_is_told():
    with pytest.raises(ArgumentError, match="a complex pair"):
        hopf_point(lambda u, p: p - u**2, torch.ones(2, dtype=DOUBLE), 1.0)

    def damped(u, p):
        return torch.stack([u[1], -u[0] - (1 + p * p) * u[1]])

    with pytest.raises(ArgumentError, match="expected a Hopf point"):
        hopf_point(damped, torch.zeros(2, dtype=DOUBLE), 0.3)
