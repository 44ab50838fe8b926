"""Rotary position embedding."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def rotate(
    heads: Float[Tensor, "B H T D"], positions: Int[Tensor, "#B T"], *, base: float = 10_000.0
) -> Float[Tensor, "B H T D"]:
    """Turn channels d and d + D/2 of the token at position p by the angle p base^(-2d/D).

    Scores of turned queries and keys depend on the difference of their positions alone. D is even.
    Su et al., RoFormer (2021), equation 34; the pairs are (d, d + D/2), as in GPT-NeoX and Llama,
    where RoFormer pairs neighbours.
    """
    half = heads.shape[-1] // 2
    exponents = torch.arange(half, device=heads.device, dtype=torch.float64) / half
    angles_rad = positions[:, None, :, None].double() * base**-exponents  # [B, 1, T, D/2]
    cosine, sine = angles_rad.cos().to(heads.dtype), angles_rad.sin().to(heads.dtype)
    first, second = heads[..., :half], heads[..., half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
