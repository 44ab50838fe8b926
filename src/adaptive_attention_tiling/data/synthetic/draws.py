"""Random draws that the tasks share, each a whole batch at once."""

from __future__ import annotations

import torch
from torch import Tensor


def integers(high: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Whole numbers from `range(high)`, int64."""
    return torch.randint(high, shape, generator=generator, device=generator.device)


def distinct(size: int, weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`[size, count]` indices into `weights [N]`, drawn in turn without putting back.

    An exponential race: index i arrives at a time of rate `weights[i]`, and the order of arrival is
    that of drawing in turn with these weights.
    """
    arrivals = torch.empty(size, len(weights), device=generator.device)
    arrivals.exponential_(generator=generator).div_(weights)
    return arrivals.topk(count, dim=1, largest=False, sorted=True).indices


def distinct_uniform(size: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    """`[size, count]` different numbers from `range(high)` in random order, all alike likely."""
    # With equal rates any clock will do, and this one is five times as fast as the exponential.
    arrivals = torch.rand(size, high, generator=generator, device=generator.device)
    return arrivals.topk(count, dim=1, largest=False, sorted=True).indices


def integers_but(avoid: Tensor, high: int, length: int, generator: torch.Generator) -> Tensor:
    """`[B, length]` numbers from `range(high)`, none in row b equal to `avoid[b]`; `avoid [B]`."""
    drawn = integers(high - 1, (len(avoid), length), generator)
    return drawn + (drawn >= avoid[:, None])
