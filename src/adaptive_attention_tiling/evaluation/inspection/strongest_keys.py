"""Which tokens a head attends to most, for the page on which a person reads it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...errors import ArgumentError
from ..diagnostics import AttentionRows

# What gets less than this share of what the strongest key gets is not worth its place on a page.
_LEAST = 1e-4


@dataclass(frozen=True, kw_only=True)
class StrongestKeys:
    """The strongest keys of some queries, strongest first.

    queries  tokens that ask, in order
    keys     for each of them, the tokens it attends to most; fewer where it sees fewer
    weights  how much: shares of its attention, which sum to at most 1
    """

    queries: tuple[int, ...]
    keys: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]


def strongest_keys(rows: AttentionRows, *, queries: int = 24, keys: int = 16) -> StrongestKeys:
    """The `keys` largest a_ij of `queries` rows that are spread evenly over those given.

    Args:
        rows: of one head.
        queries, keys: at most so many. Keys that get less than 1e-4 of the first are left out.
    """
    for name, count in (("queries", queries), ("keys", keys)):
        if count < 1:
            raise ArgumentError(name, count, "an integer >= 1", f"pass {name}=16")
    given = len(rows.queries)
    # From the middles of equal stretches, so that neither end is preferred.
    places = (torch.arange(min(queries, given)) + 0.5) * (given / min(queries, given))
    chosen = places.long().to(rows.queries.device)
    weights, order = rows.weights[chosen].topk(min(keys, rows.tokens), -1)
    kept = (weights > _LEAST * weights[:, :1]).sum(-1).tolist()
    return StrongestKeys(
        queries=tuple(rows.queries[chosen].tolist()),
        keys=tuple(tuple(row[:n]) for row, n in zip(order.tolist(), kept, strict=True)),
        weights=tuple(tuple(row[:n]) for row, n in zip(weights.tolist(), kept, strict=True)),
    )
