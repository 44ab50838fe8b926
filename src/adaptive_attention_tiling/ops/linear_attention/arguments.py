"""What the attentions with a memory of fixed size accept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from ..arguments import check_implementation, check_padding_mask, check_tensors
from .memory import Memory
from .state import MemoryState

IMPLEMENTATIONS = ("reference", "parallel", "chunked", "recurrent", "native")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How keys are to be read, as the caller of an attention said; see `splat_attention`."""

    is_causal: bool
    scale: float
    enable_gqa: bool
    decay: Tensor | None
    gate: Tensor | None
    window: int
    sinks: int
    key_padding_mask: Tensor | None
    cu_seqlens: Tensor | None
    initial_state: MemoryState | None
    return_state: bool
    rollback_limit: int
    implementation: str | None


def check_arguments(
    query: Tensor, key: Tensor, value: Tensor, memory: Memory, given: Reading
) -> None:
    """Raise an error that names the first argument that cannot be used."""
    check_tensors(query, key, value, enable_gqa=given.enable_gqa)
    check_padding_mask(given.key_padding_mask, key)
    check_implementation(given.implementation, IMPLEMENTATIONS)
    for name in ("window", "sinks", "rollback_limit"):
        number = getattr(given, name)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ArgumentError(name, number, "a whole number of tokens >= 0", "use 0 for none")
    heads = memory.heads
    if heads not in (query.shape[1], key.shape[1]):
        raise ArgumentError(
            "field",
            f"{heads} heads",
            f"{query.shape[1]} (one a query head) or {key.shape[1]} (one a key head)",
            "make the field for this layer's heads",
        )
    batch, _, keys, _ = key.shape
    shapes = [(batch, heads, keys), (batch, heads, keys, memory.features)]
    _check_logs("decay", given.decay, shapes)
    _check_logs("gate", given.gate, shapes[:1])
    if given.is_causal:
        _check_causal(query, key)
    else:
        _check_without_order(query, key, given)
    _check_packing(query, given)
    if given.initial_state is not None:
        _check_state(given.initial_state, memory, key, value, given)


def _check_logs(name: str, logs: Tensor | None, shapes: list[tuple[int, ...]]) -> None:
    if logs is None:
        return
    if tuple(logs.shape) not in shapes:
        raise ArgumentError(
            name,
            f"shape {list(logs.shape)}",
            " or ".join(str(list(shape)) for shape in shapes),
            "give one number for each key and head of the memory",
        )
    if not torch.compiler.is_compiling() and bool((logs > 0).any()):
        raise ArgumentError(
            name,
            f"values up to {float(logs.max()):.4g}",
            "logarithms of factors in (0, 1], so values <= 0",
            f"pass {name}.log() if these are the factors themselves",
        )


def _check_causal(query: Tensor, key: Tensor) -> None:
    if query.shape[2] != key.shape[2]:
        raise UnsupportedError(
            f"is_causal: got {query.shape[2]} queries and {key.shape[2]} keys; which key is a "
            "query's own is not known. Fix: pass the new tokens' queries and keys, and what came "
            "before as initial_state."
        )


def _check_without_order(query: Tensor, key: Tensor, given: Reading) -> None:
    if given.decay is not None:
        raise UnsupportedError(
            "decay: forgetting needs an order. Fix: pass is_causal=True, or weigh keys with gate."
        )
    if given.rollback_limit:
        raise UnsupportedError(
            "rollback_limit: only what was read in order can be taken back. Fix: pass "
            "is_causal=True, or keep a snapshot()."
        )
    if query.shape[2] != key.shape[2] and (given.window or given.cu_seqlens is not None):
        name = "window" if given.window else "cu_seqlens"
        raise UnsupportedError(
            f"{name}: got {query.shape[2]} queries and {key.shape[2]} keys; positions of one say "
            f"nothing about the other. Fix: leave {name} out for cross attention."
        )
    if given.window and (given.initial_state is not None or given.return_state):
        raise UnsupportedError(
            "return_state: a window over both sides has no state. Fix: pass window=0, or "
            "is_causal=True."
        )


def _check_packing(query: Tensor, given: Reading) -> None:
    if given.cu_seqlens is None:
        return
    if query.shape[0] != 1:
        raise ArgumentError(
            "cu_seqlens",
            f"a batch of {query.shape[0]}",
            "a batch of one row that holds all sequences",
            "join the sequences along time",
        )
    if given.key_padding_mask is not None:
        raise ArgumentError(
            "key_padding_mask",
            "a mask beside cu_seqlens",
            "one of the two",
            "leave padding out of packed sequences",
        )


def _check_state(
    state: MemoryState, memory: Memory, key: Tensor, value: Tensor, given: Reading
) -> None:
    rows = key.shape[0] if given.cu_seqlens is None else len(given.cu_seqlens) - 1
    expected = (rows, memory.heads, memory.features, value.shape[-1])
    if tuple(state.values.shape) != expected or state.key.shape[-1] != key.shape[-1]:
        raise ArgumentError(
            "initial_state",
            f"sums {list(state.values.shape)} over keys of width {state.key.shape[-1]}",
            f"sums {list(expected)} over keys of width {key.shape[-1]}",
            "pass the state that the same layer returned for the same rows",
        )
    for name in ("window", "sinks", "rollback_limit"):
        got, wanted = getattr(state, name), getattr(given, name)
        if got != wanted:
            raise ArgumentError(
                name,
                f"{wanted} with a state made for {got}",
                "the number that the state was made with",
                f"pass {name}={got}, or start without a state",
            )
    if state.values.device != key.device:
        raise ArgumentError(
            "initial_state",
            f"a state on {state.values.device}",
            f"one on {key.device} as key is",
            "move its snapshot() and restore it",
        )
