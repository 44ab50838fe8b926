"""Memories whose features are numbers of moderate size: plain sums, the fastest form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..softmax_attention import Partial
from .memory import GIVEN, Chunk, MemorySums, NativeFeatures, normalised, without_level

FeatureMap = Callable[[tuple[Tensor, ...], Tensor], Tensor]


@dataclass(frozen=True)
class FeatureMemory:
    """Weights w_ij = gate_j gamma_(j, i] phi(q_i) . phi(k_j), with sum_j w_ij > 0.

    Inside a chunk the weights are a matrix; what came before is in the sums:

        out_i mass_i = sum_{j <= i in the chunk} w_ij v_j + gamma_(start, i] phi(q_i)^T S

    `feature_map(tensors, x [B, H, T, D]) -> [B, H, T, F]`. Where phi(q) . phi(k) is cheaper
    than its features are, `kernel(tensors, q, k) -> [B, H, T, S]` gives it inside chunks.
    """

    tensors: tuple[Tensor, ...]
    heads: int
    features: int
    feature_map: FeatureMap
    kernel: Callable[[tuple[Tensor, ...], Tensor, Tensor], Tensor] | None = None
    native: NativeFeatures = GIVEN

    def start(self, sums: MemorySums) -> MemorySums:
        return without_level(sums)

    def attend(
        self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk
    ) -> tuple[Partial, MemorySums]:
        group, length = chunk.query.shape[2:4]
        query = chunk.query.flatten(2, 3)
        read = self.feature_map(tensors, query)
        written = self.feature_map(tensors, chunk.key)
        if self.kernel is None:
            weights = read @ written.mT
        else:
            weights = self.kernel(tensors, query, chunk.key)
        if chunk.gate is not None:
            strength = chunk.gate.exp()
            weights = weights * strength.mT
            written = written * strength
        if chunk.decay is None:
            weights = weights.unflatten(2, (group, length)).tril().flatten(2, 3)
        else:
            between = decay_matrix(chunk.decay)[:, :, None]
            weights = (weights.unflatten(2, (group, length)) * between).flatten(2, 3)
            since_start = chunk.decay.cumsum(-2).exp()
            read = (read.unflatten(2, (group, length)) * since_start[:, :, None]).flatten(2, 3)
        part = normalised(
            matmul_add(weights @ chunk.value, read, sums.values),
            weights.sum(-1) + (read @ sums.mass[..., None])[..., 0],
        )
        return grouped(part, group), _added(sums, written, chunk)

    def absorb(self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk) -> MemorySums:
        written = self.feature_map(tensors, chunk.key)
        if chunk.gate is not None:
            written = written * chunk.gate.exp()
        return _added(sums, written, chunk)

    def read(self, tensors: tuple[Tensor, ...], sums: MemorySums, query: Tensor) -> Partial:
        features = self.feature_map(tensors, query.flatten(2, 3))
        part = normalised(features @ sums.values, (features @ sums.mass[..., None])[..., 0])
        return grouped(part, query.shape[2])


def grouped(part: Partial, group: int) -> Partial:
    """[B, H, R L, ...] as [B, H, R, L, ...]."""
    return Partial(part.out.unflatten(2, (group, -1)), part.lse.unflatten(2, (group, -1)))


def matmul_add(total: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """total + left @ right, for [B, H, ...], in one pass over total."""
    flat = (tensor.flatten(0, 1) for tensor in (total, left, right))
    return torch.baddbmm(*flat).view_as(total)


def decay_matrix(decay: Tensor) -> Tensor:
    """gamma_(j, i] = exp(sum_{j < t <= i} log gamma_t) for j <= i, else 0 [B, H, L, L].

    Summed from j on for every j, because differences of long sums would lose digits.
    """
    length = decay.shape[-2]
    steps = decay.expand(*decay.shape[:-1], length).tril(-1)
    return steps.cumsum(-2).exp().tril()


def remaining(decay: Tensor) -> Tensor:
    """log gamma from after each time to the end of the chunk."""
    return decay.flip(-2).cumsum(-2).flip(-2) - decay


def _added(sums: MemorySums, written: Tensor, chunk: Chunk) -> MemorySums:
    values, mass, level = sums
    if chunk.decay is not None:
        written = written * remaining(chunk.decay).exp()
        whole = chunk.decay.sum(-2).exp()
        values, mass = values * whole[..., None], mass * whole
    return MemorySums(
        matmul_add(values, written.mT, chunk.value), mass + written.sum(-2), level.clone()
    )
