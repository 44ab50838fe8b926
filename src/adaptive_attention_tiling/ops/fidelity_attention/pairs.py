"""Reading all pairs of a sequence that is short enough, without features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..linear_attention import FeatureMemory, MemorySums
from ..linear_attention.feature_memory import decay_matrix, grouped
from ..linear_attention.memory import Chunk, normalised
from ..softmax_attention import Partial
from .kernel import FidelityKernel

# Queries at a time: each block leaves out the keys after it, which saves up to half of all pairs.
ROWS = 256


@dataclass(frozen=True)
class PairMemory:
    """A memory for one chunk that nothing came before and nothing comes after.

    It weighs the pairs of the chunk, and neither looks at the sums nor adds to them.
    """

    kernel: FidelityKernel
    memory: FeatureMemory

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.memory.tensors

    @property
    def heads(self) -> int:
        return self.memory.heads

    @property
    def features(self) -> int:
        return self.memory.features

    def start(self, sums: MemorySums) -> MemorySums:
        return self.memory.start(sums)

    def attend(
        self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk
    ) -> tuple[Partial, MemorySums]:
        length = chunk.query.shape[3]
        query, key = self.kernel.states(chunk.query), self.kernel.states(chunk.key)
        strength = None if chunk.gate is None else chunk.gate.exp().mT[:, :, None]
        kept = None if chunk.decay is None else decay_matrix(chunk.decay)[:, :, None]
        parts = []
        for start in range(0, length, ROWS):
            end = min(start + ROWS, length)
            rows = query[:, :, :, start:end]
            weights = self.kernel.weights(rows.flatten(2, 3), key[:, :, :end])
            weights = weights.unflatten(2, rows.shape[2:4])
            if strength is not None:
                weights = weights * strength[..., :end]
            weights = weights.tril(start) if kept is None else weights * kept[..., start:end, :end]
            parts.append(_mean(weights, chunk.value[:, :, :end]))
        out = Partial(torch.cat([p.out for p in parts], 3), torch.cat([p.lse for p in parts], 3))
        return out, sums

    def absorb(self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk) -> MemorySums:
        return self.memory.absorb(tensors, sums, chunk)

    def read(self, tensors: tuple[Tensor, ...], sums: MemorySums, query: Tensor) -> Partial:
        return self.memory.read(tensors, sums, query)


def attend_all_pairs(
    kernel: FidelityKernel, query: Tensor, key: Tensor, value: Tensor, gate: Tensor | None
) -> Tensor:
    """out [B, H, T, E] of queries [B, H, T, n] that all see all keys [B, G, S, n]."""
    query = kernel.states(query.unflatten(1, (key.shape[1], -1)))
    weights = kernel.weights(query.flatten(2, 3), kernel.states(key)).unflatten(2, query.shape[2:4])
    if gate is not None:
        weights = weights * gate.exp()[:, :, None, None]
    return _mean(weights, value).out.flatten(1, 2)


def _mean(weights: Tensor, value: Tensor) -> Partial:
    """Of values [B, H, S, E] by weights [B, H, R, T, S]."""
    rows = weights.flatten(2, 3)
    return grouped(normalised(rows @ value, rows.sum(-1)), weights.shape[2])
