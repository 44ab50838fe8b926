"""Edge utilization: whether the tokens at the borders of tiles are read."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .part import QualityPart, checked


def edge_utilization(
    attention: Float[Tensor, "*b T S"], spans: Int[Tensor, "*#b n 2"]
) -> QualityPart:
    """EU = mean(A_edge) / mean(A_total), at most 1.

    A_edge are the entries A_ij, of all queries i, whose key j is the first or the last token of a
    tile. So the raw figure is the share of attention that border tokens get over the share of keys
    that they are: 1 under uniform attention, above 1 where borders are read more than the rest,
    and up to S / (number of border tokens). 0 without attention, and without tiles.

    Source: chapter 3.3.1, which neither says what an edge is nor bounds the ratio.

    Args:
        attention: weights >= 0.
        spans: first key and one past the last key of each tile, in order, without overlap; keys
            outside of all tiles count in the total only. Equal ends make an empty tile, which
            fills up rows of fewer tiles.
    """
    attention = checked("attention", attention, "T S")
    border = _borders(spans, attention).to(attention)
    # The figure has no unit; in units of the largest entry nothing overflows.
    unit = attention.detach().amax((-2, -1))
    read = (attention / torch.where(unit > 0, unit, 1)[..., None, None]).mean(-2)  # [*b, S]
    edge = (read * border).sum(-1) / border.sum(-1).clamp(min=1)
    total = read.mean(-1)
    raw = edge / torch.where(total > 0, total, 1)
    return QualityPart(raw, raw.clamp(max=1))


def tile_distributions(
    attention: Float[Tensor, "*b T S"], spans: Int[Tensor, "*#b n 2"]
) -> Float[Tensor, "*b n S"]:
    """P_i of every tile: the mean attention row of its queries.

    Args:
        attention: rows that sum to 1, of the queries that `spans` counts.
        spans: as for `edge_utilization`, but of queries, and none empty.
    """
    attention = checked("attention", attention, "T S")
    spans = _checked_spans(spans, attention.shape[:-2], attention.shape[-2])
    if bool((spans[..., 0] == spans[..., 1]).any()):
        raise ArgumentError(
            "spans", "an empty tile", "at least one token in each", "leave empty tiles out"
        )
    token = torch.arange(attention.shape[-2], device=attention.device)
    inside = (spans[..., :1] <= token) & (token < spans[..., 1:])  # [*b, n, T]
    shares = inside.to(attention) / inside.sum(-1, keepdim=True)
    return shares @ attention


def _borders(spans: Tensor, attention: Tensor) -> Bool[Tensor, "*b S"]:
    keys = attention.shape[-1]
    spans = _checked_spans(spans, attention.shape[:-2], keys)
    ends = torch.stack([spans[..., 0], spans[..., 1] - 1], -1)
    empty = spans[..., :1] == spans[..., 1:]
    ends = torch.where(empty, keys, ends).flatten(-2)  # one place more, for empty tiles
    border = torch.zeros(*spans.shape[:-2], keys + 1, dtype=torch.bool, device=spans.device)
    return border.scatter(-1, ends, True)[..., :keys]


def _checked_spans(spans: Tensor, batch: torch.Size, tokens: int) -> Tensor:
    try:
        fits = torch.broadcast_shapes(spans.shape[:-2], batch) == batch
    except RuntimeError:
        fits = False
    whole = not spans.is_floating_point() and not spans.is_complex() and spans.dtype != torch.bool
    if spans.dim() < 2 or spans.shape[-1] != 2 or not fits or not whole:
        raise ArgumentError(
            "spans",
            f"{spans.dtype} {list(spans.shape)}",
            f"integers {[*batch, 'n', 2]} or fewer batch axes",
            "pass torch.tensor([[start, end], ...])",
        )
    spans = spans.long()
    bounds = spans.flatten(-2)
    ordered = bool((bounds.diff(dim=-1) >= 0).all())
    if not ordered or (
        bounds.numel() and not 0 <= int(bounds.min()) <= int(bounds.max()) <= tokens
    ):
        raise ArgumentError(
            "spans",
            f"{spans.tolist()}",
            f"0 <= start <= end <= next start <= {tokens}",
            "sort the tiles and end each where the next starts, or before",
        )
    return spans
