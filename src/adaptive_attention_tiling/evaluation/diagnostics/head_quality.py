"""Information-flow quality of a head."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...tiling.quality import QualityReport, information_flow_quality, tile_distributions
from .attention_rows import AttentionRows, attention_at


def head_quality(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    rows: AttentionRows,
    *,
    scale: float | None = None,
    tiles: int = 16,
) -> QualityReport:
    """IFQ of a head and its four parts, each raw and in [0, 1].

    What the four measure here:

    - pattern stability: rows i against the rows i - 1 before them, key by key; times t - 1 and t
      are successive queries;
    - cross-tile flow: how differently equal spans of queries attend, over ordered pairs of spans;
      for a causal head only of an earlier against a later one, as the other way it is infinite;
    - edge utilization: whether the first and last tokens of equal spans of keys are read;
    - information density: |v_j - v_{j-1}|^2 / E, the mean over tokens. It has the unit of values.

    Args:
        query, key, value: of one head, T >= 2.
        rows: some rows of it; the first token's has none before and is left out.
        scale: of the logits, as the rows had it.
        tiles: equal spans of the text; no more than there are rows.

    Raises:
        ArgumentError: values that do not fit, no row but the first token's, tiles < 1.

    Source: `information_flow_quality`.
    """
    later = rows.queries > 0
    _check(query, value, later, tiles)
    current, queries = rows.weights[later], rows.queries[later]
    before = attention_at(query, key, queries - 1, is_causal=rows.is_causal, scale=scale)
    count = min(tiles, len(queries))
    spread = tile_distributions(current, _spans(len(queries), count))
    pairs = torch.ones(count, count, dtype=current.dtype, device=current.device).triu(1)
    if not rows.is_causal:
        pairs = pairs + pairs.mT
    return information_flow_quality(
        before.weights,
        current,
        spread,
        _spans(rows.tokens, count),
        value.detach().double().diff(dim=0),
        flow_weights=pairs / pairs.sum().clamp(min=1),
    )


def _spans(length: int, count: int) -> Tensor:
    edges = torch.arange(count + 1) * length // count
    return torch.stack([edges[:-1], edges[1:]], 1)


def _check(query: Tensor, value: Tensor, later: Tensor, tiles: int) -> None:
    if value.dim() != 2 or len(value) != len(query) or not value.is_floating_point():
        raise ArgumentError(
            "value", f"{value.dtype} {list(value.shape)}", f"floating [{len(query)}, E]",
            "pass the values of the head's group",
        )  # fmt: skip
    if not bool(later.any()):
        raise ArgumentError(
            "rows", "the first token's alone", "a row with one before it", "draw more rows"
        )
    if tiles < 1:
        raise ArgumentError("tiles", tiles, "an integer >= 1", "pass tiles=16")
