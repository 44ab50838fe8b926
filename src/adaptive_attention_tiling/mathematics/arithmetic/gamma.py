"""The gamma function of complex numbers, differentiable, which functional equations need."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Shaped
from torch import Tensor

# B_2, B_4, ..., B_20.
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510,
    43867 / 798, -174611 / 330,
)  # fmt: skip
_SHIFT = 10


def complex_log_gamma(z: Shaped[Tensor, "*b"]) -> Complex[Tensor, "*b"]:
    """ln Gamma(z) for Re z > 0, the branch that is real on the positive axis.

        ln Gamma(w) = (w - 1/2) ln w - w + ln(2 pi)/2 + sum_j B_2j / (2j (2j-1) w^(2j-1)),

    at w = z + 10, less ln z + ln(z+1) + ... + ln(z+9).

    Args:
        z: any shape, Re z > 0; elsewhere ask `reciprocal_gamma`.

    Source: DLMF 5.11.1 and 5.5.1.
    """
    z = as_complex(z)
    lower = torch.stack([(z + step).log() for step in range(_SHIFT)]).sum(0)
    w = z + _SHIFT
    total = (w - 0.5) * w.log() - w + 0.5 * math.log(2 * math.pi)
    for j, bernoulli in enumerate(BERNOULLI[:8], 1):
        total = total + bernoulli / (2 * j * (2 * j - 1)) * w ** (1 - 2 * j)
    return total - lower


def reciprocal_gamma(z: Shaped[Tensor, "*b"]) -> Complex[Tensor, "*b"]:
    """1 / Gamma(z) on the whole plane; where Re z < 1/2 it is sin(pi z) Gamma(1 - z) / pi."""
    z = as_complex(z)
    left = z.real < 0.5
    right = torch.where(left, 1 - z, z)
    log_gamma = complex_log_gamma(right)
    safe = torch.where(left, z, torch.zeros_like(z))
    reflected = (math.pi * safe).sin() / math.pi
    return torch.where(left, reflected * log_gamma.exp(), (-log_gamma).exp())


def as_complex(z: Tensor) -> Tensor:
    """z as a complex tensor of its own precision."""
    return z if z.is_complex() else torch.complex(z, torch.zeros_like(z))
