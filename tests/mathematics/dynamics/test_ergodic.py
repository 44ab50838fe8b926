import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.ergodic import (
    birkhoff_average,
    kaplan_yorke_dimension,
    lyapunov_exponents,
)

DOUBLE = torch.float64
CAT = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=DOUBLE)


def logistic(x):
    return 4 * x * (1 - x)


def cat(x):
    return (x @ CAT).remainder(1)


def henon(x):
    return torch.stack([1 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], -1)


def starts(count, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.rand(count, width, generator=generator, dtype=DOUBLE) + 0.2


def test_golden_logistic_map():
    # sin^2(pi k / (2^20 - 1)) comes back after 20 steps, and stretches by 2^20 on the way.
    turns = torch.tensor([[1.0], [1001.0], [77777.0]], dtype=DOUBLE) / (2**20 - 1)
    cycle = lyapunov_exponents(logistic, (math.pi * turns).sin().square(), steps=20, warm_up=0)
    assert cycle[:, 0].tolist() == pytest.approx([math.log(2)] * 3, abs=5e-9)
    assert math.log(2) == pytest.approx(0.69314718056, abs=1e-11)
    # By conjugation to the tent map the error is (h(x_t) - h(x_0)) / t, whose mean is 0.
    found = lyapunov_exponents(logistic, starts(8000, 1), steps=50, warm_up=10)
    assert float(found.mean()) == pytest.approx(math.log(2), abs=5e-4)


def test_golden_cat_map():
    found = lyapunov_exponents(cat, starts(3, 2), steps=50)
    golden = math.log((3 + math.sqrt(5)) / 2)
    expected = torch.tensor([golden, -golden], dtype=DOUBLE).expand(3, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert golden == pytest.approx(0.962423650119, abs=1e-12)


def test_golden_henon_map():
    found = lyapunov_exponents(henon, starts(4000, 2), steps=60, warm_up=30)
    assert float(found[:, 0].mean()) == pytest.approx(0.4192, abs=2e-3)
    total = torch.full((4000,), math.log(0.3), dtype=DOUBLE)
    torch.testing.assert_close(found.sum(-1), total, rtol=0, atol=1e-12)
    # 1 + 0.4192 / 1.6232
    dimension = kaplan_yorke_dimension(found.mean(0))
    assert float(dimension) == pytest.approx(1.258, abs=2e-3)


def test_exponents_of_a_linear_map_and_their_gradient():
    matrix = torch.tensor([[0.5, 0.4, 0.0], [0.0, 1.5, 0.3], [0.0, 0.0, -0.8]], dtype=DOUBLE)
    found = lyapunov_exponents(lambda x: x @ matrix.T, torch.zeros(3, dtype=DOUBLE), 20, 200)
    expected = torch.tensor([1.5, 0.8, 0.5], dtype=DOUBLE).log()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

    def exponents(a, b):
        def step(x):
            return torch.stack([1 - a * x[..., 0] ** 2 + x[..., 1], b * x[..., 0]], -1)

        return lyapunov_exponents(step, torch.tensor([0.1, 0.2], dtype=DOUBLE), 5, 2)

    parameters = (torch.tensor(p, dtype=DOUBLE, requires_grad=True) for p in (1.4, 0.3))
    assert torch.autograd.gradcheck(exponents, tuple(parameters))


def test_a_direction_that_is_lost_has_exponent_minus_infinity():
    scales = torch.tensor([0.5, 0.0, 2.0], dtype=DOUBLE)
    found = lyapunov_exponents(lambda x: scales * x, torch.ones(3, dtype=DOUBLE), 20, 5)
    assert found.tolist() == [pytest.approx(math.log(2)), pytest.approx(-math.log(2)), -math.inf]


def test_a_batch_of_orbits_is_its_orbits():
    points = starts(4, 2).view(2, 2, 2)
    together = lyapunov_exponents(henon, points, steps=20, warm_up=5)
    singly = [lyapunov_exponents(henon, point, 20, 5) for point in points.view(4, 2)]
    torch.testing.assert_close(together, torch.stack(singly).view(2, 2, 2))


def test_birkhoff_averages():
    # The invariant density 1 / (pi sqrt(x (1 - x))) has mean 1/2 and second moment 3/8.
    moments = birkhoff_average(
        logistic, lambda x: torch.stack([x, x * x]), starts(4000, 1), steps=400
    )
    means = moments.mean((1, 2)).tolist()
    assert means == pytest.approx([0.5, 0.375], abs=2e-3)


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [([1.0, -2.0], 1.5), ([0.5, 0.0, -1.0], 2.5), ([-1.0, -2.0], 0.0), ([2.0, 1.0], 2.0)],
)
def test_kaplan_yorke_dimension(exponents, dimension):
    found = kaplan_yorke_dimension(torch.tensor([exponents], dtype=DOUBLE))
    assert found.tolist() == [pytest.approx(dimension)]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: lyapunov_exponents(henon, starts(1, 2), 0), "steps: got 0"),
        (lambda: lyapunov_exponents(henon, starts(1, 2), 1, -1), "warm_up: got -1"),
        (lambda: lyapunov_exponents(henon, 100 * starts(1, 2), 5), "basin of the attractor"),
        (lambda: lyapunov_exponents(henon, torch.tensor([1, 2]), 5), "state: got torch.int64"),
        (lambda: birkhoff_average(henon, torch.sum, 100 * starts(1, 2), 5), "finite numbers"),
    ],
)
def test_what_has_no_average_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
