"""The figures of a head: what each is called, counts in, may be, and tells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

BLOCKS = 64
"""Most parts of a text between which attention is a walk."""
GRAPH_TOKENS = 128
"""Most tokens between which the graph of strongest links is looked at."""


@dataclass(frozen=True)
class Figure:
    """One number that every head has.

    Args:
        name: its key among the values.
        title: for headings.
        group: figures of a group belong on one page.
        unit: what it counts in; "" for plain numbers.
        low, high: the bounds that a law gives, whatever the text; None where there is none.
        explanation: a sentence or two for a reader.
        may_lack: whether some heads or texts have none, which NaN says.
        most: an upper bound that grows with the tokens of the text, beside `high`.
    """

    name: str
    title: str
    group: str
    unit: str
    low: float | None
    high: float | None
    explanation: str
    may_lack: bool = False
    most: Callable[[int], float] | None = None

    def limits(self, tokens: int) -> tuple[float | None, float | None]:
        """Bounds for a text of so many tokens: the tighter of `high` and `most`."""
        if self.most is None:
            return self.low, self.high
        grown = self.most(tokens)
        return self.low, grown if self.high is None else min(self.high, grown)


def _last_distance(tokens: int) -> float:
    return tokens - 1.0


_SPREAD = (
    Figure(
        "shannon_entropy", "Entropy", "spread", "nats", 0, None,
        "How widely a query spreads its attention: 0 on one key, log n over n keys alike.",
        most=math.log,
    ),
    Figure(
        "shannon_share", "Entropy as share", "spread", "", 0, 1,
        "Entropy over the logarithm of the keys that a query sees: 1 is attention to all alike.",
    ),
    Figure(
        "von_neumann_entropy", "Von Neumann entropy", "spread", "nats", 0, None,
        "How different the queries' attention is from each other: 0 if all attend alike, log r if "
        "no two of r queries have a key in common.",
        most=math.log,
    ),
    Figure(
        "von_neumann_share", "Von Neumann entropy as share", "spread", "", 0, 1,
        "Von Neumann entropy over the logarithm of the rows that were looked at.",
    ),
    Figure(
        "effective_rank", "Effective rank", "spread", "rows", 1, None,
        "How many independent ways of attending the rows that were looked at come to.",
        most=float,
    ),
    Figure(
        "rank_share", "Effective rank as share", "spread", "", 0, 1,
        "Effective rank over the rows that were looked at.",
    ),
)  # fmt: skip

_REACH = (
    Figure(
        "sink_mass", "On the first tokens", "reach", "", 0, 1,
        "Attention on the first four tokens, where most heads put what they have no use for.",
        may_lack=True,
    ),
    Figure("own_mass", "On itself", "reach", "", 0, 1, "Attention of a token on itself."),
    Figure(
        "previous_mass", "On the token before", "reach", "", 0, 1,
        "Attention on the token before the query.",
    ),
    *(
        Figure(
            f"window_{w}_mass", f"Within {w} tokens", "reach", "", 0, 1,
            f"Attention on tokens less than {w} away: what a window of that width would keep.",
        )
        for w in (16, 64, 256)
    ),
    Figure(
        "mean_distance", "Mean distance", "reach", "tokens", 0, None,
        "How far away attention is on the mean, the first four tokens left out.",
        may_lack=True, most=_last_distance,
    ),
    Figure(
        "median_distance", "Median distance", "reach", "tokens", 0, None,
        "Half of the attention is nearer than that, the first four tokens left out.",
        may_lack=True, most=_last_distance,
    ),
)  # fmt: skip

_WALK = (
    Figure(
        "mixing_time", "Mixing time", "walk", "hops", 0, None,
        "Hops from key to key after which a walk along attention has forgotten where it began; "
        "for a causal head, has come to the first part of the text with chance 3/4.",
        may_lack=True,
    ),
    Figure(
        "law_entropy", "Entropy of the stationary law", "walk", "nats", 0, math.log(BLOCKS),
        "Over how many parts of the text (at most 64) the walk spreads: 0 if it ends up in one.",
        may_lack=True, most=math.log,
    ),
    Figure(
        "entropy_rate", "Entropy rate", "walk", "nats a hop", 0, math.log(BLOCKS),
        "How open the next hop of the walk is; at most the entropy of its stationary law.",
        may_lack=True, most=math.log,
    ),
    Figure(
        "law_residual", "Residual of the stationary law", "walk", "", 0, 1e-9,
        "How much one more hop changes the stationary law: nothing but rounding.",
        may_lack=True,
    ),
)  # fmt: skip

_FLOW = (
    Figure(
        "ifq", "Information-flow quality", "flow", "", 0, 1,
        "The mean of the four figures below.",
    ),
    Figure(
        "pattern_stability", "Pattern stability", "flow", "", 0, 1,
        "How little attention changes from one query to the next.",
    ),
    Figure(
        "cross_tile_flow", "Cross-tile flow", "flow", "", 0, 1,
        "How differently parts of the text attend: 1 - exp(-divergence).",
    ),
    Figure(
        "edge_utilization", "Edge utilization", "flow", "", 0, 1,
        "Whether tokens at the borders of equal tiles are read as much as others.",
    ),
    Figure(
        "information_density", "Information density", "flow", "", 0, 1,
        "How much values move from token to token: d / (1 + d) of the mean square of a step.",
    ),
)  # fmt: skip

_BITS = (
    Figure(
        "key_bits", "Bits of a key's entry", "bits", "bits", 1, 32,
        "The fewest bits of fixed-point keys, with a scale for each 32 of them, at which the "
        "output errs by 1 % at most.",
        may_lack=True,
    ),
    Figure(
        "key_error", "Error with these bits", "bits", "", 0, 0.01,
        "Of the output, relative.",
        may_lack=True,
    ),
    Figure(
        "key_integer_bits", "Integer bits", "bits", "bits", 0, None,
        "Bits of these keys before the point: their archimedean height, mean over tiles.",
        may_lack=True,
    ),
    Figure(
        "key_fraction_bits", "Fraction bits", "bits", "bits", 0, None,
        "Bits of these keys behind the point: their 2-adic height, mean over tiles.",
        may_lack=True,
    ),
)  # fmt: skip

_PERIOD = (
    Figure(
        "period", "Period", "period", "tokens", 1, 32,
        "The stride at which attention comes back, if `chance` is small.",
        may_lack=True,
    ),
    Figure(
        "period_chance", "Chance of such a period", "period", "", 0, 1,
        "Share of heads without a period that have one as clear.",
        may_lack=True,
    ),
    Figure(
        "period_explained", "Explained by the period", "period", "", 0, 1,
        "Share of the variation over offsets or positions that repeats.",
        may_lack=True,
    ),
    Figure(
        "stride_gain", "Gain of a strided mask", "period", "", -1, 1,
        "Attention that a mask of this period holds, less what a window of as many keys holds.",
        may_lack=True,
    ),
)  # fmt: skip

_GRAPH = (
    Figure(
        "curvature_mean", "Mean curvature", "graph", "", -2, 2,
        "Of the graph of strongest links between at most 128 tokens: below 0 where few paths join "
        "what a link joins.",
        may_lack=True,
    ),
    Figure(
        "curvature_least", "Least curvature", "graph", "", -2, 2,
        "At the narrowest link.",
        may_lack=True,
    ),
    Figure(
        "negative_curvature_share", "Links of negative curvature", "graph", "", 0, 1,
        "Share of the links that are narrow.",
        may_lack=True,
    ),
    Figure(
        "components", "Components", "graph", "", 1, GRAPH_TOKENS,
        "Parts of the graph that no link joins; the first token is one of its own.",
        most=float,
    ),
    Figure(
        "loops", "Loops", "graph", "", 0, None,
        "Loops that appear as links are added from the strongest to the weakest.",
    ),
    Figure(
        "endless_loops", "Endless loops", "graph", "", 0, None,
        "Loops that no triangles of links fill.",
    ),
    Figure(
        "joining_persistence", "Total persistence of components", "graph", "", 0, None,
        "How much attention falls, summed, before tokens are joined; large where links are weak.",
    ),
    Figure(
        "loop_entropy", "Entropy of loops", "graph", "nats", 0, None,
        "Whether one loop outlasts the others (0) or all last alike (log of their number).",
    ),
    Figure(
        "cycle_entropy", "Growth of cycles", "graph", "nats a link", 0, None,
        "How fast closed walks without turning back multiply with their length.",
        may_lack=True,
    ),
    Figure(
        "spectral_gap", "Spectral gap", "graph", "", 0, 1,
        "How well the graph mixes: 0 for parts that hardly meet.",
        may_lack=True,
    ),
    Figure(
        "ramanujan_margin", "Ramanujan margin", "graph", "", None, 1,
        "Not below 0 where the graph mixes as well as its number of links lets it.",
        may_lack=True,
    ),
)  # fmt: skip

_FIT = (
    Figure(
        "keys_dropped", "Keys needed alone", "fit", "", 0, 1,
        "Share of the keys that a query has to read for an error of 1 %, the strongest first and "
        "the rest left out.",
    ),
    Figure(
        "keys_opened", "Keys needed in tiles", "fit", "", 0, 1,
        "The same where whole tiles of 32 keys are read or left out.",
    ),
    Figure(
        "keys_summarised", "Keys needed with summaries", "fit", "", 0, 1,
        "The same where tiles that are not read give their mean; a summary costs 1.5 keys.",
    ),
)  # fmt: skip

FIGURES: tuple[Figure, ...] = (*_SPREAD, *_REACH, *_WALK, *_FLOW, *_BITS, *_PERIOD, *_GRAPH, *_FIT)
"""All of them, group by group."""
