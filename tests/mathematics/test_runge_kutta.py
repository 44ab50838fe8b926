import math
from itertools import pairwise

import mpmath
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.runge_kutta import METHODS, integrate


def pendulum(_, state):
    angle, speed = state.unbind(-1)
    return torch.stack([speed, -angle.sin()], -1)


def decay(rate):
    return lambda _, y: -rate * y


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS)
def test_error_falls_with_the_order_of_the_method(method):
    """y' = -2 t y, from 16 steps to 128: the last slope is within 0.15 of the order."""
    times, exact = doubles(0, 1), math.exp(-1.0)
    counts = [16, 32, 64, 128]
    errors = [
        abs(
            float(integrate(lambda t, y: -2 * t * y, doubles(1), times, method=method, steps=n)[-1])
            - exact
        )
        for n in counts
    ]
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert abs(slopes[-1] - METHODS[method].order) < 0.15, slopes


@pytest.mark.parametrize("method", METHODS)
def test_weights_agree_with_the_nodes(method):
    tableau = METHODS[method]
    assert sum(tableau.weights) == pytest.approx(1, abs=1e-15)
    for node, row in zip(tableau.nodes, tableau.coefficients, strict=True):
        assert sum(row) == pytest.approx(node, abs=1e-14)
    assert sum(tableau.error_weights) == pytest.approx(0, abs=1e-16)


def test_pendulum_is_back_after_its_exact_period():
    period = float(4 * mpmath.ellipk(mpmath.sin(mpmath.mpf("0.5")) ** 2))
    assert period == pytest.approx(6.69997566437, abs=1e-11)
    states = integrate(
        pendulum,
        doubles(1, 0),
        doubles(0, period / 2, period),
        relative_tolerance=1e-12,
        absolute_tolerance=1e-12,
    )
    torch.testing.assert_close(states, doubles([1, 0], [-1, 0], [1, 0]), rtol=0, atol=1e-10)


def test_gradient_of_decay_by_its_rate():
    """d/da 2 e^(-1.5 a) at a = 0.7 is -3 e^(-1.05)."""
    rate = doubles(0.7).requires_grad_()
    end = integrate(
        decay(rate),
        doubles(2),
        doubles(0, 1.5),
        relative_tolerance=1e-12,
        absolute_tolerance=1e-13,
    )[-1]
    end.sum().backward()
    assert rate.grad.item() == pytest.approx(-3 * math.exp(-1.05), abs=1e-10)
    assert rate.grad.item() == pytest.approx(-1.04981324733, abs=1e-10)


@pytest.mark.parametrize("steps", [None, 40])
def test_times_have_gradients(steps):
    """d y / d t is the field at the end, and minus the field at the start."""
    times = doubles(0, 0.5, 1.5).requires_grad_()
    integrate(decay(0.7), doubles(2), times, steps=steps)[-1].sum().backward()
    slope = 1.4 * math.exp(-1.05)
    torch.testing.assert_close(times.grad, doubles(slope, 0, -slope), rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_first_and_second_gradients(method):
    def end(state, rate, times):
        def field(t, y):
            return y[1] * t, -rate * y[0].sin()

        return integrate(field, (state, state**2), times, method=method, steps=2)[0]

    inputs = [v.requires_grad_() for v in (doubles(0.3, -0.8), doubles(0.9), doubles(0.2, 0.5))]
    assert torch.autograd.gradcheck(end, inputs)
    assert torch.autograd.gradgradcheck(end, inputs)


def test_a_batch_is_a_loop():
    state = torch.randn(5, 2, dtype=torch.float64)
    times = torch.linspace(0, 2, 4, dtype=torch.float64)
    whole = integrate(pendulum, state, times, method="rk4", steps=7)
    loop = torch.stack([integrate(pendulum, s, times, method="rk4", steps=7) for s in state], 1)
    torch.testing.assert_close(whole, loop, rtol=0, atol=1e-15)
    whole, tight = integrate(pendulum, state, times), {"relative_tolerance": 1e-11}
    loop = torch.stack([integrate(pendulum, s, times, **tight) for s in state], 1)
    torch.testing.assert_close(whole, loop, rtol=0, atol=1e-7)


def test_back_in_time_is_back_at_the_start():
    there = integrate(pendulum, doubles(1, 0.2), doubles(0, 3))[-1]
    back = integrate(pendulum, there, doubles(3, 0))[-1]
    torch.testing.assert_close(back, doubles(1, 0.2), rtol=0, atol=1e-7)


def test_what_does_not_change_takes_one_step():
    calls = []
    integrate(lambda t, y: (calls.append(t), 0 * y)[1], doubles(0.0), doubles(0, 9))
    assert len(calls) == 7


def test_float32_stays_float32():
    end = integrate(pendulum, torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), steps=10)
    assert end.dtype == torch.float32
    exact = integrate(pendulum, doubles(1, 0), doubles(0, 1), steps=10)
    torch.testing.assert_close(end.double(), exact, rtol=0, atol=3e-7)


@pytest.mark.parametrize(
    ("field", "options", "message"),
    [
        (decay(1), {"method": "heun"}, "method: got heun, expected one of euler, midpoint"),
        (decay(1), {"method": "rk4"}, "steps: got None.*rk4 estimates no error"),
        (decay(1), {"steps": 0}, "steps: got 0"),
        (decay(1), {"max_steps": 0}, "max_steps: got 0"),
        (decay(1), {"times": doubles(0, 1, 0.5)}, "times: .*rising or falling"),
        (decay(1), {"times": doubles(0, 0)}, "times: .*rising or falling"),
        (decay(1), {"times": torch.tensor([0, 1])}, "times: got torch.int64"),
        # Steps of less than 1 would be 0 in its dtype.
        (decay(1), {"state": torch.tensor([1])}, "state: got torch.int64, expected floating"),
        (decay(1), {"relative_tolerance": 0}, "relative_tolerance: got 0, expected a number > 0"),
        (decay(1), {"relative_tolerance": torch.nan}, "relative_tolerance: got nan"),
        (
            decay(1),
            {"absolute_tolerance": -1e-9},
            "absolute_tolerance: got -1e-09, expected .*>= 0",
        ),
        (decay(1e5), {"max_steps": 50}, "max_steps: got 50 steps that end at time .*to reach 2"),
        # 1 / (1 - t) has a pole on the way
        (lambda _, y: y * y, {}, r"steps that end at time (1|0\.9999\d*), .*before a singularity"),
        (lambda _, y: y + torch.nan, {}, "that end at time 0, expected enough of them to reach 2"),
    ],
)
def test_what_cannot_be_integrated_is_told(field, options, message):
    times, state = options.pop("times", doubles(0, 2)), options.pop("state", doubles(1))
    with pytest.raises(ArgumentError, match=message):
        integrate(field, state, times, **options)
