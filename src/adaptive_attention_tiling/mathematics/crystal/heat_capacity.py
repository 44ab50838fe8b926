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
    # x^2 e^-x / (1 - e^-x)^2, which is 0 to rounding beyond 1e3; for small x its gradient cancels,
    # where the series in squares of omega keeps those of nearly still modes exact.
    large = x.clamp(0.1, 1e3)
    modes = (large / torch.expm1(-large)).square() * torch.exp(-large)
    square = x.clamp(max=0.1).square()
    series = 1 - square / 12 + square**2 / 240 - square**3 / 6048 + square**4 / 172800
    heat: Tensor = torch.where(x > 0.1, modes, series).mean(-1) * frequencies.shape[-1]
    return heat
