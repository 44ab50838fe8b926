"""From checked arguments to rows, through a memory, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from ..softmax_attention import EMPTY
from .arguments import Reading
from .bidirectional import attend_bidirectional
from .causal import Tokens, attend_causal
from .memory import Memory
from .native_memory import read_natively
from .ragged import Ragged, from_boundaries, from_padding
from .state import MemoryState, empty_state


def attend_with_memory(
    memory: Memory, query: Tensor, key: Tensor, value: Tensor, given: Reading, *, chunk: int
) -> tuple[Tensor, MemoryState]:
    """out [B, H, T, E] in the query's dtype, and the state after the last tokens."""
    result = query.dtype
    dtype = torch.promote_types(query.dtype, torch.float32)
    memory, chunk = read_natively(memory, (query, key, value), given, chunk=chunk)
    shared = query.shape[1] // memory.heads
    copies = memory.heads // key.shape[1]
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if copies > 1:
        key, value = key.repeat_interleave(copies, 1), value.repeat_interleave(copies, 1)
    # From here on gate and decay have their own last axis.
    gate, decay = given.gate, given.decay
    gate = None if gate is None else gate.to(dtype)[..., None]
    if decay is not None:
        decay = decay.to(dtype)
        decay = decay if decay.dim() == 4 else decay[..., None]
    ragged: Ragged | None = None
    if given.cu_seqlens is not None:
        ragged = from_boundaries(given.cu_seqlens, key.shape[2])
    elif given.key_padding_mask is not None and given.is_causal:
        ragged = from_padding(given.key_padding_mask)
    elif given.key_padding_mask is not None:
        gate = _masked(gate, given.key_padding_mask, memory.heads, key)
    if ragged is not None:
        query, key, value = ragged.rows(query), ragged.rows(key), ragged.rows(value)
        gate = None if gate is None else ragged.rows(gate)
        decay = None if decay is None else ragged.rows(decay)
        if not given.is_causal:
            gate = _masked(gate, ragged.live, memory.heads, key)
    tokens = Tokens(
        query.unflatten(1, (-1, shared)),
        key,
        value,
        gate,
        decay,
        None if ragged is None else ragged.lengths,
    )
    if given.is_causal:
        state = given.initial_state or empty_state(
            memory,
            key,
            value,
            window=given.window,
            sinks=given.sinks,
            rollback_limit=given.rollback_limit,
            decay=decay,
        )
        if not key.shape[2]:  # nothing new: a call that only asks for its state back
            return value.new_zeros(*query.shape[:3], value.shape[-1]).to(result), state
        out, after = attend_causal(memory, tokens, state, scale=given.scale, chunk=chunk)
    else:
        out, after = attend_bidirectional(
            memory,
            tokens,
            given.initial_state,
            scale=given.scale,
            window=given.window,
            sinks=given.sinks,
            chunk=chunk,
        )
    out = out.flatten(1, 2)
    return (out if ragged is None else ragged.back(out)).to(result), after


def _masked(gate: Tensor | None, mask: Tensor, heads: int, key: Tensor) -> Tensor:
    if gate is None:
        gate = key.new_zeros(key.shape[0], heads, key.shape[2], 1)
    return gate.masked_fill(~mask[:, None, :, None], EMPTY)
