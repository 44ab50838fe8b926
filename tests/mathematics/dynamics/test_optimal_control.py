import math

import numpy as np
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.optimal_control import (
    linear_quadratic_regulator,
    lyapunov_solution,
)

DOUBLE = torch.float64


def random_system(n, m, batch=(), seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*batch, *shape, generator=generator, dtype=DOUBLE)

    a, b, q, r = normal(n, n), normal(n, m), normal(n, n), normal(m, m)
    return a, b, q @ q.mT, r @ r.mT + torch.eye(m, dtype=DOUBLE)


def double_integrator():
    a = torch.tensor([[0.0, 1], [0, 0]], dtype=DOUBLE)
    b = torch.tensor([[0.0], [1]], dtype=DOUBLE)
    return a, b, torch.eye(2, dtype=DOUBLE), torch.eye(1, dtype=DOUBLE)


def test_golden_double_integrator():
    found = linear_quadratic_regulator(*double_integrator())
    root = math.sqrt(3)
    assert root == pytest.approx(1.73205080757, abs=1e-11)
    wanted = torch.tensor([[root, 1], [1, root]], dtype=DOUBLE)
    torch.testing.assert_close(found.cost_matrix, wanted, rtol=0, atol=1e-13)
    torch.testing.assert_close(found.gain[0], wanted[1], rtol=0, atol=1e-13)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 2), (12, 3)])
def test_against_scipy(n, m):
    linalg = pytest.importorskip(
        "scipy.linalg", reason="scipy, of the oracles extra, is not installed"
    )
    given = random_system(n, m)
    found = linear_quadratic_regulator(*given)
    wanted = linalg.solve_continuous_are(*(x.numpy() for x in given))
    np.testing.assert_allclose(found.cost_matrix.numpy(), wanted, rtol=1e-8, atol=1e-8)
    assert bool((torch.linalg.eigvals(found.closed_loop).real < 0).all())
    stable = given[0] - 5 * torch.eye(n, dtype=DOUBLE)
    right = given[2]
    solution = lyapunov_solution(stable, right)
    oracle = linalg.solve_continuous_lyapunov(stable.mT.numpy(), -right.numpy())
    np.testing.assert_allclose(solution.numpy(), oracle, rtol=1e-9, atol=1e-10)


def test_no_other_feedback_costs_less():
    a, b, q, r = random_system(4, 2, seed=3)
    best = linear_quadratic_regulator(a, b, q, r)

    def cost(gain):
        return lyapunov_solution(a - b @ gain, q + gain.mT @ r @ gain)

    torch.testing.assert_close(cost(best.gain), best.cost_matrix)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        other = best.gain + 0.05 * torch.randn(2, 4, generator=generator, dtype=DOUBLE)
        worse = cost(other) - best.cost_matrix
        assert float(torch.linalg.eigvalsh(worse)[0]) > -1e-10
        assert float(torch.linalg.eigvalsh(worse)[-1]) > 1e-5


def test_batches_are_loops_and_gradients_are_right():
    given = random_system(3, 2, (2,), seed=5)
    both = linear_quadratic_regulator(*given)
    for k in range(2):
        one = linear_quadratic_regulator(*(x[k] for x in given))
        torch.testing.assert_close(both.cost_matrix[k], one.cost_matrix, rtol=1e-10, atol=1e-10)

    def cost(a, b, weight):
        eye = torch.eye(2, dtype=DOUBLE)
        return linear_quadratic_regulator(a, b, weight * eye, eye[:1, :1]).gain

    a, b = double_integrator()[:2]
    inputs = [x.clone().requires_grad_() for x in (a, b, torch.tensor(1.3, dtype=DOUBLE))]
    assert torch.autograd.gradcheck(cost, inputs)
    assert torch.autograd.gradgradcheck(cost, inputs)


def test_what_cannot_be_regulated_is_told():
    a, b, q, r = double_integrator()
    eye = torch.eye(2, dtype=DOUBLE)
    with pytest.raises(ArgumentError, match="a system without a stabilising solution"):
        linear_quadratic_regulator(eye, 0 * b, q, r)
    with pytest.raises(ArgumentError, match="a system without a stabilising solution"):
        linear_quadratic_regulator(0 * a, b, q, r)
    for given, name in (
        ((a, b.mT, q, r), "inputs"),
        ((a * math.nan, b, q, r), "dynamics"),
        ((a, b, -q, r), "state_cost"),
        ((a, b, q + a, r), "state_cost"),
        ((a, b, q, 0 * r), "input_cost"),
    ):
        with pytest.raises(ArgumentError, match=f"{name}: got"):
            linear_quadratic_regulator(*given)
