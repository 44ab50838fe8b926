"""The Ising model of the square lattice, exactly."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .block_map import log_cosh

ISING_CRITICAL_COUPLING = math.log1p(math.sqrt(2)) / 2
"""K_c = ln(1 + sqrt 2) / 2, where sinh 2K = 1 (Kramers and Wannier, 1941)."""


def onsager_free_energy(coupling: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """ln(partition function) a spin of the infinite square lattice without a field.

    ln(2 cosh 2K) + 1/pi int_0^{pi/2} ln((1 + sqrt(1 - k^2 sin^2 x)) / 2) dx,
    k = 2 sinh 2K / cosh^2 2K

    by double exponential quadrature, whose places crowd at x = pi/2, where the integrand has a
    corner at K_c. Differentiable: its first derivative is minus the energy a spin over J, its
    second has the logarithm of the specific heat.

    Args:
        coupling: K = J / (k T), of either sign.

    Onsager, Phys. Rev. 65 (1944) 117, equation 109a.
    """
    _check(coupling)
    square = (2 * coupling).tanh().square()[..., None]
    # 1 - k^2 sin^2 x = q^2 + k^2 cos^2 x with q = 2 tanh^2 2K - 1, which keeps digits at K_c. Even
    # functions of K throughout, so that both derivatives are right at 0 and for large K.
    gap, modulus = 2 * square - 1, 4 * square * (1 - square)
    place, weight = _crowded_at_zero(coupling)
    inner = (gap.square() + modulus * place.sin().square()).sqrt()
    integral = (weight * torch.log1p((inner - 1) / 2)).sum(-1)
    return log_cosh(2 * coupling) + math.log(2) + integral / math.pi


def spontaneous_magnetisation(coupling: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """M = (1 - sinh(2K)^-4)^(1/8) above K_c, 0 up to there.

    Args:
        coupling: K = J / (k T) >= 0.

    Yang, Phys. Rev. 85 (1952) 808, equation 96.
    """
    _check(coupling)
    if bool((coupling.detach() < 0).any()):
        raise ArgumentError("coupling", "one below 0", "K >= 0", "that is no ferromagnet")
    ordered = coupling > ISING_CRITICAL_COUPLING
    inside = torch.where(ordered, coupling, torch.ones_like(coupling))
    # 1 - s^-4 = (1 + s^-2) (1 - s^-2) and 1 - s^-2 = (s - 1) (s + 1) / s^2.
    # 1 / s without overflow.
    inverse = -2 * (-2 * inside).exp() / torch.expm1(-4 * inside)
    value = ((1 + inverse.square()) * (1 + inverse) * (1 - inverse)) ** 0.125
    return torch.where(ordered, value, torch.zeros_like(value))


def _check(coupling: Tensor) -> None:
    if not coupling.is_floating_point() or not bool(coupling.detach().isfinite().all()):
        raise ArgumentError("coupling", "NaN, infinity or whole numbers", "finite K", "pass floats")


def _crowded_at_zero(like: Tensor) -> tuple[Tensor, Tensor]:
    """Places and weights of double exponential quadrature over (0, pi/2).

    Takahasi and Mori, Publ. RIMS 9 (1974) 721.
    """
    step = 1 / 64
    t = torch.arange(-220, 221, dtype=torch.float64) * step
    decay = math.pi * t.sinh()
    place = math.pi / 2 * torch.sigmoid(decay)
    weight = step * math.pi / 2 * torch.sigmoid(decay) * torch.sigmoid(-decay)
    return place.to(like), (weight * math.pi * t.cosh()).to(like)
