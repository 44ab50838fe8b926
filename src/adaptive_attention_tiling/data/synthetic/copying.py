"""Say a random string again."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...errors import ArgumentError
from .batch import IGNORED, TokenBatch, require_int, require_size
from .draws import integers

_SEPARATOR = 0


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A random string, a separator, and the string again: `s1 s2 s3 | s1 s2`.

    From the separator on the next symbol is asked at each position, so the last symbol is an answer
    but never an input. Id 0 is the separator, the other ids are symbols, each drawn alone. The
    answer at position t is the input `length // 2` positions back.
    """

    vocabulary: int = 64
    length: int = 128

    def __post_init__(self) -> None:
        require_int("vocabulary", self.vocabulary, 2, "leave room for a separator and a symbol")
        require_int("length", self.length, 2, "leave room for a symbol and the separator")
        if self.length % 2:
            raise ArgumentError(
                "length",
                self.length,
                "an even number: the string, then the separator and all of it but its last symbol",
                f"pass length={self.length + 1}",
            )

    @property
    def asked(self) -> int:
        return self.length // 2

    @property
    def chance(self) -> float:
        return 1 / (self.vocabulary - 1)

    @property
    def optimum(self) -> float:
        return 1.0

    def batch(self, size: int, generator: torch.Generator) -> TokenBatch:
        """`size` strings, each to be said twice."""
        require_size(size)
        string = 1 + integers(self.vocabulary - 1, (size, self.asked), generator)
        separator = torch.full_like(string[:, :1], _SEPARATOR)
        return TokenBatch(
            inputs=torch.cat([string, separator, string[:, :-1]], dim=1),
            targets=torch.cat([torch.full_like(string, IGNORED), string], dim=1),
        )
