"""The propagator of the harmonic oscillator in closed form."""

from __future__ import annotations

import cmath
import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .sinc_grid import check_positive


def mehler_kernel(
    initial: Float[Tensor, "*b"],
    final: Float[Tensor, "*b"],
    time: float | complex,
    *,
    mass: float = 1.0,
    frequency: float = 1.0,
) -> Complex[Tensor, "*b"]:
    """K = sqrt(m w / 2 pi sinh wt) exp(-m w ((x^2 + y^2) cosh wt - 2 x y) / 2 sinh wt).

    The harmonic oscillator's propagator at Euclidean time t; t = i T + 0 is real time T, up to
    T = pi / w (beyond it the root has another sign). frequency = 0 is the free particle.

    Feynman and Hibbs (1965), problem 3-8 and chapter 10.
    """
    check_positive("mass", mass)
    moment = complex(time)
    if not (frequency >= 0 and moment.real >= 0 and cmath.isfinite(moment)) or moment == 0:
        raise ArgumentError(
            "time",
            f"{time} with frequency {frequency}",
            "Re t >= 0, frequency >= 0",
            "turn time around",
        )
    if frequency == 0:
        scale = mass / moment
        exponent = -scale / 2 * (initial - final).square()
    else:
        angle = frequency * moment
        sine, cosine = cmath.sinh(angle), cmath.cosh(angle)
        scale = mass * frequency / sine
        exponent = -scale / 2 * ((initial.square() + final.square()) * cosine - 2 * initial * final)
    return (scale / (2 * math.pi)) ** 0.5 * torch.exp(exponent)
