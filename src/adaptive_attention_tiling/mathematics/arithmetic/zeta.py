"""The zeta functions of Riemann and Hurwitz for complex arguments, batched and differentiable."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float, Shaped
from torch import Tensor

from ...errors import ArgumentError
from .gamma import BERNOULLI, as_complex, complex_log_gamma, reciprocal_gamma

_LEAST_TERMS = 12


def hurwitz_zeta(s: Shaped[Tensor, "*b"], a: Float[Tensor, "*b"] | float) -> Complex[Tensor, "*b"]:
    """zeta(s, a) = sum_{k >= 0} (k + a)^-s, continued to Re s >= 0, by Euler and Maclaurin.

        sum_{k < N} (k+a)^-s + w^(1-s)/(s-1) + w^-s/2
            + sum_{j=1}^{10} B_2j/(2j)! s (s+1) ... (s+2j-2) w^(1-s-2j),    w = N + a,

    with N = 12 + |s|. For |Im s| <= 30 the absolute error in float64 stays below
    1e-14 (1 + |Im s|) max(1, a^-Re s).

    Args:
        s: real or complex, Re s >= 0, s != 1; differentiable.
        a: > 0; broadcast with s; differentiable.

    Raises:
        ArgumentError: s = 1, the pole; Re s < 0; a <= 0; NaN.

    Source: DLMF 25.11.28; Johansson, Numer. Algorithms 69 (2015).
    """
    s = _checked(s)
    if bool((s == 1).any()):
        raise ArgumentError("s", 1, "s other than 1, the pole", "ask hurwitz_zeta_less_pole")
    return hurwitz_zeta_less_pole(s, a) + 1 / (s - 1)


def hurwitz_zeta_less_pole(
    s: Shaped[Tensor, "*b"], a: Float[Tensor, "*b"] | float
) -> Complex[Tensor, "*b"]:
    """zeta(s, a) - 1/(s - 1), analytic at s = 1, where it is -digamma(a); as `hurwitz_zeta`."""
    s = _checked(s)
    a = torch.as_tensor(a, dtype=s.real.dtype, device=s.device)
    if not bool((a > 0).all()):
        raise ArgumentError("a", float(a.detach().min()), "a > 0", "leave terms with k + a = 0 out")
    terms = _LEAST_TERMS + math.ceil(float(s.detach().abs().max())) if s.numel() else 1
    steps = torch.arange(terms, dtype=a.dtype, device=a.device)
    head = torch.exp(-s[..., None] * (a[..., None] + steps).log()).sum(-1)
    w = a + terms
    log_w = w.log()
    power = torch.exp(-s * log_w)
    tail = -log_w * _expm1_over((1 - s) * log_w) + power / 2
    factor = s * power / w
    for j, bernoulli in enumerate(BERNOULLI, 1):
        tail = tail + bernoulli / math.factorial(2 * j) * factor
        factor = factor * (s + 2 * j - 1) * (s + 2 * j) / w.square()
    return head + tail


def riemann_zeta(s: Shaped[Tensor, "*b"]) -> Complex[Tensor, "*b"]:
    """zeta(s) on the whole plane but s = 1; where Re s < 0 by the functional equation

        zeta(s) = 2^s pi^(s-1) sin(pi s / 2) Gamma(1 - s) zeta(1 - s).

    Args:
        s: real or complex, any shape; differentiable. For |Im s| <= 30 and Re s >= 0 the absolute
            error in float64 stays below 1e-14 (1 + |Im s|); below 0 the relative one, near enough.

    Raises:
        ArgumentError: s = 1, or NaN.

    Source: Riemann (1859); DLMF 25.4.1.
    """
    s = as_complex(s)
    left = s.real < 0
    right = torch.where(left, 1 - s, s)
    value = hurwitz_zeta(right, 1.0)
    safe = torch.where(left, s, torch.zeros_like(s))
    powers = safe * math.log(2) + (safe - 1) * math.log(math.pi)
    factor = (powers + complex_log_gamma(1 - safe)).exp() * (math.pi / 2 * safe).sin()
    return torch.where(left, factor * value, value)


def completed_zeta(s: Shaped[Tensor, "*b"]) -> Complex[Tensor, "*b"]:
    """pi^(-s/2) Gamma(s/2) zeta(s), which is the same at s and 1 - s."""
    s = as_complex(s)
    return torch.exp(-s / 2 * math.log(math.pi)) / reciprocal_gamma(s / 2) * riemann_zeta(s)


def riemann_siegel_theta(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """theta(t) = Im ln Gamma(1/4 + i t/2) - (t/2) ln pi, continuous; DLMF 25.10.2."""
    return complex_log_gamma(torch.complex(torch.full_like(t, 0.25), t / 2)).imag - (
        t / 2 * math.log(math.pi)
    )


def hardy_z(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Z(t) = exp(i theta(t)) zeta(1/2 + i t), real, of modulus |zeta|; DLMF 25.10.1."""
    theta = riemann_siegel_theta(t)
    value = riemann_zeta(torch.complex(torch.full_like(t, 0.5), t))
    return theta.cos() * value.real - theta.sin() * value.imag


def zeta_zeros(start: float, stop: float, spacing: float = 0.2) -> Float[Tensor, " k"]:
    """The t between start and stop with zeta(1/2 + i t) = 0, in order, float64.

    Where Z changes its sign on a grid, Newton's method follows by autograd, held in its bracket.
    Zeros closer to each other than the spacing can be missed in pairs: up to T there are
    theta(T)/pi + 1 zeros, give or take less than 1 below T = 280.

    Args:
        start, stop: 0 <= start < stop <= 100.
        spacing: of the grid.

    Source: Edwards, Riemann's Zeta Function (1974), sections 6.5 and 6.6.
    """
    if not 0 <= start < stop <= 100:
        raise ArgumentError("stop", stop, f"{start} < stop <= 100", "ask for lower zeros")
    if not 0 < spacing <= 0.5:
        raise ArgumentError("spacing", spacing, "0 < spacing <= 0.5", "pass spacing=0.2")
    grid = torch.arange(start, stop + spacing, spacing, dtype=torch.float64).clamp(max=stop)
    signs = hardy_z(grid).sign()
    changes = (signs[:-1] * signs[1:] < 0).nonzero()[:, 0]
    low, high = grid[changes], grid[changes + 1]
    sign_low, t = signs[changes], (low + high) / 2
    for _ in range(12):
        t = t.detach().requires_grad_()
        value = hardy_z(t)
        (slope,) = torch.autograd.grad(value.sum(), t)
        same = value.detach().sign() == sign_low
        low, high = torch.where(same, t.detach(), low), torch.where(same, high, t.detach())
        newton = (t - value / slope).detach()
        t = torch.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
    return t


def _expm1_over(x: Tensor) -> Tensor:
    """(exp(x) - 1)/x, by its series where |x| < 1/2, so that it is smooth at 0."""
    near = x.abs() < 0.5
    small = torch.where(near, x, torch.zeros_like(x))
    series = torch.ones_like(x)
    for order in range(17, 1, -1):
        series = 1 + small / order * series
    large = torch.where(near, torch.ones_like(x), x)
    return torch.where(near, series, (large.exp() - 1) / large)


def _checked(s: Tensor) -> Tensor:
    s = as_complex(s)
    if not bool(torch.isfinite(s).all()):
        raise ArgumentError("s", "NaN or infinity", "finite numbers", "check what s comes from")
    if bool((s.real < 0).any()):
        raise ArgumentError(
            "s", "Re s < 0", "Re s >= 0", "use the functional equation, as riemann_zeta does"
        )
    return s
