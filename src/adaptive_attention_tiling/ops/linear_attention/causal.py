"""Causal reading in chunks: the last tokens and the first ones by softmax, the rest by sums."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..softmax_attention import (
    EMPTY,
    Partial,
    merge_partials,
    partial_attention,
    window_attention,
)
from ..softmax_attention.ranged import eager_ranged_attention, visible_range
from .memory import Chunk, Memory, MemorySums
from .native_memory import NativeMemory
from .scan import chunk_scan
from .state import MemoryState


@dataclass(frozen=True)
class Tokens:
    """What is to be read, in rows that may end early.

    query [B, H, R, T, D], key [B, H, T, D], value [B, H, T, E]; gate [B, H, T, 1] and
    decay [B, H, T, 1 or F] as in `Chunk`; lengths [B]: tokens of each row, None for T.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    gate: Tensor | None
    decay: Tensor | None
    lengths: Tensor | None


def attend_causal(
    memory: Memory, tokens: Tokens, state: MemoryState, *, scale: float, chunk: int
) -> tuple[Tensor, MemoryState]:
    """out [B, H, R, T, E] for every token, and the state after the last one of each row."""
    tokens = _with_rows_that_end(tokens)
    gate = _gate_of_new(tokens, state)
    sums = _current_sums(memory, state, chunk)
    parts, sums = scan_causally(memory, tokens, gate, state, sums, scale=scale, chunk=chunk)
    sink_key, sink_value = _sinks(tokens, state)
    if state.sinks:
        parts = merge_partials(parts, _sink_part(tokens, state, sink_key, sink_value, scale))
    after = _state_after(memory, tokens, gate, state, sums, (sink_key, sink_value), chunk)
    return parts.out, after


def _with_rows_that_end(tokens: Tokens) -> Tokens:
    """Past the end of a row nothing decays."""
    if tokens.lengths is None or tokens.decay is None:
        return tokens
    live = _live(tokens)[:, None, :, None]
    decay = tokens.decay.masked_fill(~live, 0.0)
    return Tokens(tokens.query, tokens.key, tokens.value, tokens.gate, decay, tokens.lengths)


def _live(tokens: Tokens) -> Tensor:
    """[B, T]: whether a row has a token there."""
    assert tokens.lengths is not None
    times = torch.arange(tokens.key.shape[2], device=tokens.key.device)
    return times < tokens.lengths[:, None]


def _positions(tokens: Tokens, state: MemoryState) -> Tensor:
    times = torch.arange(tokens.key.shape[2], device=tokens.key.device)
    return state.length[:, None] + times


def _gate_of_new(tokens: Tokens, state: MemoryState) -> Tensor | None:
    """Log weights of the new tokens in the memory: -inf for sinks and past the end of a row."""
    gate = tokens.gate
    hidden: Tensor | None = None
    if state.sinks:
        hidden = _positions(tokens, state) < state.sinks
    if tokens.lengths is not None:
        ended = ~_live(tokens)
        hidden = ended if hidden is None else hidden | ended
    if gate is None and (hidden is not None or state.key.shape[2]):
        gate = tokens.key.new_zeros(*tokens.key.shape[:3], 1)
    if gate is not None and hidden is not None:
        gate = gate.masked_fill(hidden[:, None, :, None], EMPTY)
    return gate


def _current_sums(memory: Memory, state: MemoryState, chunk: int) -> MemorySums:
    """The sums of a state; after a rollback they are read again from the anchor."""
    if not state.spent:
        return state.sums
    recent = slice(0, state.rollback_limit)
    return absorbed(
        memory,
        state.anchor,
        (state.key[:, :, recent], state.value[:, :, recent], state.gate[:, :, recent], state.decay),
        chunk,
    )


