"""Tiles of equal length along the path of the states, in any metric."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import ArgumentError
from ..mathematics.linalg import safe_norm, safe_sqrt
from .metric import AbstractMetric


def arc_lengths(
    states: Float[Tensor, "*b T C"], metric: AbstractMetric | None = None
) -> Float[Tensor, "*b T"]:
    """The length of the step to each token from the one before it; 0 for the first.

    A step of length 0 has the gradient 0.

    Args:
        metric: of steps, at the state that they lead to; None is Euclidean.
    """
    if states.dim() < 2 or 0 in states.shape[-2:] or not states.is_floating_point():
        raise ArgumentError(
            "states", f"{states.dtype} {list(states.shape)}", "floating [*b, T, C]", "T > 0"
        )
    steps = torch.diff(states, dim=-2, prepend=states[..., :1, :])
    if metric is None:
        return safe_norm(steps)
    return safe_sqrt(metric.squared_norm(states, steps).clamp(min=0))


def equal_arc_borders(lengths: Float[Tensor, "*b T"], tiles: int) -> Int[Tensor, "*b n_plus_1"]:
    """Borders 0 = b_0 < b_1 < ... < b_n = T of n tiles that are equally long along the path.

    A tile ends where the path has covered its share, b_i the first token with
    s_t >= i / n s_T. Each tile has one token at least; a path of length 0 is cut by tokens.

    Args:
        lengths: of the step to each token, >= 0: see `arc_lengths`.
        tiles: n, from 1 to T.
    """
    tokens = lengths.shape[-1]
    if isinstance(tiles, bool) or not isinstance(tiles, int) or not 1 <= tiles <= tokens:
        raise ArgumentError("tiles", tiles, f"an integer from 1 to {tokens}", "pass fewer tiles")
    if not bool((lengths >= 0).all() & lengths.isfinite().all()):
        raise ArgumentError("lengths", "a negative, infinite or NaN length", ">= 0", "use roots")
    covered = lengths.detach().double().cumsum(-1)
    total = covered[..., -1:]
    even = torch.arange(tokens, dtype=torch.float64, device=lengths.device) / tokens
    covered = torch.where(total > 0, covered / torch.where(total > 0, total, 1), even)
    shares = torch.arange(1, tiles, dtype=torch.float64, device=lengths.device) / tiles
    shares = shares.expand(*covered.shape[:-1], -1).contiguous()
    inner = torch.searchsorted(covered.contiguous(), shares)
    # Strictly rising, with room left for the tiles that follow.
    number = torch.arange(1, tiles, device=lengths.device)
    inner = (inner - number).clamp(min=0).cummax(-1).values + number
    inner = torch.minimum(inner, tokens - tiles + number)
    return torch.nn.functional.pad(torch.nn.functional.pad(inner, (1, 0)), (0, 1), value=tokens)
