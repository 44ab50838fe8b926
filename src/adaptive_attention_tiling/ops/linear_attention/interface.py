"""Plain linear attention, the smallest user of the memory and the baseline of all others."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import elu, relu

from ...errors import ArgumentError, UnsupportedError
from ..arguments import Explanation, check_implementation
from .arguments import IMPLEMENTATIONS, Reading, check_arguments
from .attend import attend_with_memory
from .feature_memory import FeatureMap, FeatureMemory
from .memory import Memory
from .native_memory import native_memory
from .state import MemoryState

FEATURE_MAPS: dict[str, FeatureMap] = {
    "elu": lambda _, x: elu(x) + 1,
    "relu": lambda _, x: relu(x) + 1e-3,
    "exp": lambda _, x: x.clamp(max=30.0).exp(),
}
CHUNK = 128
_PARALLEL_UNTIL = 256


def linear_attention(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G S D"],
    value: Float[Tensor, "B G S E"],
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    feature_map: str = "elu",
    decay: Float[Tensor, "B G S *F"] | None = None,
    gate: Float[Tensor, "B G S"] | None = None,
    window: int = 0,
    sinks: int = 0,
    key_padding_mask: Bool[Tensor, "B S"] | None = None,
    cu_seqlens: Int[Tensor, " n"] | None = None,
    initial_state: MemoryState | None = None,
    return_state: bool = False,
    rollback_limit: int = 0,
    implementation: str | None = None,
) -> Tensor | tuple[Tensor, MemoryState]:
    """o_i = sum_j phi(q_i).phi(k_j) v_j / sum_j phi(q_i).phi(k_j), in linear time.

    The form of Katharopoulos et al. 2020 (arXiv 2006.16236), equations 8 to 12, with one of the
    `FEATURE_MAPS` as phi: "elu" is elu(x) + 1. `scale` is that of the logits in the window. All
    other arguments are those of `splat_attention`, which see; there is no loop reference.

    Raises:
        ArgumentError: shapes or settings that do not fit, each by name.
        UnsupportedError: decay for each feature, or what has no meaning without an order.
    """
    if implementation == "reference":
        raise UnsupportedError(
            'implementation: plain linear attention has no loop reference. Fix: use "parallel".'
        )
    memory = _memory(key, feature_map)
    given = Reading(
        is_causal=is_causal,
        scale=query.shape[-1] ** -0.5 if scale is None else scale,
        enable_gqa=enable_gqa,
        decay=decay,
        gate=gate,
        window=window,
        sinks=sinks,
        key_padding_mask=key_padding_mask,
        cu_seqlens=cu_seqlens,
        initial_state=initial_state,
        return_state=return_state,
        rollback_limit=rollback_limit,
        implementation=implementation,
    )
    check_arguments(query, key, value, memory, given)
    if decay is not None and decay.dim() == 4:
        raise UnsupportedError("decay: plain linear attention forgets by head. Fix: pass [B, G, S]")
    chunk = chunk_length(implementation, query.shape[2])
    out, state = attend_with_memory(memory, query, key, value, given, chunk=chunk)
    return (out, state) if return_state else out


def explain_linear_attention(
    query: Tensor, key: Tensor, *, feature_map: str = "elu", implementation: str | None = None
) -> Explanation:
    """Which implementation `linear_attention` takes here, and why."""
    check_implementation(implementation, IMPLEMENTATIONS)
    memory = _memory(key, feature_map)
    return explain_reading(memory, (query, key), query.shape[2], implementation)


def explain_reading(
    memory: Memory,
    tensors: tuple[Tensor | None, ...],
    tokens: int,
    implementation: str | None,
) -> Explanation:
    """How a memory is read by a call that is given these tensors and queries, and why."""
    if implementation is not None:
        return Explanation(implementation, "pinned by the caller")
    found, why = native_memory(memory, tensors)
    if found is not None:
        return Explanation("native", why)
    if chunk_length(None, tokens) >= tokens:
        reason = f"{tokens} tokens are few enough to be read at once"
        return Explanation("parallel", f"{reason}; not native: {why}")
    reason = f"{tokens} tokens, in time that grows linearly"
    return Explanation("chunked", f"{reason}; not native: {why}")


def _memory(key: Tensor, feature_map: str) -> FeatureMemory:
    if feature_map not in FEATURE_MAPS:
        raise ArgumentError(
            "feature_map", repr(feature_map), f"one of {tuple(FEATURE_MAPS)}", "check the spelling"
        )
    return FeatureMemory((), key.shape[1], key.shape[-1], FEATURE_MAPS[feature_map])


def chunk_length(implementation: str | None, tokens: int) -> int:
    """Tokens that torch reads at once: all (parallel), one (recurrent) or `CHUNK`."""
    if implementation in (None, "native"):
        implementation = "parallel" if tokens <= _PARALLEL_UNTIL else "chunked"
    return {"parallel": max(1, tokens), "chunked": CHUNK, "recurrent": 1}[implementation]
