"""How a head's attention falls with the offset from query to key."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .attention_rows import AttentionRows


class AttentionProfile(NamedTuple):
    """Mean attention in bins of offsets o = i - j, from the most negative to the largest."""

    offsets: Int[Tensor, " n"]
    """Of each bin, the offset nearest to 0."""
    mass: Float[Tensor, " n"]
    """Attention in a bin, mean over rows; it sums to 1."""
    keys: Float[Tensor, " n"]
    """Keys that a row sees in a bin, mean over rows."""

    @property
    def mean_attention(self) -> Float[Tensor, " n"]:
        """Attention a key, mass / keys."""
        return self.mass / self.keys


def attention_profile(rows: AttentionRows) -> AttentionProfile:
    """Mean attention by offset, in bins 0, 1, 2-3, 4-7, ..., and likewise before 0.

        mass_b = mean_i sum_{j: i - j in b} a_ij

    Bins in which no row sees a key are left out: for a causal head all offsets below 0.

    Args:
        rows: of one head; see `attention_rows`.
    """
    weights = rows.weights
    place = torch.arange(rows.tokens, device=weights.device)
    offset = rows.queries[:, None] - place
    # frexp of 0, 1, 2, 4, ... gives 0, 1, 2, 3, ...: bins of the same length in log2.
    level = torch.frexp(offset.abs().double()).exponent.long()
    deepest = int(level.max())
    bins = (level * offset.sign() + deepest).flatten()
    there = offset >= 0 if rows.is_causal else torch.ones_like(offset, dtype=torch.bool)
    mass, keys = (
        weights.new_zeros(2 * deepest + 1).index_add_(0, bins, x.flatten()) / len(weights)
        for x in (weights, there.to(weights))
    )
    signed = torch.arange(-deepest, deepest + 1, device=weights.device)
    nearest = signed.sign() * 2 ** (signed.abs() - 1).clamp(min=0)
    seen = keys > 0
    return AttentionProfile(nearest[seen], mass[seen], keys[seen])
