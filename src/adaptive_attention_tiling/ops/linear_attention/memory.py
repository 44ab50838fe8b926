"""What a memory of fixed size is, and what one chunk of tokens looks like to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..softmax_attention import EMPTY, Partial


class MemorySums(NamedTuple):
    """All that is kept of the tokens read: sums over keys j, for each feature s of a head.

    values  sum_j phi_s(k_j) v_j exp(-level_s)   [B, H, F, E]
    mass    sum_j phi_s(k_j) exp(-level_s)       [B, H, F]
    level   a logarithm taken out of both        [B, H, F]; -inf where nothing was read
    """

    values: Tensor
    mass: Tensor
    level: Tensor


class Chunk(NamedTuple):
    """Tokens in a row; R queries share a key head. The time axis is the last but one.

    query [B, H, R, L, D], key [B, H, L, D], value [B, H, L, E]; gate [B, H, L, 1] or None: the
    logarithm of a factor on each key's weight; decay [B, H, L, 1 or F] or None: log gamma, by
    which what was read before is multiplied when the key of that time is read.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    gate: Tensor | None
    decay: Tensor | None


@dataclass(frozen=True)
class NativeFeatures:
    """How compiled kernels evaluate the features of a memory, from the memory's own tensors.

    Attributes:
        kind: one of `native.KINDS`; "given" features are evaluated in torch and then handed over.
        constant: how many of the last features are the same for all points.
        background: the constant weight of all pairs, of fidelities.
    """

    kind: str = "given"
    constant: int = 0
    background: float = 0.0


GIVEN = NativeFeatures()


class Memory(Protocol):
    """A way to read keys into sums and to answer queries from them.

    `tensors` holds all parameters, and methods get them back as their first argument, so that
    `chunk_scan` can send gradients to them.
    """

    @property
    def tensors(self) -> tuple[Tensor, ...]: ...

    @property
    def heads(self) -> int: ...

    @property
    def features(self) -> int: ...

    def start(self, sums: MemorySums) -> MemorySums:
        """The same sums as the other methods take them."""

    def attend(
        self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk
    ) -> tuple[Partial, MemorySums]:
        """Read a key, answer the query of its time, and so on; out [B, H, R, L, E]."""

    def absorb(self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk) -> MemorySums:
        """Read all keys; the queries are not looked at."""

    def read(self, tensors: tuple[Tensor, ...], sums: MemorySums, query: Tensor) -> Partial:
        """Answer all queries from the same sums."""


def empty_sums(memory: Memory, batch: int, value: Tensor) -> MemorySums:
    """A memory that has read nothing."""
    shape = (batch, memory.heads, memory.features)
    level = value.new_full(shape, EMPTY)
    return MemorySums(value.new_zeros(*shape, value.shape[-1]), value.new_zeros(shape), level)


def without_level(sums: MemorySums) -> MemorySums:
    """The same sums with level 0, for features that need no scaling."""
    factor = torch.where(sums.level == EMPTY, 0.0, sums.level.exp())
    level = torch.zeros_like(sums.level)
    return MemorySums(sums.values * factor[..., None], sums.mass * factor, level)


def normalised(numerator: Tensor, mass: Tensor, level: Tensor | float = 0.0) -> Partial:
    """numerator / mass, and log mass + level; EMPTY where there is no mass."""
    nothing = mass <= torch.finfo(mass.dtype).tiny
    mass = mass.masked_fill(nothing, 1.0)
    lse = (mass.log() + level).masked_fill(nothing, EMPTY)
    return Partial(numerator / mass[..., None], lse)
