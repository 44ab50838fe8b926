"""The public call: checks its arguments, chooses an implementation and a memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, overload

from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from ..arguments import Explanation, check_implementation
from ..linear_attention import MemoryState
from ..linear_attention.arguments import IMPLEMENTATIONS, Reading, check_arguments
from ..linear_attention.attend import attend_with_memory
from ..linear_attention.feature_memory import FeatureMemory
from ..linear_attention.interface import chunk_length, explain_reading
from ..linear_attention.log_memory import LogMemory
from ..linear_attention.memory import GIVEN, Memory, NativeFeatures
from ..linear_attention.sparse_memory import SparseMemory, masked_to_top
from .field import Field
from .reference import reference_splat_attention


@overload
def splat_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    field: Field,
    *,
    is_causal: bool = ...,
    scale: float | None = ...,
    enable_gqa: bool = ...,
    decay: Tensor | None = ...,
    gate: Tensor | None = ...,
    window: int = ...,
    sinks: int = ...,
    top_m: int | None = ...,
    key_padding_mask: Tensor | None = ...,
    cu_seqlens: Tensor | None = ...,
    initial_state: MemoryState | None = ...,
    return_state: Literal[False] = ...,
    rollback_limit: int = ...,
    implementation: str | None = ...,
) -> Tensor: ...


@overload
def splat_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    field: Field,
    *,
    is_causal: bool = ...,
    scale: float | None = ...,
    enable_gqa: bool = ...,
    decay: Tensor | None = ...,
    gate: Tensor | None = ...,
    window: int = ...,
    sinks: int = ...,
    top_m: int | None = ...,
    key_padding_mask: Tensor | None = ...,
    cu_seqlens: Tensor | None = ...,
    initial_state: MemoryState | None = ...,
    return_state: Literal[True],
    rollback_limit: int = ...,
    implementation: str | None = ...,
) -> tuple[Tensor, MemoryState]: ...


def splat_attention(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G S D"],
    value: Float[Tensor, "B G S E"],
    field: Field,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    decay: Float[Tensor, "B H S *F"] | None = None,
    gate: Float[Tensor, "B H S"] | None = None,
    window: int = 0,
    sinks: int = 0,
    top_m: int | None = None,
    key_padding_mask: Bool[Tensor, "B S"] | None = None,
    cu_seqlens: Int[Tensor, " n"] | None = None,
    initial_state: MemoryState | None = None,
    return_state: bool = False,
    rollback_limit: int = 0,
    implementation: str | None = None,
) -> Tensor | tuple[Tensor, MemoryState]:
    """Attention through Gaussian splats: linear in length, with a state of fixed size.

        o_i = sum_j w_ij v_j / sum_j w_ij,   w_ij = sum_s a_s G_s(q_i) G_s(k_j)

    over all j, or j <= i if causal. The weights are positive and factor over splats, so that sums
    over keys are carried along instead of the keys; README.md of this folder derives the forms.

    Args:
        query, key, value: float32, float64, bfloat16 or float16. Half precision is computed in
            float32. With `enable_gqa`, H may be a multiple of G.
        field: the splats, of H heads, or of G heads that groups of query heads share.
        is_causal: query i sees keys j <= i; needs T == S. Output i is, to the bit, independent of
            all tokens after i.
        scale: of the softmax logits in the window and of sinks; 1 / sqrt(D) if None.
        decay: log gamma_t <= 0 for each time and head of the field, or each of its features: what
            has left the window is multiplied by gamma_t at time t. Causal only.
        gate: log of a factor in (0, 1] on the weight of each key once it has left the window.
        window: the last `window` tokens (the query's own counts) are read by exact softmax, with
            one normaliser for these and the splats: their w_ij is exp(scale q.k). Without
            causality, keys |i - j| < window.
        sinks: the first `sinks` tokens of each row are always read by exact softmax.
        top_m: each token reads and writes only its `top_m` nearest splats, and the background.
        key_padding_mask: True for tokens, False for padding, which may stand anywhere. If causal,
            outputs there are 0.
        cu_seqlens: sequences packed one after another in a batch of one: 0, their ends, T.
        initial_state: of an earlier call; what it has read comes before. With one new token this
            is a generation step.
        return_state: also return the state after the last token of each row (or sequence).
        rollback_limit: how many tokens `MemoryState.rollback` may take back.
        implementation: "reference" (loops), "parallel" (all at once, quadratic), "chunked",
            "recurrent" (token by token), "native" (compiled kernels), or None to choose;
            `explain_splat_attention` tells the choice and the form of memory.

    Returns:
        [B, H, T, E], or (output, state). A query that sees no token gets 0.

    Raises:
        ArgumentError: shapes, heads, dtypes or settings that do not fit, each by name.
        UnsupportedError: what has no meaning, such as decay without an order.

    Source: the specification's plan, steps 1 to 4; the state is that of linear attention
    (Katharopoulos et al. 2020, arXiv 2006.16236). No softmax is taken over the sum of splats: see
    `softmax_over_splat_sum_attention`.
    """
    memory, _ = _memory(field, decay, top_m)
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
    if field.width != key.shape[-1]:
        raise ArgumentError(
            "field",
            f"splats of width {field.width}",
            f"width {key.shape[-1]} as key has",
            "make the field for this layer's head width",
        )
    if implementation == "reference":
        if cu_seqlens is not None or rollback_limit or return_state:
            raise UnsupportedError(
                "implementation: the reference reads whole rows and returns no state. Fix: call "
                "it sequence by sequence, or `reference_splat_attention` for its sums."
            )
        out, _ = reference_splat_attention(
            query,
            key,
            value,
            field,
            is_causal=is_causal,
            scale=given.scale,
            decay=decay,
            gate=gate,
            window=window,
            sinks=sinks,
            top_m=top_m,
            key_padding_mask=key_padding_mask,
            initial_state=initial_state,
        )
        return out
    chunk = chunk_length(implementation, query.shape[2])
    out, state = attend_with_memory(memory, query, key, value, given, chunk=chunk)
    return (out, state) if return_state else out


def explain_splat_attention(
    query: Tensor,
    field: Field,
    *,
    decay: Tensor | None = None,
    top_m: int | None = None,
    implementation: str | None = None,
) -> Explanation:
    """Which implementation and which form of memory `splat_attention` takes here, and why."""
    check_implementation(implementation, IMPLEMENTATIONS)
    memory, form = _memory(field, decay, top_m)
    told = explain_reading(memory, (query, decay), query.shape[2], implementation)
    return Explanation(told.implementation, f"{told.reason}; {form}")


def _memory(field: Field, decay: Tensor | None, top_m: int | None) -> tuple[Memory, str]:
    """The cheapest memory that is right for this field and these settings, and why it is."""
    splats = field.features - field.has_background
    if top_m is not None and not (isinstance(top_m, int) and 1 <= top_m <= splats):
        raise ArgumentError(
            "top_m", top_m, f"1 to {splats} splats, or None for all", "leave it out, or lower it"
        )
    prepared = field.prepared()
    shape = prepared.tensors, field.heads, field.features
    native = GIVEN
    if prepared.kind in ("diagonal", "scalar"):
        native = NativeFeatures(prepared.kind, constant=int(field.has_background))
    reason = None
    if decay is not None and decay.dim() == 4:
        reason = "each splat has its own decay"
    elif not field.bounded:
        reason = "log features have no bound"
    elif not field.has_background:
        reason = "without a background a query's weights may all be tiny"
    if reason is not None:
        function = prepared.function
        if top_m is not None:
            function = _only_top(function, top_m, background=field.has_background)
        form = LogMemory(*shape, function, GIVEN if top_m is not None else native)
        return form, f"sums in log space, because {reason}"
    if top_m is not None and top_m < splats:
        sparse = SparseMemory(*shape, prepared.function, top_m, field.has_background)
        return sparse, f"sums by index, {top_m} of {splats} splats a token"
    function = _exponential(prepared.function)
    return FeatureMemory(*shape, function, native=native), "plain sums over splats"


_Function = Callable[[tuple[Tensor, ...], Tensor], Tensor]


def _only_top(function: _Function, top_m: int, *, background: bool) -> _Function:
    return lambda tensors, x: masked_to_top(function(tensors, x), top_m, background)


def _exponential(function: _Function) -> _Function:
    return lambda tensors, x: function(tensors, x).exp_()
