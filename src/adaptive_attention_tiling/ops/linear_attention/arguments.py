"""What the attentions with a memory of fixed size accept."""

from __future__ import annotations

from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from ..arguments import check_implementation, check_padding_mask, check_tensors
from .memory import Memory
from .state import MemoryState

IMPLEMENTATIONS = ("reference", "parallel", "chunked", "recurrent")


def check_arguments(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    memory: Memory,
    *,
    is_causal: bool,
    enable_gqa: bool,
    decay: Tensor | None,
    gate: Tensor | None,
    window: int,
    sinks: int,
    key_padding_mask: Tensor | None,
    cu_seqlens: Tensor | None,
    initial_state: MemoryState | None,
    return_state: bool,
    rollback_limit: int,
    implementation: str | None,
) -> None:
    """Raise an error that names the first argument that cannot be used."""
    check_tensors(query, key, value, enable_gqa=enable_gqa)
    check_padding_mask(key_padding_mask, key)
    check_implementation(implementation, IMPLEMENTATIONS)
    for name, number in {
        "window": window,
        "sinks": sinks,
        "rollback_limit": rollback_limit,
    }.items():
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
    _check_logs("decay", decay, [(batch, heads, keys), (batch, heads, keys, memory.features)])
    _check_logs("gate", gate, [(batch, heads, keys)])
    if is_causal:
        _check_causal(query, key)
    else:
        _check_without_order(query, key, decay, window, cu_seqlens, rollback_limit)
        if window and (initial_state is not None or return_state):
            raise UnsupportedError(
                "return_state: a window over both sides has no state. Fix: pass window=0, or "
                "is_causal=True."
            )
    _check_packing(query, key_padding_mask, cu_seqlens)
    if initial_state is not None:
        rows = batch if cu_seqlens is None else len(cu_seqlens) - 1
        _check_state(initial_state, memory, key, value, rows, window, sinks, rollback_limit)


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
    if bool((logs > 0).any()):
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


def _check_without_order(
    query: Tensor,
    key: Tensor,
    decay: Tensor | None,
    window: int,
    cu_seqlens: Tensor | None,
    rollback_limit: int,
) -> None:
    if decay is not None:
        raise UnsupportedError(
            "decay: forgetting needs an order. Fix: pass is_causal=True, or weigh keys with gate."
        )
    if rollback_limit:
        raise UnsupportedError(
            "rollback_limit: only what was read in order can be taken back. Fix: pass "
            "is_causal=True, or keep a snapshot()."
        )
    if query.shape[2] != key.shape[2] and (window or cu_seqlens is not None):
        name = "window" if window else "cu_seqlens"
        raise UnsupportedError(
            f"{name}: got {query.shape[2]} queries and {key.shape[2]} keys; positions of one say "
            f"nothing about the other. Fix: leave {name} out for cross attention."
        )


def _check_packing(query: Tensor, mask: Tensor | None, cu_seqlens: Tensor | None) -> None:
    if cu_seqlens is None:
        return
    if query.shape[0] != 1:
        raise ArgumentError(
            "cu_seqlens",
            f"a batch of {query.shape[0]}",
            "a batch of one row that holds all sequences",
            "join the sequences along time",
        )
    if mask is not None:
        raise ArgumentError(
            "key_padding_mask",
            "a mask beside cu_seqlens",
            "one of the two",
            "leave padding out of packed sequences",
        )


def _check_state(
    state: MemoryState,
    memory: Memory,
    key: Tensor,
    value: Tensor,
    rows: int,
    window: int,
    sinks: int,
    rollback_limit: int,
) -> None:
    expected = (rows, memory.heads, memory.features, value.shape[-1])
    if tuple(state.values.shape) != expected or state.key.shape[-1] != key.shape[-1]:
        raise ArgumentError(
            "initial_state",
            f"sums {list(state.values.shape)} over keys of width {state.key.shape[-1]}",
            f"sums {list(expected)} over keys of width {key.shape[-1]}",
            "pass the state that the same layer returned for the same rows",
        )
    for name, got, wanted in (
        ("window", state.window, window),
        ("sinks", state.sinks, sinks),
        ("rollback_limit", state.rollback_limit, rollback_limit),
    ):
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
