"""The public call: checks its arguments, chooses an implementation, reports what was read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ...errors import ArgumentError, UnsupportedError
from ..arguments import check_padding_mask, check_tensors
from ..softmax_attention import EMPTY, explain_ranged_attention, ranged_attention
from .choice import explain
from .control import Control, check_control, check_finite
from .layout import TileLayout
from .reference import reference_tiled_attention
from .report import TiledAttentionReport, make_report
from .store import TileStore
from .stream import BlockRead
from .whole import attend_bidirectional, attend_causal


@overload
def tiled_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    is_causal: bool = ...,
    scale: float | None = ...,
    enable_gqa: bool = ...,
    key_padding_mask: Tensor | None = ...,
    tolerance: float | None = ...,
    budget: float | None = ...,
    resolution: Tensor | float | None = ...,
    certified: bool = ...,
    implementation: str | None = ...,
    layout: TileLayout | None = ...,
    return_report: Literal[False] = ...,
) -> Tensor: ...


@overload
def tiled_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    is_causal: bool = ...,
    scale: float | None = ...,
    enable_gqa: bool = ...,
    key_padding_mask: Tensor | None = ...,
    tolerance: float | None = ...,
    budget: float | None = ...,
    resolution: Tensor | float | None = ...,
    certified: bool = ...,
    implementation: str | None = ...,
    layout: TileLayout | None = ...,
    return_report: Literal[True],
) -> tuple[Tensor, TiledAttentionReport]: ...


def tiled_attention(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G S D"],
    value: Float[Tensor, "B G S E"],
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    key_padding_mask: Bool[Tensor, "B S"] | None = None,
    tolerance: float | None = None,
    budget: float | None = None,
    resolution: Float[Tensor, "*#bhqm"] | float | None = None,
    certified: bool = False,
    implementation: str | None = None,
    layout: TileLayout | None = None,
    return_report: bool = False,
) -> Tensor | tuple[Tensor, TiledAttentionReport]:
    """Softmax attention that reads far tokens exactly only where it matters.

    o_i = sum_j softmax_j(scale q_i . k_j) v_j over the visible j, where the sum over far tokens is
    taken tile by tile: exactly, or through the mean of a tile (or of a node of many tiles),

        sum_{j in tile} exp(s_ij) v_j  ~  n exp(q_i . mean k) mean v.

    Tokens in the query's own super-block and `layout.window` tokens beside it, and the first
    `layout.sinks` tokens, are always read exactly. README.md of this folder derives the errors.

    Args:
        query, key, value: float32, float64, bfloat16 or float16. Half precision is computed in
            float32. With `enable_gqa`, H may be a multiple of G.
        is_causal: query i sees keys j <= i; needs T == S. Output i is, to the bit, independent of
            all tokens after i.
        scale: of the logits; 1 / sqrt(D) if None.
        key_padding_mask: True for tokens, False for padding. A query that sees no token gets 0.
        tolerance: opens tiles until ||o_i - o_i_full|| <= tolerance * max_j ||v_j|| holds for
            every query, j over the keys in its view: by estimate, or rigorously if `certified`.
            0 is exact. If tolerance, budget and resolution are None, it is `DEFAULT_TOLERANCE`.
        budget: fraction of the far tokens, in [0, 1], that are read exactly by each block of
            queries, over all heads of a sequence together; the rest through tile means.
        resolution: rows read per token of each tile, in [0, 1]: a number for all, or a tensor that
            broadcasts to [B, H, blocks, M] (see `TiledAttentionReport.resolution`). It is rounded
            up to what tiles offer; 0 drops a tile.
        certified: use a rigorous bound instead of an estimate; inputs must be finite.
        implementation: "native" (compiled kernels on the CPU), "eager" (vectorised torch, any
            device), "reference" (loops; float64 clean, slow), or None to choose; `explain` tells
            the choice.
        layout: the geometry of tiles; `TileLayout()` if None.
        return_report: also return a `TiledAttentionReport`.

    Returns:
        [B, H, T, E], or (output, report). Gradients flow through what the plan reads; the plan
        itself is a constant.

    Raises:
        ArgumentError: shapes, heads, dtypes or settings that do not fit, each by name.
        UnsupportedError: causal attention with T != S; certified with dropped tiles.
    """
    layout = layout or TileLayout()
    check_shapes(query, key, value, is_causal, enable_gqa, key_padding_mask)
    control = check_control(tolerance, budget, resolution, certified, layout)
    chosen = explain(query, implementation=implementation).implementation
    if control.certified:
        check_finite(query=query, key=key, value=value)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    asked = _resolution_by_block(control, query, key, layout, is_causal=is_causal)

    nothing = query.numel() == 0 or key.numel() == 0
    if control.reads_all and chosen != "reference" and not return_report and not nothing:
        return exact_attention(
            query, key, value, key_padding_mask, scale, is_causal=is_causal, implementation=chosen
        )
    work = torch.promote_types(query.dtype, torch.float32)
    attend = _ATTEND[chosen, is_causal]
    tensors = query.to(work) * scale, key.to(work), value.to(work)
    rest = key_padding_mask, control, layout, asked
    pieces, store = ([], None) if nothing else attend(*tensors, *rest)
    out = _joined([piece.read.out for piece in pieces], query, value)
    if not return_report:
        return out
    report = make_report(
        pieces, store, query, key, layout, certified=control.certified, is_causal=is_causal
    )
    return out, report


_ATTEND: dict[tuple[str, bool], Callable[..., tuple[list[BlockRead], TileStore | None]]] = {
    ("native", True): partial(attend_causal, implementation="native"),
    ("native", False): partial(attend_bidirectional, implementation="native"),
    ("eager", True): partial(attend_causal, implementation="eager"),
    ("eager", False): partial(attend_bidirectional, implementation="eager"),
    ("reference", True): partial(reference_tiled_attention, is_causal=True),
    ("reference", False): partial(reference_tiled_attention, is_causal=False),
}


def exact_attention(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G S D"],
    value: Float[Tensor, "B G S E"],
    key_padding_mask: Bool[Tensor, "B S"] | None,
    scale: float,
    *,
    is_causal: bool,
    implementation: str,
) -> Float[Tensor, "B H T E"]:
    """Plain attention with the same masks: what tiled attention is when it reads everything.

    By torch, or if "native" by the kernels of ../softmax_attention for the dtypes that they take.
    """
    shared = query.unflatten(1, (key.shape[1], -1))
    ranged = explain_ranged_attention(shared, key, value).implementation
    if implementation == ranged == "native":
        bias = None
        if key_padding_mask is not None:
            bias = torch.where(key_padding_mask, 0.0, EMPTY).to(key)
        part = ranged_attention(shared, key, value, scale=scale, is_causal=is_causal, bias=bias)
        return part.out.flatten(1, 2)
    if key_padding_mask is None or bool(key_padding_mask.all()):
        return scaled_dot_product_attention(
            query, key, value, is_causal=is_causal, scale=scale, enable_gqa=True
        )
    mask = key_padding_mask[:, None, None]
    if is_causal:
        mask = mask & torch.ones(mask.shape[-1], mask.shape[-1], dtype=torch.bool).tril().to(mask)
    out = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale, enable_gqa=True
    )
    return torch.where(mask.any(-1)[..., None], out, 0.0)


def check_shapes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_causal: bool,
    enable_gqa: bool,
    key_padding_mask: Tensor | None,
) -> None:
    """Raise an ArgumentError for the first tensor that does not fit the others."""
    check_tensors(query, key, value, enable_gqa=enable_gqa)
    if is_causal and query.shape[2] != key.shape[2]:
        raise UnsupportedError(
            f"is_causal: got {query.shape[2]} queries and {key.shape[2]} keys; which key is a "
            "query's own is not known. Fix: use TiledState for a cache, or pass all queries."
        )
    check_padding_mask(key_padding_mask, key)


def _resolution_by_block(
    control: Control, query: Tensor, key: Tensor, layout: TileLayout, *, is_causal: bool
) -> Tensor | None:
    """The asked resolution as [B * H, blocks, M], or None."""
    if control.resolution is None:
        return None
    blocks = -(-query.shape[2] // layout.super_block)
    cut = -(-key.shape[2] // layout.super_block)
    asked = torch.as_tensor(control.resolution, dtype=torch.float32, device=query.device)
    if is_causal:
        # The last super-blocks are far from no query; a report has no tiles of them.
        whole, cut = cut * layout.tiles_per_block, max(0, cut - 1 - layout.neighbours)
        if asked.dim() and asked.shape[-1] == whole:
            asked = asked[..., : cut * layout.tiles_per_block]
    shape = (*query.shape[:2], blocks, cut * layout.tiles_per_block)
    try:
        return asked.expand(shape).flatten(0, 1)
    except RuntimeError as error:
        raise ArgumentError(
            "resolution",
            f"shape {list(asked.shape)}",
            f"one that broadcasts to [B, H, blocks, tiles] = {list(shape)}",
            "read the shape off TiledAttentionReport.resolution",
        ) from error


def _joined(outs: list[Tensor], query: Tensor, value: Tensor) -> Tensor:
    shape = (*query.shape[:3], value.shape[-1])
    if not outs:
        return query.new_zeros(shape)
    return torch.cat(outs, 1).view(shape).to(query.dtype)
