"""Memories with features known by their logarithms, of any size, each with a decay of its own.

A chunk is halved again and again. Queries of the second half of a block read the keys of its first
half through the middle: both factors of

    phi(q_i) gamma_(j, i] phi(k_j) = [phi(q_i) gamma_(middle, i]] [gamma_(j, middle] phi(k_j)]

shrink with distance, so nothing overflows; each feature of the keys is scaled by its largest value
over the half, each query by its largest product, so no row of weights is lost to underflow. Nothing
looks at a later token, not even for scaling. Blocks of `_LEAF` tokens are summed pair by pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..softmax_attention import EMPTY, Partial
from .feature_memory import remaining
from .memory import GIVEN, Chunk, MemorySums, NativeFeatures, normalised

_LEAF = 8

LogFeatureMap = Callable[[tuple[Tensor, ...], Tensor], Tensor]


@dataclass(frozen=True)
class LogMemory:
    """Weights w_ij = gate_j sum_s exp(l_s(q_i) + l_s(k_j) + sum_{j < t <= i} log gamma_ts).

    `log_feature_map(tensors, x [B, H, T, D]) -> l [B, H, T, F]`, -inf where a feature is 0.
    """

    tensors: tuple[Tensor, ...]
    heads: int
    features: int
    log_feature_map: LogFeatureMap
    native: NativeFeatures = GIVEN

    def start(self, sums: MemorySums) -> MemorySums:
        return sums

    def attend(
        self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk
    ) -> tuple[Partial, MemorySums]:
        group, length = chunk.query.shape[2:4]
        read = self.log_feature_map(tensors, chunk.query.flatten(2, 3))
        read = read.unflatten(2, (group, length))
        written = self._written(tensors, chunk)
        decay = _full_decay(chunk, written)
        parts = [_through(read + decay.cumsum(-2)[:, :, None], sums)]
        parts += _inside(read, written, decay, chunk.value)
        return _merged(parts), _added(sums, written, decay, chunk.value)

    def absorb(self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk) -> MemorySums:
        written = self._written(tensors, chunk)
        return _added(sums, written, _full_decay(chunk, written), chunk.value)

    def read(self, tensors: tuple[Tensor, ...], sums: MemorySums, query: Tensor) -> Partial:
        logs = self.log_feature_map(tensors, query.flatten(2, 3))
        return _through(logs.unflatten(2, query.shape[2:4]), sums)

    def _written(self, tensors: tuple[Tensor, ...], chunk: Chunk) -> Tensor:
        logs = self.log_feature_map(tensors, chunk.key)
        return logs if chunk.gate is None else logs + chunk.gate


def _full_decay(chunk: Chunk, like: Tensor) -> Tensor:
    if chunk.decay is None:
        return like.new_zeros(*like.shape[:-1], 1)
    return chunk.decay


def _top(logs: Tensor, dim: int) -> Tensor:
    """The largest, as a constant that scales; 0 where all are -inf."""
    top: Tensor = logs.detach().amax(dim, keepdim=True)
    return torch.where(top == EMPTY, 0.0, top)


def _through(read: Tensor, sums: MemorySums) -> Partial:
    """Queries [B, H, R, T, F] answered from sums that broadcast as [B, H, F, ...]."""
    logs = read + sums.level[:, :, None, None]
    top = _top(logs, -1)
    weights = (logs - top).exp()
    numerator = weights @ sums.values[:, :, None]
    mass = (weights @ sums.mass[:, :, None, :, None])[..., 0]
    return normalised(numerator, mass, top[..., 0])


def _added(sums: MemorySums, written: Tensor, decay: Tensor, value: Tensor) -> MemorySums:
    logs = written + remaining(decay)
    kept = sums.level + decay.sum(-2)
    level = torch.maximum(kept.detach(), logs.detach().amax(-2))
    scale = torch.where(level == EMPTY, 0.0, level)
    old, new = (kept - scale).exp(), (logs - scale[..., None, :]).exp()
    values = old[..., None] * sums.values + new.mT @ value
    return MemorySums(values, old * sums.mass + new.sum(-2), level)


def _inside(read: Tensor, written: Tensor, decay: Tensor, value: Tensor) -> list[Partial]:
    """Every pair j <= i of a chunk in one of the parts; each part covers all queries."""
    length = read.shape[-2]
    size = _LEAF
    while size < length:
        size *= 2
    read, value = (pad(t, (0, 0, 0, size - length)) for t in (read, value))
    written = pad(written, (0, 0, 0, size - length), value=EMPTY)
    decay = pad(decay, (0, 0, 0, size - length))
    parts = []
    while size > _LEAF:
        parts.append(_across(*(_blocks(t, size) for t in (read, written, decay, value))))
        size //= 2
    parts.append(_leaves(*(_blocks(t, _LEAF) for t in (read, written, decay, value))))
    return [Partial(p.out[..., :length, :], p.lse[..., :length]) for p in parts]


def _blocks(tensor: Tensor, size: int) -> Tensor:
    blocks: Tensor = tensor.unflatten(-2, (-1, size))
    return blocks


def _across(read: Tensor, written: Tensor, decay: Tensor, value: Tensor) -> Partial:
    """The second half of each block reads its first half; inputs [B, H, (R,) n, size, ...]."""
    half = read.shape[-2] // 2
    logs = written[..., :half, :] + remaining(decay[..., :half, :])
    scale = _top(logs, -2)
    keys = (logs - scale).exp()[:, :, None]
    asked = read[..., half:, :] + (decay[..., half:, :].cumsum(-2) + scale)[:, :, None]
    # A feature that no key of the half has must not be the one that scales the query.
    silent = (logs.detach().amax(-2, keepdim=True) == EMPTY)[:, :, None]
    asked = asked.masked_fill(silent, EMPTY)
    top = _top(asked, -1)
    weights = (asked - top).exp() @ keys.mT
    part = normalised(weights @ value[:, :, None, ..., :half, :], weights.sum(-1), top[..., 0])
    out = pad(part.out, (0, 0, half, 0)).flatten(-3, -2)
    return Partial(out, pad(part.lse, (half, 0), value=EMPTY).flatten(-2))


def _leaves(read: Tensor, written: Tensor, decay: Tensor, value: Tensor) -> Partial:
    """Pairs j <= i of one leaf, feature by feature."""
    size = read.shape[-2]
    i, j = torch.tril_indices(size, size, device=read.device)
    total = torch.cat([torch.zeros_like(decay[..., :1, :]), decay.cumsum(-2)], -2)
    between = (total[..., i + 1, :] - total[..., j + 1, :])[:, :, None]
    logs = read[..., i, :] + written[:, :, None, ..., j, :] + between
    top = _top(logs, -1)
    # [B, H, R, n, pairs]
    pairs = normalised(logs[..., :0], (logs - top).exp().sum(-1), top[..., 0]).lse
    matrix = pairs.new_full((*pairs.shape[:-1], size, size), EMPTY)
    matrix[..., i, j] = pairs
    row = _top(matrix, -1)
    weights = (matrix - row).exp()
    part = normalised(weights @ value[:, :, None], weights.sum(-1), row[..., 0])
    return Partial(part.out.flatten(-3, -2), part.lse.flatten(-2))


def _merged(parts: list[Partial]) -> Partial:
    levels = torch.stack([part.lse for part in parts])
    top = _top(levels, 0)
    weights = (levels - top).exp()
    numerator = sum(w[..., None] * p.out for w, p in zip(weights, parts, strict=True))
    assert isinstance(numerator, Tensor)
    return normalised(numerator, weights.sum(0), top[0])
