"""The graph of a head's strongest links, without the full matrix of attention."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.graph import Graph
from .head_tensors import check_head

_CHUNK_ROWS = 128


def attention_graph(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    *,
    top_k: int = 8,
    is_causal: bool = True,
    scale: float | None = None,
    skip: int = 1,
    rows: int | None = None,
) -> Graph:
    """Tokens as nodes, each query's `top_k` strongest other keys as edges.

    An edge weighs as the larger of a_ij and a_ji, with a = softmax(scale q k^T) of whole rows.
    Rows are worked out 128 at a time. The graph has no gradients.

    Args:
        query, key: of one head, rotated if the model rotates them.
        top_k: links of a query; fewer where it sees fewer keys.
        scale: of the logits; None is D ** -0.5.
        skip: so many first tokens are neither linked to nor link. Most heads give the first one
            the attention that they have no use for, which would join everything to everything.
        rows: so many queries, evenly spread, are looked at; None for all.
    """
    _check(query, key, top_k, skip, rows)
    tokens = len(query)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    wanted = torch.arange(min(skip, tokens), tokens, device=query.device)
    if rows is not None and rows < len(wanted):
        wanted = torch.linspace(skip, tokens - 1, rows, device=query.device).round().long()
    links = [
        _strongest(query[chunk] @ key.mT * scale, chunk, top_k, is_causal=is_causal, skip=skip)
        for chunk in wanted.split(_CHUNK_ROWS)
    ]
    pairs = torch.cat([pairs for pairs, _ in links]) if links else wanted.new_zeros(0, 2)
    weights = torch.cat([weights for _, weights in links]) if links else query.new_zeros(0)
    edges, index = pairs.sort(1).values.unique(dim=0, return_inverse=True)
    largest = weights.new_zeros(len(edges)).scatter_reduce(0, index, weights, "amax")
    return Graph(tokens, edges, largest)


def _strongest(
    logits: Tensor, queries: Tensor, top_k: int, *, is_causal: bool, skip: int
) -> tuple[Tensor, Tensor]:
    """Links (query, key) of some rows and their probabilities."""
    columns = torch.arange(logits.shape[1], device=logits.device)
    hidden = columns > queries[:, None] if is_causal else torch.zeros_like(logits, dtype=torch.bool)
    attention = logits.detach().masked_fill(hidden, -torch.inf).softmax(-1)
    barred = hidden | (columns < skip) | (columns == queries[:, None])
    weights, keys = attention.masked_fill(barred, -1).topk(min(top_k, len(columns)), -1)
    allowed = weights >= 0
    pairs = torch.stack([queries[:, None].expand_as(keys), keys], -1)
    return pairs[allowed], weights[allowed]


def _check(query: Tensor, key: Tensor, top_k: int, skip: int, rows: int | None) -> None:
    check_head(query, key)
    for name, value, least in (("top_k", top_k, 1), ("skip", skip, 0), ("rows", rows, 1)):
        if value is not None and value < least:
            raise ArgumentError(name, value, f"an integer >= {least}", f"pass {name}={least}")
