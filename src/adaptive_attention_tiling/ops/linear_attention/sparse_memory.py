"""Memories of which every token reads and writes only a few features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..softmax_attention import Partial
from .feature_memory import decay_matrix, grouped, remaining
from .log_memory import LogFeatureMap
from .memory import Chunk, MemorySums, normalised, without_level


@dataclass(frozen=True)
class SparseMemory:
    """FeatureMemory with phi_s(x) = exp(l_s(x)) for the largest `top` features of x, else 0.

    The last feature (the background) is kept as well if `background`. Rows of the sums are
    gathered and added by index: after the choice, cost and traffic follow `top`, not F. Decay is
    one number a head.
    """

    tensors: tuple[Tensor, ...]
    heads: int
    features: int
    log_feature_map: LogFeatureMap
    top: int
    background: bool

    def start(self, sums: MemorySums) -> MemorySums:
        return without_level(sums)

    def attend(
        self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk
    ) -> tuple[Partial, MemorySums]:
        group, length = chunk.query.shape[2:4]
        read, rows = self._chosen(tensors, chunk.query.flatten(2, 3))
        written, places = self._written(tensors, chunk)
        # Each query's features in full, then looked up where keys write: [.., R * L, L * m].
        spread = read.new_zeros(*read.shape[:-1], self.features).scatter(-1, rows, read)
        columns = places.flatten(-2)[:, :, None].expand(-1, -1, read.shape[2], -1)
        looked_up = spread.gather(-1, columns).unflatten(-1, places.shape[-2:])
        weights = (looked_up * written[:, :, None]).sum(-1).unflatten(2, (group, length))
        after: Tensor | None = None
        if chunk.decay is None:
            weights = weights.tril()
        else:
            weights = weights * decay_matrix(chunk.decay)[:, :, None]
            since_start = chunk.decay.cumsum(-2).exp()
            read = (read.unflatten(2, (group, length)) * since_start[:, :, None]).flatten(2, 3)
            after = remaining(chunk.decay)
        weights = weights.flatten(2, 3)
        numerator, mass = self._looked_up(sums, read, rows)
        part = normalised(numerator + weights @ chunk.value, mass + weights.sum(-1))
        return grouped(part, group), self._added(sums, written, places, after, chunk)

    def absorb(self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk) -> MemorySums:
        written, places = self._written(tensors, chunk)
        after = None
        if chunk.decay is not None:
            after = remaining(chunk.decay)
        return self._added(sums, written, places, after, chunk)

    def read(self, tensors: tuple[Tensor, ...], sums: MemorySums, query: Tensor) -> Partial:
        part = normalised(*self._looked_up(sums, *self._chosen(tensors, query.flatten(2, 3))))
        return grouped(part, query.shape[2])

    def _chosen(self, tensors: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, Tensor]:
        logs, index = top_features(self.log_feature_map(tensors, x), self.top, self.background)
        return logs.exp(), index

    def _written(self, tensors: tuple[Tensor, ...], chunk: Chunk) -> tuple[Tensor, Tensor]:
        written, places = self._chosen(tensors, chunk.key)
        return (written if chunk.gate is None else written * chunk.gate.exp()), places

    def _looked_up(self, sums: MemorySums, read: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        flat = _flat(rows, self.features).flatten()
        width = sums.values.shape[-1]
        values = sums.values.flatten(0, 2).index_select(0, flat).view(*read.shape, width)
        mass = sums.mass.flatten().index_select(0, flat).view_as(read)
        return (read[..., None, :] @ values)[..., 0, :], (read * mass).sum(-1)

    def _added(
        self, sums: MemorySums, written: Tensor, places: Tensor, after: Tensor | None, chunk: Chunk
    ) -> MemorySums:
        values, mass = sums.values, sums.mass
        if after is not None:
            assert chunk.decay is not None
            whole = chunk.decay.sum(-2).exp()
            written = written * after.exp()
            values, mass = values * whole[..., None], mass * whole
        flat = _flat(places, self.features).flatten()
        rows = (written[..., None] * chunk.value[..., None, :]).flatten(0, 3)
        values = values.flatten(0, 2).index_add(0, flat, rows).view_as(sums.values)
        mass = mass.flatten().index_add(0, flat, written.flatten()).view_as(sums.mass)
        return MemorySums(values, mass, torch.zeros_like(mass))


def top_features(logs: Tensor, top: int, background: bool) -> tuple[Tensor, Tensor]:
    """The largest `top` log features of each token and their numbers, and always the last one."""
    splats = logs.shape[-1] - background
    index = _largest(logs[..., :splats].detach(), min(top, splats))
    if background:
        index = torch.cat([index, torch.full_like(index[..., :1], splats)], -1)
    return logs.gather(-1, index), index


def _largest(logs: Tensor, top: int) -> Tensor:
    """Where the largest `top` stand; in many, only groups with the largest maxima are looked at.

    The largest `top` numbers lie in the `top` groups whose maxima are largest, so nothing is lost.
    """
    count = logs.shape[-1]
    size = 1 << (count.bit_length() // 2)
    groups = -(-count // size)
    if top * 4 > groups:
        return logs.topk(top, dim=-1).indices
    padded = pad(logs, (0, groups * size - count), value=-torch.inf)
    grouped: Tensor = padded.unflatten(-1, (groups, size))
    best = grouped.amax(-1).topk(top, dim=-1).indices[..., None]
    candidates = grouped.gather(-2, best.expand(*best.shape[:-1], size)).flatten(-2)
    numbers = (best * size + torch.arange(size, device=logs.device)).flatten(-2)
    index: Tensor = numbers.gather(-1, candidates.topk(top, dim=-1).indices)
    return index.clamp(max=count - 1)


def masked_to_top(logs: Tensor, top: int, background: bool) -> Tensor:
    """The same choice as a dense tensor: -inf for features that were not chosen."""
    values, index = top_features(logs, top, background)
    return torch.full_like(logs, -torch.inf).scatter(-1, index, values)


def _flat(index: Tensor, features: int) -> Tensor:
    """Numbers of rows in sums of all batches and heads laid one after the other."""
    batch, heads = index.shape[:2]
    first = torch.arange(batch * heads, device=index.device).view(batch, heads, 1, 1) * features
    return index + first
