"""Figures that take a head's queries, keys and values: bits, period, graph, fits and response."""

from __future__ import annotations

from .figure import GRAPH_TOKENS, Figure

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

MIXERS = ("linear", "exponential", "fidelity", "splat")
"""Linear-time mixers whose features are fitted to a head."""

_MIXER_FITS = (
    Figure(
        "window_error", "Error of a window", "mixers", "", 0, None,
        "Of the output on held-out rows where only 64 near keys and the first 4 are read.",
        may_lack=True,
    ),
    Figure(
        "mean_error", "Error of a window and a mean", "mixers", "", 0, None,
        "The same where all other keys have one weight.",
        may_lack=True,
    ),
    *(
        Figure(
            f"{name}_error", f"Error with {name} features", "mixers", "", 0, None,
            f"The same where other keys have weights fitted in the {name} mixer's features.",
            may_lack=True,
        )
        for name in MIXERS
    ),
    *(
        Figure(
            f"{name}_explained", f"Explained by {name} features", "mixers", "", None, 1,
            f"Share of the variance of far attention that the {name} mixer's features explain on "
            "held-out rows; below 0 where one weight for all would be nearer.",
            may_lack=True,
        )
        for name in MIXERS
    ),
)  # fmt: skip

_RESPONSE = (
    Figure(
        "response_gain", "Largest gain of a wave", "response", "", 0, None,
        "How much larger a small wave along the text can come out of the head than it went in.",
        may_lack=True,
    ),
    Figure(
        "response_growth", "Growth of waves", "response", "a unit of time", None, None,
        "Rate of the wave that grows fastest: above 0 tokens draw apart into clusters, below they "
        "grow alike. At most the gain less 1.",
        may_lack=True,
    ),
    Figure(
        "response_wavelength", "Wavelength of that wave", "response", "tokens", 2, 256,
        "The wave that grows fastest, or fades slowest.",
        may_lack=True,
    ),
)  # fmt: skip

FIGURES_OF_HEADS = (*_BITS, *_PERIOD, *_GRAPH, *_FIT, *_MIXER_FITS, *_RESPONSE)
