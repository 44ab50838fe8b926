"""Heat that the vibrations of a crystal hold."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


def heat_capacity(
    frequencies: Float[Tensor, "*q branches"], temperature: Float[Tensor, "*t"]
) -> Float[Tensor, "*t"]:
    """C = mean over q of sum over branches of (x / 2)^2 / sinh^2(x / 2), x = omega / T, a cell.

    In units of k_B, with hbar = k_B = 1. It rises to the number of branches (Dulong and Petit) as
    1 - mean x^2 / 12, and in space falls to (2 pi^2 / 15) V T^3 sum 1 / c^3 (Debye), V the cell's
    volume and c the speeds of sound, 1 / c^3 averaged over directions; a mode of frequency 0
    counts 1 at every temperature.

    Args:
        frequencies: omega >= 0, over a grid of wavevectors that is even in the zone. Where T is
            less than the smallest of them but those at q = 0, the grid is too coarse.
        temperature: T > 0.

    Ashcroft and Mermin, Solid State Physics (1976), equations 23.13 and 23.20.
    """
    if frequencies.dim() < 1 or not frequencies.numel():
        raise ArgumentError("frequencies", f"shape {list(frequencies.shape)}", "[*q, n]", "pass")
    known = frequencies.detach()
    if not bool((known.isfinite() & (known >= 0)).all()):
        raise ArgumentError(
            "frequencies",
            f"{float(known.min()):.3g}, or NaN or infinity",
            "finite ones >= 0",
            "ask of a stable crystal only",
        )
    if not bool((temperature.detach() > 0).all()) or not bool(temperature.isfinite().all()):
        raise ArgumentError("temperature", temperature.tolist(), "numbers > 0", "pass T > 0")
    flat = frequencies.reshape(-1)
    x = flat / temperature[..., None]
    positive = torch.where(x > 0, x, 1.0)
    # x^2 e^-x / (1 - e^-x)^2: neither overflows for large x nor cancels for small.
    modes = (positive / torch.expm1(-positive)).square() * torch.exp(-positive)
    heat: Tensor = torch.where(x > 0, modes, 1.0).mean(-1) * frequencies.shape[-1]
    return heat
