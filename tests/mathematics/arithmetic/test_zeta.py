import math

import mpmath
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.gamma import (
    complex_log_gamma,
    reciprocal_gamma,
)
from adaptive_attention_tiling.mathematics.arithmetic.zeta import (
    completed_zeta,
    hardy_z,
    hurwitz_zeta,
    hurwitz_zeta_less_pole,
    riemann_siegel_theta,
    riemann_zeta,
    zeta_zeros,
)

DOUBLE = torch.float64


def random_points(count, right, height, seed=0):
    generator = torch.Generator().manual_seed(seed)
    real = torch.rand(count, generator=generator, dtype=DOUBLE) * right
    imaginary = (2 * torch.rand(count, generator=generator, dtype=DOUBLE) - 1) * height
    return torch.complex(real, imaginary)


def of_mpmath(function, *arguments):
    rows = zip(*(argument.tolist() for argument in arguments), strict=True)
    with mpmath.workdps(30):
        values = [complex(function(*row)) for row in rows]
    return torch.tensor(values, dtype=torch.cdouble)


@pytest.mark.parametrize(
    ("s", "value"),
    [
        pytest.param(2.0, math.pi**2 / 6, id="zeta(2)=pi^2/6"),
        pytest.param(3.0, 1.2020569031595943, id="zeta(3)"),
        pytest.param(0.5, -1.4603545088095868, id="zeta(1/2)"),
        pytest.param(-1.0, -1 / 12, id="zeta(-1)=-1/12"),
        pytest.param(0.0, -0.5, id="zeta(0)=-1/2"),
        pytest.param(-2.0, 0.0, id="zeta(-2)=0"),
        pytest.param(-3.0, 1 / 120, id="zeta(-3)=1/120"),
    ],
)
def test_golden_values_of_zeta(s, value):
    found = complex(riemann_zeta(torch.tensor(s, dtype=DOUBLE)))
    assert found == pytest.approx(value, abs=5e-15)


def test_golden_first_zeros():
    zeros = zeta_zeros(0, 50)
    assert float(zeros[0]) == pytest.approx(14.134725141734693, abs=1e-12)
    assert len(zeros) == 10
    expected = [float(mpmath.zetazero(n).imag) for n in (1, 2, 10)]
    assert zeros[[0, 1, 9]].tolist() == pytest.approx(expected, abs=1e-11)
    # As many as the argument of the completed function turns.
    count = float(riemann_siegel_theta(torch.tensor(50.0, dtype=DOUBLE))) / math.pi + 1
    assert abs(count - 10) < 1


