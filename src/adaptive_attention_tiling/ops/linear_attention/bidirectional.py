"""Reading without an order: every query sees every key."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..softmax_attention import EMPTY, Partial, merge_partials
from .causal import Tokens, absorbed, attend_shared_keys, scan_causally
from .memory import Memory, MemorySums, empty_sums
from .scan import chunk_scan
from .state import MemoryState, empty_state


def attend_bidirectional(
    memory: Memory,
    tokens: Tokens,
    state: MemoryState | None,
    *,
    scale: float,
    window: int,
    sinks: int,
    chunk: int,
) -> tuple[Tensor, MemoryState]:
    """out [B, H, R, T, E], and a state from which more queries can be answered.

    `tokens.gate` is -inf for padding; T queries and S keys are independent unless there is a
    window, in which query i reads keys |i - j| < window by softmax.
    """
    key, value, gate = tokens.key, tokens.value, tokens.gate
    kept = state or empty_state(memory, key, value, window=0, sinks=sinks)
    sink_key, sink_value, seen = kept.sink_key, kept.sink_value, None
    if sinks:
        sink_key, sink_value, gate, seen = _first_keys(key, value, gate, kept)
    if window:
        part = _two_ways(memory, replace(tokens, gate=gate), window, scale=scale, chunk=chunk)
        sums = kept.sums
    else:
        sums = kept.sums
        if key.shape[2]:
            sums = absorbed(memory, sums, (key, value, gate, None), chunk)
        part = _read(memory, sums, tokens.query, chunk)
    if seen is not None:
        bias = torch.where(seen, 0.0, EMPTY).to(key)[:, None, None, None]
        bias = bias.expand(-1, -1, -1, tokens.query.shape[3], -1)
        near = attend_shared_keys(tokens.query * scale, sink_key, sink_value, bias)
        part = merge_partials(part, near)
    read = torch.full_like(kept.length, key.shape[2])
    if tokens.gate is not None:
        read = (tokens.gate[:, 0, :, 0] > EMPTY).sum(-1)
    after = replace(
        kept,
        values=sums.values,
        mass=sums.mass,
        level=sums.level,
        sink_key=sink_key,
        sink_value=sink_value,
        length=kept.length + read,
    )
    return part.out, after


def _read(memory: Memory, sums: MemorySums, query: Tensor, chunk: int) -> Partial:
    heads, count = query.shape[1], len(memory.tensors)

    def step(
        parameters: tuple[Tensor, ...], carry: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        given = MemorySums(*parameters[count:])
        part = memory.read(parameters[:count], given, inputs[0].unflatten(1, (heads, -1)))
        return (part.out.flatten(1, 2), part.lse.flatten(1, 2)[..., None]), carry

    sums = memory.start(sums)
    outputs, _ = chunk_scan(step, (*memory.tensors, *sums), (), (query.flatten(1, 2),), chunk=chunk)
    out, lse = (t.unflatten(1, (heads, -1)) for t in outputs)
    return Partial(out, lse[..., 0])


def _two_ways(memory: Memory, tokens: Tokens, window: int, *, scale: float, chunk: int) -> Partial:
    """Keys up to the query's own in one pass, those after it in a second one from the end."""
    key, value, gate = tokens.key, tokens.value, tokens.gate
    if gate is None:
        gate = key.new_zeros(*key.shape[:3], 1)

    def one_way(tokens: Tokens, width: int) -> Partial:
        start = empty_state(memory, key, value, window=width, sinks=0)
        sums = empty_sums(memory, key.shape[0], value)
        return scan_causally(memory, tokens, tokens.gate, start, sums, scale=scale, chunk=chunk)[0]

    forward = one_way(replace(tokens, gate=gate), window)
    # Turned round and one slot late, so that a query meets only what comes after it.
    turned = Tokens(
        tokens.query.flip(-2),
        _late(key.flip(2), 0.0),
        _late(value.flip(2), 0.0),
        _late(gate.flip(2), EMPTY),
        None,
        None,
    )
    backward = one_way(turned, window - 1)
    return merge_partials(forward, Partial(backward.out.flip(-2), backward.lse.flip(-1)))


def _late(tensor: Tensor, fill: float) -> Tensor:
    return torch.cat([torch.full_like(tensor[:, :, :1], fill), tensor[:, :, :-1]], 2)


def _first_keys(
    key: Tensor, value: Tensor, gate: Tensor | None, state: MemoryState
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sinks, the gate with them hidden, and which slots hold one [B, Z]."""
    slots = state.sinks
    if gate is None:
        gate = key.new_zeros(*key.shape[:3], 1)
    visible = gate[:, 0, :, 0] > EMPTY
    position = state.length[:, None] + visible.long().cumsum(-1) - 1  # [B, S]
    is_sink = visible & (position < slots)
    sink_key, sink_value = state.sink_key, state.sink_value
    # A slot takes the one token at its position: as a product with a 0/1 matrix [B, 1, Z, S].
    numbers = torch.arange(slots, device=key.device)[:, None]
    match = ((position[:, None] == numbers) & is_sink[:, None])[:, None].to(key)
    sink_key, sink_value = sink_key + match @ key, sink_value + match @ value
    total = state.length + visible.sum(-1)
    seen = torch.arange(slots, device=key.device) < total[:, None]
    return sink_key, sink_value, gate.masked_fill(is_sink[:, None, :, None], EMPTY), seen
