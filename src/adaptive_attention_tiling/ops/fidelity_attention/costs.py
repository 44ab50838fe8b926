"""Which form is cheapest at which length: measured rules."""

from __future__ import annotations


def crossover_tokens(features: int) -> int:
    """The length up to which weighing all pairs costs no more than sums over features."""
    return 8 * features


def chunk_tokens(features: int) -> int:
    """How many tokens are read at once by the chunked form."""
    return 128 if features < 600 else 256
