"""Gaussian splat attention as its definition says, token by token."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..linear_attention import MemoryState
from ..linear_attention.sparse_memory import masked_to_top
from .field import Field

_NOTHING = float("-inf")


class Entry(NamedTuple):
    """A token that was read; `logs` [F]: its log features, gate, and decays so far."""

    logs: Tensor
    key: Tensor
    value: Tensor
    position: int


class Memory(NamedTuple):
    """All that one head of one row has read, and how many tokens that were."""

    far: list[Entry]
    recent: list[Entry]
    first: list[Entry]
    length: int


def reference_splat_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    field: Field,
    *,
    is_causal: bool,
    scale: float,
    decay: Tensor | None,
    gate: Tensor | None,
    window: int,
    sinks: int,
    top_m: int | None,
    key_padding_mask: Tensor | None,
    initial_state: MemoryState | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The output, and the sums (values [B, H, F, E], mass [B, H, F]) after the last token.

    A query's output is the mean of the values that it sees, weighted by the softmax of

        scale q.k_j                                                 in the window, and for sinks
        log sum_s exp(l_s(q) + l_s(k_j) + gate_j + decays_js)       otherwise

    At each time all that has left the window decays by log gamma_t.
    """
    out = torch.zeros(*query.shape[:3], value.shape[-1]).to(query)
    values = torch.zeros(query.shape[0], field.heads, field.features, value.shape[-1]).to(query)
    mass = torch.zeros(query.shape[0], field.heads, field.features).to(query)
    for b in range(query.shape[0]):
        seen = torch.ones(key.shape[2], dtype=torch.bool)
        places = (seen if key_padding_mask is None else key_padding_mask[b]).nonzero()[:, 0]
        for h in range(query.shape[1]):
            g = h * key.shape[1] // query.shape[1]
            f = h * field.heads // query.shape[1]
            memory = _at_start(initial_state, field, b, f, top_m)
            written = _logs(field, key[b, g, places], f, top_m)
            if gate is not None:
                written = written + gate[b, f, places, None]
            new = [
                Entry(logs, k, v, memory.length + n)
                for n, (logs, k, v) in enumerate(
                    zip(written, key[b, g, places], value[b, g, places], strict=True)
                )
            ]
            read = _logs(field, query[b, h], f, top_m)
            if is_causal:
                for t, entry in zip(places.tolist(), new, strict=True):
                    forget = None if decay is None else decay[b, f, t]
                    memory = _after(memory, entry, forget, window, sinks)
                    near = memory.first + [e for e in memory.recent if e.position >= sinks]
                    out[b, h, t] = _mean(query[b, h, t] * scale, read[t], near, memory.far, value)
                far = memory.far
            else:
                far = memory.far + [entry for entry in new if entry.position >= sinks]
                for i in range(query.shape[2]):
                    close = [
                        entry.position < sinks or abs(i - j) < window
                        for j, entry in zip(places.tolist(), new, strict=True)
                    ]
                    near = [entry for entry, here in zip(new, close, strict=True) if here]
                    rest = [entry for entry, here in zip(new, close, strict=True) if not here]
                    near, rest = memory.first + near, memory.far + rest
                    out[b, h, i] = _mean(query[b, h, i] * scale, read[i], near, rest, value)
            for entry in far:
                values[b, f] = values[b, f] + entry.logs.exp()[:, None] * entry.value
                mass[b, f] = mass[b, f] + entry.logs.exp()
    # Query heads that share a memory have all written the same to it.
    shared = query.shape[1] // field.heads
    return out, (values / shared, mass / shared)


def softmax_over_splat_sum_attention(
    query: Tensor, key: Tensor, value: Tensor, field: Field, *, is_causal: bool = False
) -> Tensor:
    """softmax_j(A_ij) v_j with A_ij = sum_s a_s G_s(q_i) G_s(k_j): quadratic, for comparison only.

    The form of the first public attempt at this idea. The softmax does not factor over splats,
    so every pair of tokens costs K multiplications where plain attention has D.
    """
    scores = field.log_features(query).exp() @ field.log_features(key).exp().mT
    if is_causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(hidden, _NOTHING)
    return scores.softmax(-1) @ value


def _after(memory: Memory, new: Entry, forget: Tensor | None, window: int, sinks: int) -> Memory:
    """The memory decays, the new token enters the window, and one may leave it for the memory."""
    far = list(memory.far)
    if forget is not None:
        far = [entry._replace(logs=entry.logs + forget) for entry in far]
    recent, first = [*memory.recent, new], list(memory.first)
    if new.position < sinks:
        first.append(new)
    if len(recent) > window:
        leaving = recent.pop(0)
        if leaving.position >= sinks:
            far.append(leaving)
    return Memory(far, recent, first, memory.length + 1)


def _mean(
    query: Tensor, read: Tensor, near: list[Entry], far: list[Entry], value: Tensor
) -> Tensor:
    # Tokens that share no splat with the query weigh nothing (and have no gradient).
    far = [entry for entry in far if bool(((read + entry.logs) > _NOTHING).any())]
    scores = [query @ entry.key for entry in near]
    scores += [torch.logsumexp(read + entry.logs, -1) for entry in far]
    if not scores:
        return torch.zeros(value.shape[-1]).to(value)
    return torch.stack(scores).softmax(-1) @ torch.stack([entry.value for entry in near + far])


def _logs(field: Field, x: Tensor, head: int, top_m: int | None) -> Tensor:
    """Log features [T, F] of the points [T, D] of one head."""
    logs = field.log_features(x.expand(1, field.heads, *x.shape))
    return (logs if top_m is None else masked_to_top(logs, top_m, field.has_background))[0, head]


def _at_start(
    state: MemoryState | None, field: Field, row: int, head: int, top_m: int | None
) -> Memory:
    """What a state holds; of its sums each feature is one token that has no other."""
    if state is None:
        return Memory([], [], [], 0)
    length, mass = int(state.length[row]), state.mass[row, head]
    far = []
    for s in range(len(mass)):
        if mass[s] > 0:
            alone = torch.full_like(mass, _NOTHING)
            alone[s] = state.level[row, head, s] + mass[s].log()
            value = state.values[row, head, s] / mass[s]
            far.append(Entry(alone, state.key.new_zeros(0), value, -1))
    count = min(length, state.window)
    ring = slice(state.key.shape[2] - count, None)
    logs = _logs(field, state.key[row, head, ring], head, top_m) + state.gate[row, head, ring]
    keys, tokens = state.key[row, head, ring], state.value[row, head, ring]
    recent = [
        Entry(log, k, v, length - count + n)
        for n, (log, k, v) in enumerate(zip(logs, keys, tokens, strict=True))
    ]
    first = [
        Entry(mass[:0], state.sink_key[row, head, p], state.sink_value[row, head, p], p)
        for p in range(min(length, state.sinks))
    ]
    return Memory(far, recent, first, length)
