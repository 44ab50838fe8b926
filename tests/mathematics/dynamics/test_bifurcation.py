import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.bifurcation import continued, fold_point

DOUBLE = torch.float64


def bratu(points):
    """u'' + lambda exp(u) = 0 on (0, 1), u(0) = u(1) = 0, by central differences."""
    width = 1 / (points + 1)

    def residual(u, parameter):
        inside = torch.nn.functional.pad(u, (1, 1))
        second = (inside[2:] - 2 * u + inside[:-2]) / width**2
        return second + parameter * u.exp()

    return residual


def bratu_fold(points):
    # Near the fold u is not far from 1.2 sin(pi x) 1.0, with lambda about 3.5.
    x = torch.arange(1, points + 1, dtype=DOUBLE) / (points + 1)
    return fold_point(bratu(points), 1.2 * (math.pi * x).sin(), 3.5)


def exact_bratu_fold():
    t = 1.2
    for _ in range(50):
        t -= (t * math.tanh(t) - 1) / (math.tanh(t) + t / math.cosh(t) ** 2)
    return 8 * t * t / math.cosh(t) ** 2


def test_golden_bratu_fold():
    fine, coarse = bratu_fold(199), bratu_fold(99)
    assert float(fine.parameter) == pytest.approx(3.51378501639, abs=1e-9)
    extrapolated = float(4 * fine.parameter - coarse.parameter) / 3
    assert extrapolated == pytest.approx(3.51383072053, abs=2e-9)
    exact = exact_bratu_fold()
    assert exact == pytest.approx(3.51383071913, abs=1e-11)
    assert extrapolated == pytest.approx(exact, abs=3e-9)
    # Second order: halving the width takes three quarters of the error.
    errors = [exact - float(fold.parameter) for fold in (coarse, fine)]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.01)


def test_the_branch_turns_back_at_the_fold():
    points = 49
    branch = continued(bratu(points), torch.zeros(points, dtype=DOUBLE), 0.5, step=0.7, steps=16)
    (turn,) = branch.folds()
    fold = fold_point(bratu(points), branch.states[turn], float(branch.parameters[turn]))
    assert float(branch.parameters.max()) <= float(fold.parameter) + 1e-9
    assert float(branch.parameters.max()) == pytest.approx(float(fold.parameter), abs=0.05)
    for state, parameter in zip(branch.states, branch.parameters, strict=True):
        assert float(bratu(points)(state, parameter).abs().max()) < 1e-9
    lengths = branch.tangents.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    # Beyond the fold the upper solutions: more u at less lambda.
    assert float(branch.states[-1].max()) > float(fold.state.max())


def test_a_circle_is_followed_all_around():
    def circle(u, parameter):
        return u * u + parameter * parameter - 1

    branch = continued(circle, torch.tensor([0.9], dtype=DOUBLE), 0.3, step=0.1, steps=66)
    radii = branch.states[:, 0].square() + branch.parameters.square()
    torch.testing.assert_close(radii, torch.ones_like(radii))
    assert len(branch.folds()) == 2
    assert float(branch.states.min()) == pytest.approx(-1, abs=5e-3)
    other = continued(
        circle, torch.tensor([0.9], dtype=DOUBLE), 0.3, step=0.05, steps=2, direction=-1
    )
    assert bool((other.parameters.diff() < 0).all())
    fold = fold_point(circle, torch.tensor([0.1], dtype=DOUBLE), 0.9)
    assert float(fold.parameter) == pytest.approx(1, abs=1e-12)
    assert fold.residual < 1e-9


def test_a_fold_in_two_dimensions():
    # x = p is a saddle-node at p = 1/4 of x^2 - x + p, driven through y.
    def residual(u, parameter):
        x, y = u
        return torch.stack([x * x - x + parameter + y, y * (2 + x)])

    fold = fold_point(residual, torch.tensor([0.4, 0.1], dtype=DOUBLE), 0.2)
    assert fold.state.tolist() == pytest.approx([0.5, 0.0], abs=1e-10)
    assert float(fold.parameter) == pytest.approx(0.25, abs=1e-12)
    assert fold.null_vector.abs().tolist() == pytest.approx([1, 0], abs=1e-10)


def test_what_the_equation_depends_on_may_need_gradients():
    scale = torch.tensor(2.0, dtype=DOUBLE, requires_grad=True)

    def residual(u, parameter):
        return scale * u * u - u + parameter

    branch = continued(residual, torch.tensor([0.0], dtype=DOUBLE), 0.0, step=0.02, steps=20)
    assert len(branch.folds()) == 1
    fold = fold_point(residual, torch.tensor([0.2], dtype=DOUBLE), 0.1)
    assert float(fold.parameter.detach()) == pytest.approx(1 / 8, abs=1e-12)
    (slope,) = torch.autograd.grad(fold.parameter, scale)
    assert float(slope) == pytest.approx(-1 / 16, abs=1e-9)


def test_what_has_no_solution_is_told():
    def nowhere(u, parameter):
        return u * u + 1 + 0 * parameter

    start = torch.tensor([0.3], dtype=DOUBLE)
    with pytest.raises(ArgumentError, match="Newton's method fails"):
        continued(nowhere, start, 0.0, step=0.1, steps=3)
    with pytest.raises(ArgumentError, match="step: got"):
        continued(nowhere, start, 0.0, step=-0.1, steps=3)
    with pytest.raises(ArgumentError, match="expected a fold"):
        fold_point(lambda u, parameter: u.exp() + parameter * u * 0, start, 0.0)
