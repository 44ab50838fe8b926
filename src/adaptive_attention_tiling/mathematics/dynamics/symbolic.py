"""Entropy rates of what is seen of a system: symbols of orbits, and the sum of exponents."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError


class BlockEntropies(NamedTuple):
    """Shannon entropies H_1 .. H_L of words in nats, and h_k = H_k - H_{k-1} with H_0 = 0."""

    entropies: Tensor
    """H_k [L]."""
    rates: Tensor
    """h_k [L], which fall to the entropy rate; h_k of a Markov chain is exact from k = 2 on."""
    words: Tensor
    """How many different words of each length were seen [L]."""


def block_entropies(symbols: Int[Tensor, "*b t"], longest: int) -> BlockEntropies:
    """Entropies of the words of 1 to `longest` symbols, counted over all rows together.

    Words that are too long for the sample look too orderly: the estimate falls short by about
    (words - 1) / (2 samples) nats, so words should be few beside the sample, and `words` tells.

    Args:
        symbols: whole numbers >= 0, the box or half of the space that an orbit is in.
        longest: L, at most t.

    Raises:
        ArgumentError: symbols of another kind, or words longer than a row.

    Source: Cover and Thomas, Elements of Information Theory (2006), section 4.2; of dynamics
    (Kolmogorov and Sinai) Eckmann and Ruelle, Rev. Mod. Phys. 57 (1985), section IV.
    """
    if symbols.dim() < 1 or symbols.is_floating_point() or symbols.is_complex():
        raise ArgumentError(
            "symbols", f"{symbols.dtype} {list(symbols.shape)}", "whole numbers [..., t]", "round"
        )
    rows = symbols.reshape(-1, symbols.shape[-1]).long()
    if rows.numel() == 0 or bool((rows < 0).any()):
        raise ArgumentError("symbols", "none, or one below 0", "numbers >= 0", "count from 0")
    whole = isinstance(longest, int) and not isinstance(longest, bool)
    if not whole or not 1 <= longest <= rows.shape[1]:
        raise ArgumentError("longest", longest, f"1 to {rows.shape[1]}", "take shorter words")
    found, seen = [], []
    word = torch.zeros_like(rows)
    # Symbols and words are numbered anew, so that numbers stay below the square of the sample.
    letters, rows = rows.unique(return_inverse=True)
    for length in range(1, longest + 1):
        grown = word[:, : rows.shape[1] - length + 1] * len(letters) + rows[:, length - 1 :]
        _, word, counts = grown.unique(return_inverse=True, return_counts=True)
        share = counts.double() / counts.sum()
        found.append(-(share * share.log()).sum())
        seen.append(len(counts))
    entropies = torch.stack(found)
    first = torch.zeros(1, dtype=entropies.dtype, device=entropies.device)
    return BlockEntropies(
        entropies, entropies.diff(prepend=first), torch.tensor(seen, device=symbols.device)
    )


def pesin_entropy(exponents: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
    """h = the sum of the positive Lyapunov exponents, in nats a step.

    The Kolmogorov-Sinai entropy where the invariant measure has densities along unstable
    directions, and never less than it (Ruelle's inequality).

    Source: Pesin (1977); Eckmann and Ruelle (1985), section IV.C.
    """
    return exponents.clamp(min=0).sum(-1)
