"""The public call: checks its arguments, chooses an implementation and a memory."""

from __future__ import annotations

from typing import Literal, overload

import torch
from jaxtyping import Bool, Float, Inexact, Int
from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from ..arguments import Explanation, check_implementation, check_tensors
from ..linear_attention import FeatureMemory, MemoryState
from ..linear_attention.arguments import IMPLEMENTATIONS, Reading, check_arguments
from ..linear_attention.attend import attend_with_memory
from ..linear_attention.memory import GIVEN, Memory, NativeFeatures
from ..linear_attention.native_memory import native_memory
from ..softmax_attention import EMPTY
from .costs import chunk_tokens, crossover_tokens
from .kernel import FidelityKernel
from .pairs import PairMemory, attend_all_pairs
from .reference import reference_fidelity_attention

BACKGROUND = 1e-4


@overload
def fidelity_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    is_causal: bool = ...,
    scale: float | None = ...,
    enable_gqa: bool = ...,
    decay: Tensor | None = ...,
    gate: Tensor | None = ...,
    window: int = ...,
    sinks: int = ...,
    key_padding_mask: Tensor | None = ...,
    cu_seqlens: Tensor | None = ...,
    initial_state: MemoryState | None = ...,
    return_state: Literal[False] = ...,
    rollback_limit: int = ...,
    background: float = ...,
    qubits: int = ...,
    implementation: str | None = ...,
) -> Tensor: ...


@overload
def fidelity_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    is_causal: bool = ...,
    scale: float | None = ...,
    enable_gqa: bool = ...,
    decay: Tensor | None = ...,
    gate: Tensor | None = ...,
    window: int = ...,
    sinks: int = ...,
    key_padding_mask: Tensor | None = ...,
    cu_seqlens: Tensor | None = ...,
    initial_state: MemoryState | None = ...,
    return_state: Literal[True],
    rollback_limit: int = ...,
    background: float = ...,
    qubits: int = ...,
    implementation: str | None = ...,
) -> tuple[Tensor, MemoryState]: ...


