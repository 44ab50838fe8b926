"""Say again, in order, the few symbols that stood among blanks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...errors import ArgumentError
from .batch import IGNORED, TokenBatch, require_int, require_size
from .draws import distinct_uniform, integers


@dataclass(frozen=True, kw_only=True)
class SelectiveCopy:
    """Symbols at random places among blanks, then a question for each: `_ s1 _ _ s2 _ ? ?`.

    The i-th question asks for the i-th symbol. Unlike in `Copy` the answers do not come back as
    inputs, so the model has to count. Ids below `blanks` are noise, id `blanks` is the question,
    those above are symbols, each drawn alone.

    Source: the selective copying of Mamba (Gu and Dao 2023, arXiv 2312.00752, section 4.1.1), with
    `items` for its number of data tokens. Theirs has one kind of noise, ours `blanks` kinds.
    """

    vocabulary: int = 64
    length: int = 128
    items: int = 16
    blanks: int = 1

    def __post_init__(self) -> None:
        require_int("items", self.items, 1, "ask for at least one symbol")
        require_int("blanks", self.blanks, 1, "pass blanks=1 for a single kind of noise")
        require_int(
            "vocabulary", self.vocabulary, 2, "leave room for blanks, a question and symbols"
        )
        if self.vocabulary < self.blanks + 2:
            raise ArgumentError(
                "vocabulary",
                self.vocabulary,
                f"at least {self.blanks + 2}: {self.blanks} blanks, a question and a symbol",
                "pass a larger vocabulary or fewer blanks",
            )
        require_int("length", self.length, 2, "leave room for a symbol and its question")
        if self.length < 2 * self.items:
            raise ArgumentError(
                "length",
                self.length,
                f"at least {2 * self.items}: {self.items} symbols and as many questions",
                "pass a longer length or fewer items",
            )

    @property
    def asked(self) -> int:
        return self.items

    @property
    def chance(self) -> float:
        return 1 / (self.vocabulary - self.blanks - 1)

    @property
    def optimum(self) -> float:
        return 1.0

    def batch(self, size: int, generator: torch.Generator) -> TokenBatch:
        """`size` sequences, each with its symbols at places of its own."""
        require_size(size)
        room = self.length - self.items
        places = distinct_uniform(size, room, self.items, generator).sort(dim=1).values
        first = self.blanks + 1
        symbols = first + integers(self.vocabulary - first, (size, self.items), generator)
        context = integers(self.blanks, (size, room), generator).scatter_(1, places, symbols)
        return TokenBatch(
            inputs=torch.cat([context, torch.full_like(symbols, self.blanks)], dim=1),
            targets=torch.cat([torch.full_like(context, IGNORED), symbols], dim=1),
        )
