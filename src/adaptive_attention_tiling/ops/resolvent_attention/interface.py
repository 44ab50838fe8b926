"""The public call: checks its arguments and chooses an implementation."""

from __future__ import annotations

from typing import Literal, overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ...errors import ArgumentError
from ..arguments import Explanation, check_implementation, check_padding_mask, check_tensors
from .reference import reference_resolvent_attention
from .solve import causal_resolvent
from .state import ResolventState, check_resolvent_state
from .walk import check_damping, hops_for, walk

IMPLEMENTATIONS = ("reference", "hops", "solve")


@overload
def resolvent_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    damping: float = ...,
    hops: int | None = ...,
    tolerance: float = ...,
    truncated: bool = ...,
    is_causal: bool = ...,
    scale: float | None = ...,
    enable_gqa: bool = ...,
    key_padding_mask: Tensor | None = ...,
    initial_state: ResolventState | None = ...,
    return_state: Literal[False] = ...,
    implementation: str | None = ...,
) -> Tensor: ...


@overload
def resolvent_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    damping: float = ...,
    hops: int | None = ...,
    tolerance: float = ...,
    truncated: bool = ...,
    is_causal: bool = ...,
    scale: float | None = ...,
    enable_gqa: bool = ...,
    key_padding_mask: Tensor | None = ...,
    initial_state: ResolventState | None = ...,
    return_state: Literal[True],
    implementation: str | None = ...,
) -> tuple[Tensor, ResolventState]: ...


def resolvent_attention(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G T D"],
    value: Float[Tensor, "B G T E"],
    *,
    damping: float = 0.5,
    hops: int | None = None,
    tolerance: float = 1e-3,
    truncated: bool = False,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    key_padding_mask: Bool[Tensor, "B T"] | None = None,
    initial_state: ResolventState | None = None,
    return_state: bool = False,
    implementation: str | None = None,
) -> Tensor | tuple[Tensor, ResolventState]:
    """Attention over paths of any number of hops, o = (1 - alpha) (I - alpha A)^-1 v.

        (1 - alpha) (I - alpha A)^-1 = (1 - alpha) sum_k alpha^k A^k,   A = softmax(scale q k^T)

    Causal calls are exact, at about the price of two attentions; others repeat attention m times,
    with an error of at most alpha^m (max v - min v) in each channel. README.md derives both.

    Args:
        query, key, value: of the same T tokens; float32 or float64. With `enable_gqa`, H may be a
            multiple of G.
        damping: alpha in [0, 1); 0 gives the values back, near 1 paths are long.
        hops: m; None solves exactly if causal, and otherwise takes the least m with
            alpha^m <= `tolerance`.
        truncated: leave longer paths out instead of ending them at the m-th hop; see `walk`.
        is_causal: token i sees tokens j <= i.
        scale: of the logits; 1 / sqrt(D) if None.
        key_padding_mask: True for tokens, False for padding, which may stand anywhere and whose
            outputs are 0.
        initial_state: of an earlier causal call; these tokens come after it.
        return_state: also return the state after the last token; for exact causal calls.
        implementation: "reference" (forms A), "hops", "solve" (causal), or None to choose.

    Returns:
        [B, H, T, E], or (output, state).

    Raises:
        ArgumentError: shapes, dtypes or settings that do not fit, each by name.

    Source: Page, Brin, Motwani and Winograd, The PageRank Citation Ranking (1999), section 2.4;
    over attention Wang, Ying, Huang and Leskovec (2021), arXiv 2009.14332, section 3.2.
    """
    check_tensors(query, key, value, enable_gqa=enable_gqa)
    _check(query, key, damping, key_padding_mask)
    chosen = explain_resolvent_attention(
        is_causal=is_causal, hops=hops, implementation=implementation
    ).implementation
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    if chosen == "solve":
        _check_exact(hops, is_causal, truncated)
        if initial_state is not None:
            check_resolvent_state(initial_state, key, value)
        out, state = causal_resolvent(
            scale * query, key, value, damping=damping, seen=key_padding_mask, past=initial_state
        )
        return (out, state) if return_state else out
    if return_state or initial_state is not None:
        raise ArgumentError(
            "return_state" if return_state else "initial_state",
            f"given with {chosen}" + ("" if is_causal else " without an order"),
            "None: only exact causal calls carry a state",
            "pass is_causal=True and hops=None",
        )
    if chosen == "reference":
        _check_exact(hops, True, truncated)
        return reference_resolvent_attention(
            query, key, value, damping=damping, scale=scale, is_causal=is_causal,
            key_padding_mask=key_padding_mask,
        )  # fmt: skip
    seen = None if key_padding_mask is None else _visible(key_padding_mask, is_causal=is_causal)

    def attend(values: Tensor) -> Tensor:
        return scaled_dot_product_attention(
            query, key, values, attn_mask=seen, is_causal=is_causal and seen is None, scale=scale
        )

    count = hops_for(damping, tolerance) if hops is None else hops
    out = walk(attend, value, damping=damping, hops=count, truncated=truncated)
    if key_padding_mask is not None:
        out = out.masked_fill(~key_padding_mask[:, None, :, None], 0.0)
    return out


def explain_resolvent_attention(
    *, is_causal: bool, hops: int | None = None, implementation: str | None = None
) -> Explanation:
    """Which implementation `resolvent_attention` takes, and why."""
    check_implementation(implementation, IMPLEMENTATIONS)
    if implementation is not None:
        return Explanation(implementation, "pinned by the caller")
    if hops is not None:
        return Explanation("hops", f"{hops} hops are asked for")
    if is_causal:
        return Explanation("solve", "causal: exact, at about the price of two attentions")
    return Explanation("hops", "without an order: attention is repeated until the tolerance holds")


def _visible(tokens: Tensor, *, is_causal: bool) -> Tensor:
    """Who sees whom; padding sees itself, so that its row is no 0 / 0, and nothing sees it."""
    length = tokens.shape[1]
    seen = tokens[:, None, None].expand(-1, 1, length, length)
    if is_causal:
        seen = seen.tril()
    return seen | torch.eye(length, dtype=torch.bool, device=tokens.device)


def _check(query: Tensor, key: Tensor, damping: float, mask: Tensor | None) -> None:
    check_damping(damping)
    check_padding_mask(mask, key)
    if query.shape[2] != key.shape[2]:
        raise ArgumentError(
            "key",
            f"{key.shape[2]} tokens",
            f"the {query.shape[2]} of query: a walk goes on from where it came",
            "pass earlier tokens by initial_state",
        )
    if query.dtype not in (torch.float32, torch.float64):
        raise ArgumentError(
            "query", query.dtype, "torch.float32 or torch.float64", "use query.float()"
        )


def _check_exact(hops: int | None, is_causal: bool, truncated: bool) -> None:
    if hops is not None or truncated:
        raise ArgumentError(
            "truncated" if truncated else "hops",
            truncated or hops,
            "neither with an exact implementation",
            "leave implementation out",
        )
    if not is_causal:
        raise ArgumentError("is_causal", False, "True for solve", "leave implementation out")