def fidelity_attention(
    query: Inexact[Tensor, "B H T m"],
    key: Inexact[Tensor, "B G S m"],
    value: Float[Tensor, "B G S E"],
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    decay: Float[Tensor, "B G S"] | None = None,
    gate: Float[Tensor, "B G S"] | None = None,
    window: int = 0,
    sinks: int = 0,
    key_padding_mask: Bool[Tensor, "B S"] | None = None,
    cu_seqlens: Int[Tensor, " n"] | None = None,
    initial_state: MemoryState | None = None,
    return_state: bool = False,
    rollback_limit: int = 0,
    background: float = BACKGROUND,
    qubits: int = 0,
    implementation: str | None = None,
) -> Tensor | tuple[Tensor, MemoryState]:
    """Attention whose weights are fidelities of states: exactly linear in length.

        o_i = sum_j w_ij v_j / sum_j w_ij,   w_ij = |<psi(q_i)|psi(k_j)>|^2 + background

    with psi(x) = x / |x|, over all j, or j <= i if causal. The weight is a scalar product of
    m (m + 1) / 2 real numbers, so that sums over keys are carried along instead of the keys;
    README.md of this folder derives the forms.

    Args:
        query, key: amplitudes of states, of any norm. float32, float64, bfloat16, float16 (half
            precision is computed in float32), or complex64 or complex128. With `enable_gqa`, H
            may be a multiple of G. A zero vector is no state and has fidelity 0 with all; so has
            one whose squared norm underflows.
        value: real, of the precision of query and key.
        is_causal: query i sees keys j <= i; needs T == S. Output i is, to the bit, independent of
            all tokens after i.
        scale: of the softmax logits scale Re<q|k> in the window and of sinks, which are of q and
            k as given, not normalised; 1 / sqrt(m) if None.
        decay: log gamma_t <= 0 for each time and key head: what has left the window is multiplied
            by gamma_t at time t. Causal only.
        gate: log of a factor in (0, 1] on the weight of each key once it has left the window.
        window: the last `window` tokens (the query's own counts) are read by exact softmax, with
            one normaliser for these and the fidelities: their w_ij is exp(scale Re<q|k>). Without
            causality, keys |i - j| < window.
        sinks: the first `sinks` tokens of each row are always read by exact softmax.
        key_padding_mask: True for tokens, False for padding, which may stand anywhere. If causal,
            outputs there are 0.
        cu_seqlens: sequences packed one after another in a batch of one: 0, their ends, T.
        initial_state: of an earlier call; what it has read comes before. With one new token this
            is a generation step.
        return_state: also return the state after the last token of each row (or sequence).
        rollback_limit: how many tokens `MemoryState.rollback` may take back.
        background: >= 0; the weight of keys whose state is orthogonal to the query's.
        qubits: n >= 2, if all queries and keys are products of n real qubits, such as
            `mathematics.quantum.angle_amplitudes` makes: 3^n features then say the same as
            m (m + 1) / 2, m = 2^n. That they are products is not checked. 0 for other states.
        implementation: "reference" (loops), "parallel" (all at once; all pairs, if nothing comes
            before or after), "chunked", "recurrent" (token by token), "native" (compiled
            kernels), or None to choose; `explain_fidelity_attention` tells the choice.

    Returns:
        [B, H, T, E] in the value's dtype, or (output, state). A query that sees no token, or only
        tokens that weigh nothing, gets 0.

    Raises:
        ArgumentError: shapes, dtypes or settings that do not fit, each by name.
        UnsupportedError: what has no meaning, such as decay without an order.

    Source: the specification's plan for quantum geometric attention; the state is that of linear
    attention (Katharopoulos et al. 2020, arXiv 2006.16236) with density matrices as features.
    """
    check_tensors(query, key, value, enable_gqa=enable_gqa, allow_complex=True)
    kernel = _kernel(key, background, qubits)
    memory = _memory(kernel, key.shape[1])
    states, (query, key) = (query, key), (as_numbers(query), as_numbers(key))
    given = Reading(
        is_causal=is_causal,
        scale=kernel.dimension**-0.5 if scale is None else scale,
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
        raise UnsupportedError("decay: fidelity attention forgets by head. Fix: pass [B, G, S]")
    if implementation == "reference":
        if cu_seqlens is not None or rollback_limit or return_state:
            raise UnsupportedError(
                "implementation: the reference reads whole rows and returns no state. Fix: call "
                "it sequence by sequence, or `reference_fidelity_attention` for its sums."
            )
        out, _ = reference_fidelity_attention(
            *states,
            value,
            is_causal=is_causal,
            scale=given.scale,
            decay=decay,
            gate=gate,
            window=window,
            sinks=sinks,
            key_padding_mask=key_padding_mask,
            initial_state=initial_state,
            background=background,
            qubits=qubits,
        )
        return out
    by_pairs = initial_state is None and not return_state
    if not (is_causal or window):
        by_pairs = by_pairs and not sinks and cu_seqlens is None
    if implementation is None:
        implementation = (
            _choice(*states, is_causal=is_causal, qubits=qubits)[0] if by_pairs else "chunked"
        )
    by_pairs = by_pairs and implementation == "parallel"
    if by_pairs and not (is_causal or window):
        return _between_sets(kernel, query, key, value, gate, key_padding_mask)
    reader: Memory = PairMemory(kernel, memory) if by_pairs else memory
    chunk = {
        "parallel": max(1, query.shape[2], key.shape[2]),
        "chunked": chunk_tokens(kernel.features),
        "recurrent": 1,
        "native": chunk_tokens(kernel.features),
    }[implementation]
    out, state = attend_with_memory(reader, query, key, value, given, chunk=chunk)
    return (out, state) if return_state else out


def explain_fidelity_attention(
    query: Inexact[Tensor, "B H T m"],
    key: Inexact[Tensor, "B G S m"],
    *,
    is_causal: bool = False,
    qubits: int = 0,
    implementation: str | None = None,
) -> Explanation:
    """Which implementation `fidelity_attention` takes for these tokens, and why.

    A call with a state before or after, or without causality with sinks or packed sequences and
    no window, needs sums in any case and is never "parallel".
    """
    check_implementation(implementation, IMPLEMENTATIONS)
    if implementation is not None:
        return Explanation(implementation, "pinned by the caller")
    return Explanation(*_choice(query, key, is_causal=is_causal, qubits=qubits))


def _choice(query: Tensor, key: Tensor, *, is_causal: bool, qubits: int) -> tuple[str, str]:
    kernel = _kernel(key, BACKGROUND, qubits)
    found, why = native_memory(_memory(kernel, key.shape[1]), (query, key))
    limit = crossover_tokens(kernel.features, is_causal=is_causal, native=found is not None)
    tokens = key.shape[2]
    if tokens <= limit:
        return "parallel", f"quadratic: {tokens} tokens, and up to {limit} pairs are cheaper"
    linear = f"linear: {tokens} tokens, more than the {limit} up to which pairs are cheaper"
    if found is not None:
        return "native", f"{linear}; {why}"
    return "chunked", f"{linear}; not native: {why}"


def native_features(kernel: FidelityKernel) -> NativeFeatures:
    """How compiled kernels evaluate the features of the kernel; those of qubits are given them."""
    if kernel.qubits:
        return GIVEN
    kind = "complex_fidelity" if kernel.is_complex else "fidelity"
    return NativeFeatures(kind, background=kernel.background)


def _memory(kernel: FidelityKernel, heads: int) -> FeatureMemory:
    return FeatureMemory(
        (),
        heads,
        kernel.features,
        lambda _, x: kernel.feature_map(kernel.states(x)),
        lambda _, q, k: kernel.weights(kernel.states(q), kernel.states(k)),
        native_features(kernel),
    )


def check_background(background: float) -> None:
    if isinstance(background, bool) or not 0 <= background < float("inf"):
        raise ArgumentError("background", background, "a number >= 0", "use 0 for none")


def check_qubits(qubits: int, dimension: int, *, is_complex: bool) -> None:
    counts = isinstance(qubits, int) and not isinstance(qubits, bool)
    if counts and (qubits == 0 or (qubits >= 2 and 2**qubits == dimension and not is_complex)):
        return
    raise ArgumentError(
        "qubits",
        f"{qubits} for {'complex' if is_complex else 'real'} states of dimension {dimension}",
        "0, or n >= 2 with 2^n real amplitudes",
        "leave it out: other states, and single qubits, have no fewer features",
    )


def _kernel(key: Tensor, background: float, qubits: int) -> FidelityKernel:
    check_background(background)
    check_qubits(qubits, key.shape[-1], is_complex=key.is_complex())
    return FidelityKernel(key.shape[-1], key.is_complex(), float(background), qubits)


def as_numbers(states: Tensor) -> Tensor:
    """Complex amplitudes [..., m] as real numbers [..., 2m]: then Re<q|k> is q . k."""
    if not states.is_complex():
        return states
    return torch.view_as_real(states.resolve_conj()).mT.flatten(-2)  # one copy, by few calls


def _between_sets(
    kernel: FidelityKernel,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    gate: Tensor | None,
    mask: Tensor | None,
) -> Tensor:
    dtype = torch.promote_types(value.dtype, torch.float32)
    gate = None if gate is None else gate.to(dtype)
    if mask is not None:
        gate = torch.zeros_like(value[..., 0], dtype=dtype) if gate is None else gate
        gate = gate.masked_fill(~mask[:, None], EMPTY)
    out = attend_all_pairs(kernel, query.to(dtype), key.to(dtype), value.to(dtype), gate)
    return out.to(value.dtype)