def absorbed(
    memory: Memory,
    sums: MemorySums,
    stream: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    chunk: int,
) -> MemorySums:
    """The sums after a stream of (key, value, gate, decay) was read."""
    key, value, gate, decay = stream
    count = len(memory.tensors)
    present = (gate is not None, decay is not None)

    def step(
        parameters: tuple[Tensor, ...], carry: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        piece = _chunk(inputs[0][:, :, None, :0], inputs, present)
        return (), memory.absorb(parameters[:count], MemorySums(*carry), piece)

    inputs = tuple(t for t in (key, value, gate, decay) if t is not None)
    _, carry = chunk_scan(step, memory.tensors, memory.start(sums), inputs, chunk=chunk)
    return MemorySums(*carry)


def _chunk(query: Tensor, inputs: tuple[Tensor, ...], present: tuple[bool, bool]) -> Chunk:
    key, value, *rest = inputs
    gate = rest.pop(0) if present[0] else None
    return Chunk(query, key, value, gate, rest.pop(0) if present[1] else None)


def scan_causally(
    memory: Memory,
    tokens: Tokens,
    gate: Tensor | None,
    state: MemoryState,
    sums: MemorySums,
    *,
    scale: float,
    chunk: int,
) -> tuple[Partial, MemorySums]:
    """What each query reads of its window and of the sums, and the sums after the last token."""
    window = state.window
    hold: Tensor | None = None
    if window and tokens.lengths is not None:
        # Keys that leave the window after a row has ended stay in its ring.
        hold = torch.where(_live(tokens), 0.0, EMPTY).to(tokens.key)[:, None, :, None]
        hold = hold.expand(*tokens.key.shape[:3], 1)
    present = (gate is not None, tokens.decay is not None)
    natively = isinstance(memory, NativeMemory)

    def step(
        parameters: tuple[Tensor, ...], carry: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        query, *rest = inputs
        holding = rest.pop() if hold is not None else None
        query = query.unflatten(1, (tokens.key.shape[1], -1))
        piece = _chunk(query, tuple(rest), present)
        if not window:
            part, after = _attend(memory, parameters, MemorySums(*carry), piece)
            return _outputs(part), after
        near, far, ring = _through_window(piece, carry[3:], scale, natively=natively)
        if holding is not None:
            assert far.gate is not None
            far = far._replace(gate=far.gate + holding)
        part, after = _attend(memory, parameters, MemorySums(*carry[:3]), far)
        return _outputs(merge_partials(near, part)), (*after, *ring)

    inputs: list[Tensor | None] = [
        tokens.query.flatten(1, 2),
        tokens.key,
        tokens.value,
        gate,
        tokens.decay,
        hold,
    ]
    sums = memory.start(sums)
    carry: tuple[Tensor, ...] = sums
    if window:
        carry = (*sums, *(t[:, :, -window:] for t in (state.key, state.value, state.gate)))
    outputs, carry = chunk_scan(
        step, memory.tensors, carry, tuple(t for t in inputs if t is not None), chunk=chunk
    )
    out, lse = (t.unflatten(1, (tokens.key.shape[1], -1)) for t in outputs)
    return Partial(out, lse[..., 0]), MemorySums(*carry[:3])


def _attend(
    memory: Memory, parameters: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk
) -> tuple[Partial, MemorySums]:
    """A single token is written and then read: the recurrence itself, without pairs."""
    if chunk.key.shape[2] > 1 or isinstance(memory, NativeMemory):
        return memory.attend(parameters, sums, chunk)
    after = memory.absorb(parameters, sums, chunk)
    return memory.read(parameters, after, chunk.query), after


def _outputs(part: Partial) -> tuple[Tensor, Tensor]:
    """Heads in one axis again, and time as the last axis but one."""
    return part.out.flatten(1, 2), part.lse.flatten(1, 2)[..., None]


def _through_window(
    chunk: Chunk, ring: tuple[Tensor, ...], scale: float, *, natively: bool
) -> tuple[Partial, Chunk, tuple[Tensor, ...]]:
    """The chunk's queries on their last W keys; the chunk of keys that leave; the new ring."""
    assert chunk.gate is not None
    window, length = ring[0].shape[2], chunk.key.shape[2]
    fresh = chunk.key, chunk.value, chunk.gate
    key, value, gate = (torch.cat([old, new], 2) for old, new in zip(ring, fresh, strict=True))
    visible = gate.detach()[..., 0] > EMPTY
    if natively:
        near = window_attention(chunk.query, key, value, visible, window=window, scale=scale)
    else:
        bias = torch.where(visible, 0.0, EMPTY).to(key)
        seen = visible_range(offset=window, window=window, is_causal=True)
        near = eager_ranged_attention(chunk.query * scale, key, value, bias, seen)
    leaving = Chunk(
        chunk.query, key[:, :, :length], value[:, :, :length], gate[:, :, :length], chunk.decay
    )
    # Copies: views would keep the whole chunk alive at every boundary of a scan.
    return near, leaving, tuple(t[:, :, length:].clone() for t in (key, value, gate))


def attend_shared_keys(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Partial:
    """Softmax attention of queries [B, H, R, L, D] over keys [B, H, S, D] shared by R."""
    batch, heads, group, length, _ = query.shape
    part = partial_attention(
        query.flatten(0, 1),
        key[:, :, None].expand(-1, -1, group, -1, -1).flatten(0, 1),
        value[:, :, None].expand(-1, -1, group, -1, -1).flatten(0, 1),
        bias=bias.expand(batch, heads, 1, length, -1).flatten(0, 1),
    )
    return Partial(part.out.unflatten(0, (batch, heads)), part.lse.unflatten(0, (batch, heads)))


def _sinks(tokens: Tokens, state: MemoryState) -> tuple[Tensor, Tensor]:
    """The first keys and values of each row, of this call or of those before."""
    if not state.sinks:
        return state.sink_key, state.sink_value
    slots = torch.arange(state.sinks, device=tokens.key.device)
    number = slots - state.length[:, None]  # [B, Z]: which of the new tokens it would be
    new = (number >= 0)[:, None, :, None]
    index = number.clamp(0, tokens.key.shape[2] - 1)[:, None, :, None]

    def chosen(fresh: Tensor, kept: Tensor) -> Tensor:
        shape = (*kept.shape[:3], fresh.shape[-1])
        return torch.where(new, fresh.gather(2, index.expand(shape)), kept)

    return chosen(tokens.key, state.sink_key), chosen(tokens.value, state.sink_value)


def _sink_part(
    tokens: Tokens, state: MemoryState, key: Tensor, value: Tensor, scale: float
) -> Partial:
    slots = torch.arange(state.sinks, device=key.device)
    seen = slots <= _positions(tokens, state)[..., None]
    bias = torch.where(seen, 0.0, EMPTY).to(key)[:, None, None]
    return attend_shared_keys(tokens.query * scale, key, value, bias)


def _state_after(
    memory: Memory,
    tokens: Tokens,
    gate: Tensor | None,
    state: MemoryState,
    sums: MemorySums,
    sinks: tuple[Tensor, Tensor],
    chunk: int,
) -> MemoryState:
    length = tokens.key.shape[2]
    read = length if tokens.lengths is None else int(tokens.lengths.min())
    anchor: MemorySums | tuple[None, None, None] = (None, None, None)
    ring, decay = (state.key, state.value, state.gate), None
    if state.key.shape[2]:
        assert gate is not None
        whole = tuple(
            torch.cat([old, new], 2)
            for old, new in zip(ring, (tokens.key, tokens.value, gate), strict=True)
        )
        ring = tuple(_last(t, state.key.shape[2], tokens.lengths) for t in whole)  # type: ignore[assignment]
        if state.rollback_limit:
            anchor, decay = _anchor_after(memory, tokens, whole, state, chunk)
    return MemoryState(
        *sums,
        *ring,
        *sinks,
        length=state.length + (length if tokens.lengths is None else tokens.lengths),
        anchor_values=anchor[0],
        anchor_mass=anchor[1],
        anchor_level=anchor[2],
        decay=decay,
        rollback_limit=state.rollback_limit,
        spent=max(0, state.spent - read),
    )


def _last(whole: Tensor, count: int, lengths: Tensor | None) -> Tensor:
    """The newest `count` slots of each row, whose new tokens may end before the last slot."""
    if lengths is None:
        return whole[:, :, whole.shape[2] - count :]
    index = lengths[:, None] + torch.arange(count, device=whole.device)
    index = index[:, None, :, None].expand(-1, whole.shape[1], -1, whole.shape[3])
    return whole.gather(2, index)


def _anchor_after(
    memory: Memory,
    tokens: Tokens,
    whole: tuple[Tensor, ...],
    state: MemoryState,
    chunk: int,
) -> tuple[MemorySums, Tensor]:
    """The sums of R tokens before the end, and the decays since then."""
    assert state.decay is not None
    length = tokens.key.shape[2]
    fresh = tokens.decay
    if fresh is None:
        fresh = tokens.key.new_zeros(*tokens.key.shape[:3], 1)
    columns = max(fresh.shape[-1], state.decay.shape[-1])
    decays = torch.cat([t.expand(*t.shape[:-1], columns) for t in (state.decay, fresh)], 2)
    key, value, gate = (t[:, :, :length] for t in whole)
    used = decays[:, :, :length]
    if tokens.lengths is not None:
        live = _live(tokens)[:, None, :, None]
        gate, used = gate.masked_fill(~live, EMPTY), used.masked_fill(~live, 0.0)
    anchor = absorbed(memory, state.anchor, (key, value, gate, used), chunk)
    return anchor, _last(decays, state.rollback_limit, tokens.lengths)
