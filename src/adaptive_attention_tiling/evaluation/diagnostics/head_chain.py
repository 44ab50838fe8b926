"""A head's attention as a random walk over the parts of a text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.dynamics import MarkovChain
from ...mathematics.information import shannon_entropy
from .attention_rows import AttentionRows

_ROUNDING = 1e-9


@dataclass(frozen=True)
class HeadChain:
    """A walk over n blocks of a text, each step taken as the head attends.

    Args:
        ends: one past the last token of each block.
        hops: the walk itself: P_bc is the share of block b's attention that block c has.
        walk: where a part's weight is read off: `hops` for a head that sees both ways; for a
            causal head, whose walk ends in the first block, the walk with restarts.
        is_absorbed: whether it is a causal head.
    """

    ends: Int[Tensor, " n"]
    hops: MarkovChain
    walk: MarkovChain
    is_absorbed: bool

    @property
    def stationary(self) -> Float[Tensor, " n"] | None:
        """pi = pi P of `walk`: which blocks matter; None where it has more than one such law.

        Parts of a text that meet so rarely that the law is lost in rounding count as apart.
        """
        return _law(self.walk)

    @property
    def residual(self) -> float:
        """|pi P - pi| in total variation, 0 up to rounding; NaN without one law."""
        law = self.stationary
        if law is None:
            return math.nan
        return float((law @ self.walk.transitions - law).abs().sum()) / 2

    @property
    def law_entropy(self) -> float:
        """H(pi) in nats, from 0 (one block has all) to log n; NaN without one law."""
        law = self.stationary
        return math.nan if law is None else float(shannon_entropy(law.clamp(min=0) / law.sum()))

    @property
    def entropy_rate(self) -> float:
        """Of `walk`, in nats a hop: at most H(pi), since the next block is one of pi."""
        return math.nan if self.stationary is None else float(self.walk.entropy_rate())

    def mixing_time(self, distance: float = 0.25) -> float:
        """Hops after which it no longer matters where `hops` began; see `MarkovChain.mixing_time`.

        For a causal head, those after which a walk from any block has come to the first one, with
        chance 1 - distance at least. NaN if the walk never forgets.
        """
        if _law(self.hops) is None:
            return math.nan
        try:
            return float(self.hops.mixing_time(distance))
        except ArgumentError:
            return math.nan


def head_chain(rows: AttentionRows, *, blocks: int = 64, damping: float = 0.85) -> HeadChain:
    """Attention between equal blocks of the text, from some rows of each.

        P_bc = mean over rows i in b of sum_{j in c} a_ij

    A causal head never looks ahead, so that its walk is absorbed by the first block: P has the
    stationary law (1, 0, ..., 0) whatever the head does. Which parts of the text matter is then
    told by the walk that begins anew in any block with chance 1 - damping,

        pi = damping pi P + (1 - damping) / n.

    Args:
        rows: of one head; see `attention_rows`, which draws one of each stretch.
        blocks: most of them; as many as rows if rows are fewer, half as many as rows if rows are
            fewer than twice that, so that every block has a row.
        damping: in (0, 1).

    Raises:
        ArgumentError: a block without a row, where rows were not drawn from all of the text.

    Source: Levin, Peres and Wilmer, Markov Chains and Mixing Times (2009), section 4.5; Page,
    Brin, Motwani and Winograd, The PageRank citation ranking (1999), section 2.
    """
    if blocks < 1:
        raise ArgumentError("blocks", blocks, "an integer >= 1", "pass blocks=64")
    if not 0 < damping < 1:
        raise ArgumentError("damping", damping, "a number in (0, 1)", "pass damping=0.85")
    count = _block_count(len(rows.queries), rows.tokens, blocks)
    ends = torch.arange(1, count + 1, device=rows.queries.device) * rows.tokens // count
    of_rows = torch.bucketize(rows.queries, ends, right=True)
    drawn = torch.bincount(of_rows, minlength=count)
    if bool((drawn == 0).any()):
        raise ArgumentError(
            "rows", f"none in {int((drawn == 0).sum())} of {count} blocks", "a row in each block",
            "draw more rows, from all of the text, or ask for fewer blocks",
        )  # fmt: skip
    of_keys = torch.bucketize(torch.arange(rows.tokens, device=ends.device), ends, right=True)
    mass = rows.weights.new_zeros(len(rows.queries), count).index_add(1, of_keys, rows.weights)
    transitions = rows.weights.new_zeros(count, count).index_add(0, of_rows, mass)
    transitions = transitions / transitions.sum(1, keepdim=True)
    hops = MarkovChain(transitions)
    restarted = MarkovChain(damping * transitions + (1 - damping) / count)
    return HeadChain(ends, hops, restarted if rows.is_causal else hops, rows.is_causal)


def _law(chain: MarkovChain) -> Float[Tensor, " n"] | None:
    try:
        law = chain.stationary()
    except ArgumentError:
        return None
    wrong = (
        (law.sum() - 1).abs() + (law @ chain.transitions - law).abs().sum() - law.clamp(max=0).sum()
    )
    return law if wrong < _ROUNDING else None


def _block_count(rows: int, tokens: int, blocks: int) -> int:
    """So few that stretches of T / rows tokens fill at least one in every block."""
    if rows == tokens or rows <= blocks:
        return min(blocks, rows)
    return min(blocks, rows // 2)