@pytest.mark.parametrize(("right", "height"), [(3, 30), (20, 30), (1, 100)])
def test_accuracy_over_the_stated_region(right, height):
    s = random_points(25, right, height)
    a = 0.02 + torch.rand(25, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    scale = 1e-14 * (1 + s.imag.abs())
    assert bool(((riemann_zeta(s) - of_mpmath(mpmath.zeta, s)).abs() <= scale).all())
    error = (hurwitz_zeta(s, a) - of_mpmath(mpmath.zeta, s, a)).abs()
    assert bool((error <= scale * a.pow(-s.real).clamp(min=1)).all())


def test_the_left_half_plane_against_mpmath():
    s = random_points(25, 10, 30, seed=2)
    s = torch.complex(-s.real, s.imag)
    expected = of_mpmath(mpmath.zeta, s)
    torch.testing.assert_close(riemann_zeta(s), expected, rtol=1e-13, atol=1e-14)


def test_far_left_gamma_alone_would_overflow():
    s = torch.tensor([-171.0, -200.5 + 2j], dtype=torch.cdouble)
    torch.testing.assert_close(riemann_zeta(s), of_mpmath(mpmath.zeta, s), rtol=2e-12, atol=0)


def test_the_functional_equation_inside_the_strip():
    # Both sides are summed by Euler and Maclaurin: nothing here is reflected.
    s = random_points(40, 1, 20, seed=3)
    left, right = completed_zeta(s), completed_zeta(1 - s)
    torch.testing.assert_close(left, right, rtol=1e-11, atol=0)


def test_hurwitz_shifts_and_multiplies():
    s = random_points(20, 4, 10, seed=4)
    a = torch.rand(20, dtype=DOUBLE, generator=torch.Generator().manual_seed(5)) + 0.1
    shifted = hurwitz_zeta(s, a + 1) + torch.exp(-s * a.log())
    torch.testing.assert_close(hurwitz_zeta(s, a), shifted, rtol=1e-13, atol=1e-13)
    parts = sum(hurwitz_zeta(s, (a + k) / 3) for k in range(3))
    torch.testing.assert_close(
        parts, torch.exp(s * math.log(3)) * hurwitz_zeta(s, a), rtol=1e-13, atol=1e-12
    )


def test_less_its_pole_it_is_minus_digamma_at_one():
    a = torch.tensor([0.1, 0.5, 1.0, 2.5], dtype=DOUBLE)
    found = hurwitz_zeta_less_pole(torch.ones(4, dtype=DOUBLE), a)
    torch.testing.assert_close(found.real, -torch.digamma(a), rtol=1e-14, atol=1e-14)
    around = torch.tensor([1.1, 0.85, 1 + 0.15j, 0.9 - 0.1j], dtype=torch.cdouble)
    expected = of_mpmath(mpmath.zeta, around) - 1 / (around - 1)
    torch.testing.assert_close(
        hurwitz_zeta_less_pole(around, 1.0), expected, rtol=1e-14, atol=1e-14
    )
    near = hurwitz_zeta_less_pole(torch.tensor([1 - 1e-9, 1 + 1e-9], dtype=DOUBLE), 1.0)
    torch.testing.assert_close(near.real, found.real[2].expand(2), rtol=0, atol=1e-9)


def test_gradients_and_derivatives():
    s = torch.tensor([0.5 + 3j, -1.5 + 0.5j], dtype=torch.cdouble, requires_grad=True)
    assert torch.autograd.gradcheck(riemann_zeta, s)
    assert torch.autograd.gradgradcheck(riemann_zeta, s)
    right = s.detach().abs().requires_grad_()
    a = torch.tensor([0.3, 1.2], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(hurwitz_zeta_less_pole, (right, a))
    real = torch.tensor([3.0, -1.0, 0.5], dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(riemann_zeta(real).real.sum(), real)
    expected = [float(mpmath.zeta(x, derivative=1)) for x in real.tolist()]
    assert slope.tolist() == pytest.approx(expected, rel=1e-12)
    t = torch.tensor([5.0, 14.0], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(hardy_z, t)


def test_hardy_z_and_theta_against_mpmath():
    t = torch.linspace(0.1, 60, 30, dtype=DOUBLE)
    torch.testing.assert_close(
        hardy_z(t), of_mpmath(mpmath.siegelz, t).real, rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        riemann_siegel_theta(t), of_mpmath(mpmath.siegeltheta, t).real, rtol=1e-13, atol=1e-13
    )


def test_gamma_against_mpmath():
    z = random_points(40, 12, 30, seed=6) + 1e-3
    torch.testing.assert_close(
        complex_log_gamma(z), of_mpmath(mpmath.loggamma, z), rtol=1e-14, atol=5e-14
    )
    z = torch.complex(6 - z.real, 0.1 * z.imag)
    torch.testing.assert_close(
        reciprocal_gamma(z), of_mpmath(mpmath.rgamma, z), rtol=1e-13, atol=1e-14
    )
    assert reciprocal_gamma(torch.tensor(-0.0)).abs() == 0


def test_batches_and_float32():
    s = random_points(6, 3, 5, seed=7).view(2, 3)
    singly = torch.stack([riemann_zeta(one) for one in s.flatten()]).view(2, 3)
    torch.testing.assert_close(riemann_zeta(s), singly, rtol=1e-14, atol=1e-14)
    single = riemann_zeta(s.to(torch.complex64))
    assert single.dtype == torch.complex64
    torch.testing.assert_close(single, singly.to(torch.complex64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: riemann_zeta(torch.tensor(1.0)), "s: got 1, expected s other than 1, the pole"),
        (lambda: riemann_zeta(torch.tensor(torch.nan)), "s: got NaN"),
        (lambda: hurwitz_zeta(torch.tensor(-0.5), 1.0), "s: got Re s < 0"),
        (lambda: hurwitz_zeta(torch.tensor(2.0), 0.0), "a: got 0.0, expected a > 0"),
        (lambda: hurwitz_zeta(torch.tensor(2.0), torch.nan), "a: got nan"),
        (lambda: zeta_zeros(3, 2), "stop: got 2"),
        (lambda: zeta_zeros(3, 20, 1.0), "spacing: got 1.0"),
    ],
)
def test_what_has_no_value_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
