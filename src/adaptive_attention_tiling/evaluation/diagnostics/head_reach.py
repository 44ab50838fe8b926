"""How far a head looks: to the first tokens, to itself, to its neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ArgumentError
from .attention_rows import AttentionRows


@dataclass(frozen=True)
class HeadReach:
    """Shares of a head's attention, in [0, 1], and distances |i - j| in tokens.

    Args:
        sink: on the first s tokens, of queries after them (of all, where a head sees both ways);
            NaN if there are none.
        own, previous: on the query's own token and on the one before it.
        windows: for each window w, the share at |i - j| < w; rows that see no further count 1.
        mean_distance, median_distance: of the attention beyond the first s tokens, all rows
            together, so that rows count by how much they have there; NaN if there is none.
    """

    sink: float
    own: float
    previous: float
    windows: dict[int, float]
    mean_distance: float
    median_distance: float


def head_reach(
    rows: AttentionRows, *, sinks: int = 4, windows: Sequence[int] = (16, 64, 256)
) -> HeadReach:
    """Where the attention of some rows is, a_ij by |i - j| and by j < s.

    Distances leave the first tokens out: most heads give them what they have no use for, which
    would make every head look far.

    Args:
        rows: of one head; see `attention_rows`.
        sinks: s, so many first tokens.
        windows: numbers of tokens, each query's own counted.

    Source: Xiao et al., Efficient streaming language models with attention sinks (2023), section 3.
    """
    _check(sinks, windows)
    weights, queries = rows.weights, rows.queries
    place = torch.arange(rows.tokens, device=weights.device)
    distance = (queries[:, None] - place).abs()
    after = queries >= sinks if rows.is_causal else torch.ones_like(queries, dtype=torch.bool)
    by_distance = weights.new_zeros(rows.tokens)
    by_distance.index_add_(0, distance[:, sinks:].flatten(), weights[:, sinks:].flatten())
    mean, median = _mean_and_median(by_distance)
    return HeadReach(
        float(weights[after, :sinks].sum(1).mean()),
        float(weights.gather(1, queries[:, None]).mean()),
        float((weights * (place == queries[:, None] - 1)).sum(1).mean()),
        {w: float((weights * (distance < w)).sum(1).mean()) for w in windows},
        mean,
        median,
    )


def _mean_and_median(mass: Tensor) -> tuple[float, float]:
    """Of the numbers 0, 1, 2, ..., each with this mass."""
    whole = mass.sum()
    if not whole > 0:
        return math.nan, math.nan
    numbers = torch.arange(len(mass), dtype=mass.dtype, device=mass.device)
    half = torch.searchsorted(mass.cumsum(0), whole / 2)
    return float((mass * numbers).sum() / whole), float(half.clamp(max=len(mass) - 1))


def _check(sinks: int, windows: Sequence[int]) -> None:
    if sinks < 0:
        raise ArgumentError("sinks", sinks, "an integer >= 0", "pass sinks=4")
    if any(window < 1 for window in windows):
        raise ArgumentError("windows", windows, "integers >= 1", "pass windows=(16, 64, 256)")
