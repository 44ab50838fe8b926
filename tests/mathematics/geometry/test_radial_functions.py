"""Values on both sides of the switch to the closed form, and derivatives at 0."""

import mpmath
import pytest
import torch

from adaptive_attention_tiling.mathematics.geometry import radial_functions as radial

F64 = torch.float64
FUNCTIONS = {
    "sinhc": (radial.sinhc, lambda r: mpmath.sinh(r) / r),
    "sinc": (radial.sinc, lambda r: mpmath.sin(r) / r),
    "asinhc": (radial.asinhc, lambda r: mpmath.asinh(r) / r),
    "asinc": (radial.asinc, lambda r: mpmath.asin(r) / r),
    "cosh_of_sinh": (radial.cosh_of_sinh, lambda r: mpmath.sqrt(1 + r * r)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name):
    function, exact = FUNCTIONS[name]
    lengths = [1e-9, 1e-3, 0.05, 0.0999, 0.1001, 0.5, 0.99]
    lengths += [] if name == "asinc" else [3.0, 40.0]
    lengths += [1e30, 1e200] if name in ("asinhc", "cosh_of_sinh") else []
    for r in lengths:
        got = function(torch.tensor([0.6 * r, -0.8 * r], dtype=F64)).item()
        with mpmath.workdps(60):
            assert got == pytest.approx(float(exact(mpmath.mpf(r))), rel=4e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_at_zero_and_beyond(name):
    function, _ = FUNCTIONS[name]
    x = torch.tensor([[0.0, 0.0], [0.03, -0.05], [0.4, 0.2]], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


def test_arsinh_has_a_slope_where_the_square_overflows():
    x = torch.tensor([1e25, 0.5], requires_grad=True)
    (slope,) = torch.autograd.grad(radial.asinh(x).sum(), x)
    torch.testing.assert_close(slope, torch.tensor([1e-25, 1.25**-0.5]), rtol=1e-6, atol=0)
