"""Oscillators that draw each other's phases together: Kuramoto's model.

    theta_i' = omega_i + (K / N) sum_j sin(theta_j - theta_i)

Frequencies spread as Lorentz's law of half width gamma make a transition at K_c = 2 gamma. Sources:
Kuramoto (1975); Strogatz, Physica D 143 (2000) 1, sections 3 and 4; Ott and Antonsen, Chaos 18
(2008) 037113, equation 9.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError


def phase_coherence(phases: Float[Tensor, "*b n"]) -> Complex[Tensor, "*b"]:
    """Z = (1 / N) sum_j e^(i theta_j): |Z| is 1 where all agree, and about N^(-1/2) by chance."""
    return torch.polar(torch.ones_like(phases), phases).mean(-1)


def kuramoto_rate(
    phases: Float[Tensor, "*b n"],
    frequencies: Float[Tensor, "*b n"],
    coupling: float | Float[Tensor, "*b 1"],
) -> Float[Tensor, "*b n"]:
    """theta' = omega + K Im(Z e^(-i theta)), in O(N): each phase sees the others through Z alone.

    Args:
        phases: theta in radians.
        frequencies: omega.
        coupling: K.
    """
    centre = phase_coherence(phases)[..., None]
    pull = centre.imag * phases.cos() - centre.real * phases.sin()
    return frequencies + coupling * pull


def lorentz_frequencies(
    count: int, width: float, *, dtype: torch.dtype = torch.float64
) -> Float[Tensor, " n"]:
    """gamma tan(pi (u - 1/2)) at u = (i + 1/2) / N: evenly spread quantiles of Lorentz's law."""
    _check(width)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ArgumentError("count", count, "an integer >= 1", "pass count=1000")
    share = (torch.arange(count, dtype=dtype) + 0.5) / count
    return width * torch.tan(math.pi * (share - 0.5))


def critical_coupling(width: float) -> float:
    """K_c = 2 gamma: below it phases stay apart."""
    _check(width)
    return 2 * width


def kuramoto_coherence(coupling: Float[Tensor, "*b"], width: float) -> Float[Tensor, "*b"]:
    """|Z| = sqrt(1 - K_c / K) of infinitely many oscillators at rest, 0 up to K_c.

    Differentiable away from K_c, where its slope is infinite.
    """
    excess = 1 - critical_coupling(width) / coupling
    together = (coupling > 0) & (excess > 0)
    return torch.where(together, torch.where(together, excess, 1.0).sqrt(), 0.0)


def ott_antonsen_rate(
    coherence: Complex[Tensor, "*b"], coupling: float | Float[Tensor, "*b"], width: float
) -> Complex[Tensor, "*b"]:
    """Z' = (K / 2) (1 - |Z|^2) Z - gamma Z: how Z moves, if infinitely many begin on its manifold.

    Frequencies are counted from the middle of their law.
    """
    _check(width)
    modulus = coherence.real.square() + coherence.imag.square()
    return (coupling / 2 * (1 - modulus) - width) * coherence


def _check(width: float) -> None:
    if not 0 < width < math.inf:
        raise ArgumentError("width", width, "a number > 0", "pass the half width of the law")
