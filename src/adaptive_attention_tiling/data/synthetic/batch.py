"""What every task hands out, and what every task can be asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...errors import ArgumentError

IGNORED = -100
"""The target where no answer is asked: what torch's cross-entropy leaves out by default."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenBatch:
    """Token ids and the answers asked, both `[B, T]` and int64.

    `targets[:, t]` is what a model should say at position t having read `inputs[:, : t + 1]`: the
    shift by one is already made, so compare them with the logits at the same position. It is
    IGNORED where nothing is asked.
    """

    inputs: Tensor
    targets: Tensor


class Task(Protocol):
    """A source of batches whose best and whose blind accuracy are both known.

    vocabulary: number of token ids; inputs and answers lie in `range(vocabulary)`.
    length: tokens in a sequence.
    asked: answers asked in each sequence.
    chance: the accuracy, over asked positions, of the best guess that reads no input.
    optimum: the best accuracy that reading the inputs up to each asked position allows.
    """

    @property
    def vocabulary(self) -> int: ...

    @property
    def length(self) -> int: ...

    @property
    def asked(self) -> int: ...

    @property
    def chance(self) -> float: ...

    @property
    def optimum(self) -> float: ...

    def batch(self, size: int, generator: torch.Generator) -> TokenBatch:
        """`size` fresh sequences, on the generator's device; the same seed draws the same ones."""
        ...


def require_int(name: str, got: object, least: int, fix: str) -> None:
    """Raise ArgumentError unless `got` is a whole number from `least` up."""
    if not isinstance(got, int) or isinstance(got, bool) or got < least:
        raise ArgumentError(name, got, f"a whole number from {least} up", fix)


def require_positive(name: str, got: float, fix: str) -> None:
    """Raise ArgumentError unless `got` is finite and above zero."""
    if not (math.isfinite(got) and got > 0):
        raise ArgumentError(name, got, "a finite number above 0", fix)


def require_size(size: int) -> None:
    """Raise ArgumentError unless `size` counts at least one sequence."""
    require_int("size", size, 1, "ask for the number of sequences you want")
