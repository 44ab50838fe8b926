"""After A came B; A comes again, so say B."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .batch import IGNORED, TokenBatch, require_int, require_size
from .draws import distinct_uniform, integers, integers_but


@dataclass(frozen=True, kw_only=True)
class Induction:
    """Random tokens with one bigram whose first half comes again: `x A B x x A x`.

    The answer at the second A is B. A and both its places are drawn for each sequence, every pair
    of places at least two apart alike likely. All other tokens are anything but A, so only one
    token ever followed it. Knowing that B is not A, but nothing before it, gives
    `1 / (vocabulary - 1)`, a little above `chance`.
    """

    vocabulary: int = 64
    length: int = 128

    def __post_init__(self) -> None:
        require_int("vocabulary", self.vocabulary, 2, "leave room for A and a token that is not A")
        require_int("length", self.length, 3, "leave room for A, B and A again")

    @property
    def asked(self) -> int:
        return 1

    @property
    def chance(self) -> float:
        return 1 / self.vocabulary

    @property
    def optimum(self) -> float:
        return 1.0

    def batch(self, size: int, generator: torch.Generator) -> TokenBatch:
        """`size` sequences, each with a bigram and two places of its own."""
        require_size(size)
        first = integers(self.vocabulary, (size,), generator)
        inputs = integers_but(first, self.vocabulary, self.length, generator)
        # Two places of length - 1, the later one moved on by one, leave room for B between them.
        places = distinct_uniform(size, self.length - 1, 2, generator).sort(dim=1).values
        seen, again = places[:, :1], places[:, 1:] + 1
        inputs.scatter_(1, seen, first[:, None]).scatter_(1, again, first[:, None])
        targets = torch.full_like(inputs, IGNORED)
        targets.scatter_(1, again, inputs.gather(1, seen + 1))
        return TokenBatch(inputs=inputs, targets=targets)
