"""Memories whose features are numbers of moderate size: plain sums, the fastest form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..softmax_attention import EMPTY, Partial
from .memory import Chunk, MemorySums, normalised

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
        weights = weights.unflatten(2, (group, length))
        if chunk.gate is not None:
            strength = chunk.gate.exp()
            weights = weights * strength.mT[:, :, None]
            written = written * strength
        if chunk.decay is None:
            weights = weights.tril()
        else:
            weights = weights * decay_matrix(chunk.decay)[:, :, None]
            since_start = chunk.decay.cumsum(-2).exp()
            read = (read.unflatten(2, (group, length)) * since_start[:, :, None]).flatten(2, 3)
        weights = weights.flatten(2, 3)
        values, mass = _unscaled(sums)
        numerator = weights @ chunk.value + read @ values
        denominator = weights.sum(-1) + (read @ mass[..., None])[..., 0]
        out = normalised(numerator, denominator)
        part = Partial(out.out.unflatten(2, (group, length)), out.lse.unflatten(2, (group, length)))
        return part, _added(values, mass, written, chunk)

    def absorb(self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk) -> MemorySums:
        written = self.feature_map(tensors, chunk.key)
        if chunk.gate is not None:
            written = written * chunk.gate.exp()
        return _added(*_unscaled(sums), written, chunk)

    def read(self, tensors: tuple[Tensor, ...], sums: MemorySums, query: Tensor) -> Partial:
        group, length = query.shape[2:4]
        features = self.feature_map(tensors, query.flatten(2, 3))
        values, mass = _unscaled(sums)
        part = normalised(features @ values, (features @ mass[..., None])[..., 0])
        return Partial(
            part.out.unflatten(2, (group, length)), part.lse.unflatten(2, (group, length))
        )


def decay_matrix(decay: Tensor) -> Tensor:
    """gamma_(j, i] = exp(sum_{j < t <= i} log gamma_t) for j <= i, else 0 [B, H, L, L].

    Summed from j on for every j, because differences of long sums would lose digits.
    """
    length = decay.shape[-2]
    steps = decay.expand(*decay.shape[:-1], length).tril(-1)
    return steps.cumsum(-2).exp().tril()


def _unscaled(sums: MemorySums) -> tuple[Tensor, Tensor]:
    factor = torch.where(sums.level == EMPTY, 0.0, sums.level).exp()
    return sums.values * factor[..., None], sums.mass * factor


def _added(values: Tensor, mass: Tensor, written: Tensor, chunk: Chunk) -> MemorySums:
    if chunk.decay is not None:
        after = chunk.decay.flip(-2).cumsum(-2).flip(-2) - chunk.decay
        written = written * after.exp()
        whole = chunk.decay.sum(-2).exp()
        values, mass = values * whole[..., None], mass * whole
    values = values + written.mT @ chunk.value
    mass = mass + written.sum(-2)
    return MemorySums(values, mass, torch.zeros_like(mass))
