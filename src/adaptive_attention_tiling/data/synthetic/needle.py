"""One pair hidden at a chosen depth of random text, asked for at the end."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...errors import ArgumentError
from .batch import IGNORED, TokenBatch, require_int, require_size
from .draws import integers, integers_but


@dataclass(frozen=True, kw_only=True)
class Needle:
    """Random tokens around one key and its value, then the key again: `x x k v x x k`.

    The answer at the last position is the value. `depth` 0 puts the pair at the very start, 1 right
    before the question, None at a place drawn for each sequence. The key is from the lower half of
    the vocabulary, the value from the upper half, and the text is anything but the key, so nothing
    marks the pair until it is asked for.
    """

    vocabulary: int = 64
    length: int = 128
    depth: float | None = None

    def __post_init__(self) -> None:
        require_int("vocabulary", self.vocabulary, 2, "leave room for a key and a value")
        require_int("length", self.length, 3, "leave room for a key, its value and the question")
        if self.depth is not None and not 0 <= self.depth <= 1:
            raise ArgumentError(
                "depth", self.depth, "from 0 to 1, or None", "pass depth=0.5 for the middle"
            )

    @property
    def asked(self) -> int:
        return 1

    @property
    def chance(self) -> float:
        return 1 / (self.vocabulary - self.vocabulary // 2)

    @property
    def optimum(self) -> float:
        return 1.0

    def batch(self, size: int, generator: torch.Generator) -> TokenBatch:
        """`size` texts, each with a pair of its own."""
        require_size(size)
        first_value = self.vocabulary // 2
        key = integers(first_value, (size,), generator)
        value = first_value + integers(self.vocabulary - first_value, (size,), generator)
        inputs = integers_but(key, self.vocabulary, self.length, generator)
        place = self._places(size, generator)[:, None]
        inputs.scatter_(1, place, key[:, None]).scatter_(1, place + 1, value[:, None])
        inputs[:, -1] = key
        targets = torch.full_like(inputs, IGNORED)
        targets[:, -1] = value
        return TokenBatch(inputs=inputs, targets=targets)

    def _places(self, size: int, generator: torch.Generator) -> torch.Tensor:
        last = self.length - 3
        if self.depth is None:
            return integers(last + 1, (size,), generator)
        return torch.full(
            (size,), round(self.depth * last), dtype=torch.int64, device=generator.device
        )
