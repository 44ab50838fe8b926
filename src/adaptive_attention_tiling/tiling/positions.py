"""Positions of tokens, and how far apart they are for an encoding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError


def temporal_distance(positions: Tensor) -> Tensor:
    """p_t - p_{t-1} [*b, T], in units of positions; 0 for the first token, which has none before.

    What an encoding makes of such a distance is `encoding_distance`.
    """
    check_positions(positions, positions.shape)
    return torch.nn.functional.pad(positions.diff(dim=-1), (1, 0))


def encoding_distance(
    distance: Float[Tensor, "*n"], frequencies: Float[Tensor, " m"]
) -> Float[Tensor, "*n"]:
    """How far apart a rotary or sinusoidal encoding puts two tokens, from 0 to 2.

        d(delta)^2 = mean_i 2 (1 - cos(w_i delta)) = mean_i 4 sin^2(w_i delta / 2)

    For sinusoidal encodings this is |PE(p + delta) - PE(p)| over the norm of a PE. For rotary ones
    it is |R(p + delta) x - R(p) x| / |x|, root mean square over the directions of x. Both depend
    on delta alone; they grow like delta while w_i delta << 1 and level off near sqrt(2) beyond.

    Args:
        distance: of positions, such as `temporal_distance`.
        frequencies: the encoding's w_i, in radians per unit of position.
    """
    if frequencies.dim() != 1 or frequencies.numel() == 0:
        raise ArgumentError(
            "frequencies",
            f"shape {list(frequencies.shape)}",
            "[m] with m > 0",
            "pass base ** (-arange(0, D, 2) / D)",
        )
    half = 0.5 * distance[..., None] * frequencies
    return 2 * half.sin().square().mean(-1).sqrt()


def check_positions(positions: Tensor, shape: Sequence[int], before: Tensor | None = None) -> None:
    """Raise an ArgumentError unless positions have this shape and strictly increase along T.

    `before`, [*b], is the position that the first one has to exceed.
    """
    if tuple(positions.shape) != tuple(shape) or positions.dim() < 1:
        raise ArgumentError(
            "positions",
            f"shape {list(positions.shape)}",
            f"{list(shape)}, one a token",
            "expand positions over the batch",
        )
    if before is not None:
        positions = torch.cat([before[..., None], positions], -1)
    steps = positions.detach().diff(dim=-1)
    # Written so that a NaN fails as well.
    if steps.numel() and not bool((steps > 0).all()):
        raise ArgumentError(
            "positions",
            f"a step of {steps.min().item()}",
            "positions that strictly increase along T",
            "sort the tokens, and leave out padding on the left",
        )
