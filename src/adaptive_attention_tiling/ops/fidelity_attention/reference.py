"""Fidelity attention as its definition says, token by token; complex tensors stay complex."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ..linear_attention import MemoryState
from .kernel import FidelityKernel


class Entry(NamedTuple):
    """A token that was read; `log`: its gate and all decays so far."""

    state: Tensor
    key: Tensor
    value: Tensor
    log: Tensor
    position: int


class Past(NamedTuple):
    """What the sums of a state say: sum_j rho_j v_j [E, m, m], sum_j rho_j [m, m], no states."""

    values: Tensor
    mass: Tensor
    plain_values: Tensor
    plain_mass: Tensor
    log: Tensor


class Memory(NamedTuple):
    """All that one head of one row has read, and how many tokens that were."""

    past: Past | None
    far: list[Entry]
    recent: list[Entry]
    first: list[Entry]
    length: int


def reference_fidelity_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    is_causal: bool,
    scale: float,
    decay: Tensor | None,
    gate: Tensor | None,
    window: int,
    sinks: int,
    key_padding_mask: Tensor | None,
    initial_state: MemoryState | None,
    background: float,
    qubits: int = 0,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The output, and sum_j rho_j v_j [B, G, E, m, m], sum_j rho_j [B, G, m, m] at the end.

    A query's output is the mean of the values that it sees, weighted by

        exp(scale Re<q|k_j>)                                  in the window, and for sinks
        (|<psi(q)|psi(k_j)>|^2 + background) gate_j decays_j  otherwise

    At each time all that has left the window decays by log gamma_t.
    """
    kernel = FidelityKernel(key.shape[-1], key.is_complex(), background, qubits)
    given = value.dtype
    if given in (torch.float16, torch.bfloat16):
        query, key, value = query.float(), key.float(), value.float()
    groups, m = key.shape[1], key.shape[-1]
    queries = query.unflatten(1, (groups, -1))
    out = value.new_zeros(*queries.shape[:-1], value.shape[-1])
    values = key.new_zeros(*key.shape[:2], value.shape[-1], m, m)
    mass = key.new_zeros(*key.shape[:2], m, m)
    for b, g in product(range(query.shape[0]), range(groups)):
        seen = torch.ones(key.shape[2], dtype=torch.bool)
        places = (seen if key_padding_mask is None else key_padding_mask[b]).nonzero()[:, 0]
        memory = _at_start(initial_state, kernel, b, g, value)
        new = []
        for n, t in enumerate(places.tolist()):
            log = value.new_zeros(()) if gate is None else gate[b, g, t].to(value)
            k = key[b, g, t]
            new.append(Entry(_state(k), k, value[b, g, t], log, memory.length + n))
        if is_causal:
            for t, entry in zip(places.tolist(), new, strict=True):
                forget = None if decay is None else decay[b, g, t].to(value)
                memory = _after(memory, entry, forget, window, sinks)
                near = memory.first + [e for e in memory.recent if e.position >= sinks]
                for r, q in enumerate(queries[b, g, :, t]):
                    out[b, g, r, t] = _mean(q, near, memory.far, memory.past, scale, background)
            far = memory.far
        else:
            far = [entry for entry in new if entry.position >= sinks]
            for i in range(query.shape[2]):
                close = [
                    entry.position < sinks or abs(i - j) < window
                    for j, entry in zip(places.tolist(), new, strict=True)
                ]
                near = [entry for entry, here in zip(new, close, strict=True) if here]
                rest = [entry for entry, here in zip(new, close, strict=True) if not here]
                near = memory.first + near
                for r, q in enumerate(queries[b, g, :, i]):
                    out[b, g, r, i] = _mean(q, near, rest, memory.past, scale, background)
        for entry in far:
            rho = torch.outer(entry.state, entry.state.conj()) * entry.log.exp()
            values[b, g] = values[b, g] + rho * entry.value[:, None, None]
            mass[b, g] = mass[b, g] + rho
    return out.flatten(1, 2).to(given), (values, mass)


def _state(x: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x)
    return x / norm if norm > 0 else torch.zeros_like(x)


def _after(memory: Memory, new: Entry, forget: Tensor | None, window: int, sinks: int) -> Memory:
    """The memory decays, the new token enters the window, and one may leave it for the memory."""
    far, past = list(memory.far), memory.past
    if forget is not None:
        far = [entry._replace(log=entry.log + forget) for entry in far]
        past = None if past is None else past._replace(log=past.log + forget)
    recent, first = [*memory.recent, new], list(memory.first)
    if new.position < sinks:
        first.append(new)
    if len(recent) > window:
        leaving = recent.pop(0)
        if leaving.position >= sinks:
            far.append(leaving)
    return Memory(past, far, recent, first, memory.length + 1)


def _mean(
    query: Tensor,
    near: list[Entry],
    far: list[Entry],
    past: Past | None,
    scale: float,
    background: float,
) -> Tensor:
    """Every weight may be multiplied by exp(-shift), so that none overflows."""
    psi = _state(query)
    shift = psi.real.new_zeros(())
    numerator, total = shift, shift
    if near:
        logits = scale * (torch.stack([entry.key for entry in near]) @ query.conj()).real
        shift = logits.detach().max()
        if far or past is not None:
            shift = shift.clamp(min=0.0)
        weights = (logits - shift).exp()
        numerator = weights @ torch.stack([entry.value for entry in near])
        total = weights.sum()
    if far:
        overlap = torch.stack([entry.state for entry in far]) @ psi.conj()
        fidelity = (overlap * overlap.conj()).real
        logs = torch.stack([entry.log for entry in far])
        weights = (fidelity + background) * (logs - shift).exp()
        numerator = numerator + weights @ torch.stack([entry.value for entry in far])
        total = total + weights.sum()
    if past is not None:
        factor = (past.log - shift).exp()
        read = torch.einsum("i,eij,j->e", psi.conj(), past.values, psi).real + past.plain_values
        numerator = numerator + factor * read
        read = torch.einsum("i,ij,j->", psi.conj(), past.mass, psi).real + past.plain_mass
        total = total + factor * read
    return numerator / total if total > 0 else torch.zeros_like(numerator)


def _at_start(
    state: MemoryState | None, kernel: FidelityKernel, row: int, head: int, like: Tensor
) -> Memory:
    """What a state holds."""
    if state is None:
        return Memory(None, [], [], [], 0)
    level = state.level[row, head]
    factor = torch.where(level.isinf(), 0.0, level.exp())
    values, mass = state.values[row, head] * factor[:, None], state.mass[row, head] * factor
    root, width = kernel.background**0.5, like.shape[-1]
    past = Past(
        kernel.density(values.mT),
        kernel.density(mass),
        root * values[-1] if root else like.new_zeros(width),
        root * mass[-1] if root else like.new_zeros(()),
        like.new_zeros(()),
    )
    length = int(state.length[row])
    count = min(length, state.window)
    recent, first = [], []
    for n in range(count):
        slot = state.key.shape[2] - count + n
        k, log = _amplitudes(state.key[row, head, slot], kernel), state.gate[row, head, slot, 0]
        recent.append(Entry(_state(k), k, state.value[row, head, slot], log, length - count + n))
    for position in range(min(length, state.sinks)):
        k = _amplitudes(state.sink_key[row, head, position], kernel)
        token = state.sink_value[row, head, position]
        first.append(Entry(_state(k), k, token, like.new_zeros(()), position))
    return Memory(past, [], recent, first, length)


def _amplitudes(numbers: Tensor, kernel: FidelityKernel) -> Tensor:
    return torch.complex(*numbers.chunk(2, -1)) if kernel.is_complex else numbers
