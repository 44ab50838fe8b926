"""Figures that some rows of a head's attention tell: spread, reach, walk and flow."""

from __future__ import annotations

import math

from .figure import BLOCKS, Figure


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

FIGURES_OF_ROWS = (*_SPREAD, *_REACH, *_WALK, *_FLOW)
