"""What a single query has to read of a far field that has summaries of every size.

For theorem 3.4: a binary tree over runs of tokens, down to 8, and the coarsest cut through it that
is certain to keep an error. It is found from the top: the dearest set is opened until the costs
add up to no more than the tolerance. A set of n tokens with mass p = n exp(mean logit) / Z, Z that
of plain attention, whose logits x_j less their mean have the root mean square s, costs

    2 p (mean_j exp(x_j) - 1 + s) >= 2 p mean_j |exp(x_j) - 1|,

and the costs add up to a bound on the error in units of the largest value norm: (1) in the README
of tiled_attention, with the set's own logits in place of bounds on them. So this is what a program
would need that knows the logits before it reads them: rows, not time.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .planted import KINDS
from .power_law import fitted_exponent

LENGTHS = (2048, 4096, 8192, 16384, 32768)
LEAF = 8


@dataclass(frozen=True, kw_only=True)
class CutGrowth:
    """Rows a query at several lengths of its far field, means over queries.

    read         summaries and single tokens
    looked       sets whose cost was worked out
    worst_error  of any query, over the tolerance times the largest value norm: at most 1
    exponent     of read + looked in the length: 0 for a cost of log n, 1 for a cost of n
    """

    text: str
    lengths: tuple[int, ...]
    read: tuple[float, ...]
    looked: tuple[float, ...]
    worst_error: tuple[float, ...]
    exponent: float


class Cut(NamedTuple):
    """Closed sets and opened leaves as (first token, tokens), and the number of sets looked at."""

    closed: list[tuple[int, int]]
    opened: list[int]
    looked: int

    @property
    def rows(self) -> int:
        """Rows read."""
        return len(self.closed) + LEAF * len(self.opened)


def cut_growth(
    text: str, *, lengths: Sequence[int] = LENGTHS, tolerance: float = 0.1, queries: int = 32
) -> CutGrowth:
    """The cuts of the last `queries` queries of `planted.KINDS[text]`, all of it far from them."""
    found = [_cuts(text, tokens, tolerance, queries) for tokens in lengths]
    read, looked, worst = zip(*found, strict=True)
    return CutGrowth(
        text=text,
        lengths=tuple(lengths),
        read=read,
        looked=looked,
        worst_error=worst,
        exponent=fitted_exponent(lengths, [a + b for a, b in zip(read, looked, strict=True)]),
    )


def _cuts(text: str, tokens: int, tolerance: float, queries: int) -> tuple[float, float, float]:
    query, key, value = (x[0, 0].double() for x in KINDS[text](tokens))
    logits = query[-queries:] @ key.mT / math.sqrt(key.shape[-1])
    cuts = [coarsest_cut(row, tolerance) for row in logits]
    errors = [_error(row, cut, value) for row, cut in zip(logits, cuts, strict=True)]
    unit = tolerance * float(value.norm(dim=-1).max())
    read = sum(cut.rows for cut in cuts) / queries
    return read, sum(cut.looked for cut in cuts) / queries, max(errors) / unit


def coarsest_cut(logits: Float[Tensor, " T"], tolerance: float) -> Cut:
    """Open the dearest set until they cost no more together; T is LEAF times a power of two."""
    costs = [level.tolist() for level in set_costs(logits)]
    top = len(costs) - 1
    heap, spent, looked, opened = [(-costs[top][0], top, 0)], costs[top][0], 1, []
    while heap and spent > tolerance:
        cost, level, index = heapq.heappop(heap)
        spent += cost
        if level == 0:
            opened.append(index * LEAF)
            continue
        looked += 2
        for child in (2 * index, 2 * index + 1):
            heapq.heappush(heap, (-costs[level - 1][child], level - 1, child))
            spent += costs[level - 1][child]
    closed = [(index * (LEAF << level), LEAF << level) for _, level, index in heap]
    return Cut(closed, opened, looked)


def set_costs(logits: Float[Tensor, " T"]) -> list[Float[Tensor, " sets"]]:
    """What every set costs, from the leaves to the whole."""
    total, size, costs = logits.logsumexp(0), LEAF, []
    while size <= len(logits):
        sets = logits.view(-1, size)
        mean = sets.mean(1)
        # p mean_j exp(x_j), without the exponentials of large x_j.
        mass = (sets.logsumexp(1) - total).exp()
        share = (mean + math.log(size) - total).exp()
        costs.append(2 * (mass - share + share * sets.std(1, correction=0)).clamp(min=0))
        size *= 2
    return costs


def _error(logits: Tensor, cut: Cut, value: Float[Tensor, "T E"]) -> float:
    """|o - o_full| of a query that reads along the cut."""
    parts = [(logits[i : i + LEAF], value[i : i + LEAF]) for i in cut.opened]
    for start, size in cut.closed:
        run = slice(start, start + size)
        parts.append((logits[run].mean()[None] + math.log(size), value[run].mean(0)[None]))
    seen, values = (torch.cat(part) for part in zip(*parts, strict=True))
    return float((seen.softmax(0) @ values - logits.softmax(0) @ value).norm())
