"""All figures of a head at once, from the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .attention_profile import AttentionProfile, attention_profile
from .attention_rows import AttentionRows, attention_rows, one_of_each_stretch
from .compressibility import head_compressibility
from .figure import BLOCKS, GRAPH_TOKENS
from .figures_of_heads import MIXERS
from .head_chain import HeadChain, head_chain
from .head_entropy import head_entropy
from .head_quality import head_quality
from .head_reach import head_reach
from .head_structure import HeadStructure, head_structure
from .key_bits import key_bits
from .mixer_fits import mixer_fits
from .pattern_response import pattern_response
from .periodic_head import HeadPeriodicity, head_periodicity

# Texts of fewer tokens have too few offsets for a period of up to 32 tokens.
_PERIOD_TOKENS = 128
# Of `mixer_fits`; 64 of them are fitted to.
_FIT_ROWS = 96


@dataclass(frozen=True)
class HeadFigures:
    """The figures of a head, and what a report shows of it.

    Args:
        values: name -> number, one for each of `FIGURES`; NaN where it has no meaning.
        rows: what they were worked out from.
        profile: attention by offset.
        bottlenecks: pairs of tokens at the narrowest links, narrowest first.
        period: of a causal head and a text of 128 tokens or more.
        stationary: which blocks of the text matter; None where the walk has more than one law.
    """

    values: dict[str, float]
    rows: AttentionRows
    profile: AttentionProfile
    bottlenecks: tuple[tuple[int, int], ...]
    period: HeadPeriodicity | None
    stationary: Float[Tensor, " n"] | None


def head_figures(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    *,
    is_causal: bool = True,
    scale: float | None = None,
    rows: int = 64,
    generator: torch.Generator | None = None,
) -> HeadFigures:
    """Every figure of `FIGURES` for one head.

    Rows are drawn once and shared. The graph of strongest links is that of attention between at
    most 128 tokens, one drawn from each of as many stretches: of what a head links nearer than a
    stretch of a long text it tells nothing.

    Args:
        query, key, value: of one head, T >= 2, rotated if the model rotates them.
        scale: of the logits; None is D ** -0.5.
        rows: how many are looked at; all if the text has no more.
        generator: of all draws; by default new ones with seed 0.

    Raises:
        ArgumentError: fewer than two tokens, and what the figures' own functions refuse.
    """
    if query.dim() != 2 or len(query) < 2:
        raise ArgumentError(
            "query", f"shape {list(query.shape)}", "[T, D] with T >= 2", "pass a longer text"
        )
    query, key, value = query.detach(), key.detach(), value.detach()
    sampled = attention_rows(
        query, key, rows=rows, is_causal=is_causal, scale=scale, generator=generator
    )
    chain = head_chain(sampled, blocks=BLOCKS)
    chosen = one_of_each_stretch(len(query), GRAPH_TOKENS, generator).to(query.device)
    structure = head_structure(
        query[chosen].double(), key[chosen].double(), is_causal=is_causal, scale=scale
    )
    period = None
    if is_causal and len(query) >= _PERIOD_TOKENS:
        period = head_periodicity(query, key, scale=scale, generator=generator)
    values = {
        **_spread_and_reach(sampled),
        **_of_walk(chain),
        **_of_flow_and_bits(query, key, value, sampled, scale),
        **_of_period(period),
        **_of_graph(structure),
        **_of_fits(query, key, value, is_causal, scale, generator),
        **_of_response(query, key, value, is_causal, scale),
    }
    narrow = [(int(chosen[i]), int(chosen[j])) for i, j in structure.curvature.bottlenecks]
    profile = attention_profile(sampled)
    return HeadFigures(values, sampled, profile, tuple(narrow), period, chain.stationary)


def _spread_and_reach(rows: AttentionRows) -> dict[str, float]:
    spread, reach = head_entropy(rows), head_reach(rows)
    return {
        "shannon_entropy": spread.shannon,
        "shannon_share": spread.shannon_share,
        "von_neumann_entropy": spread.von_neumann,
        "von_neumann_share": spread.von_neumann_share,
        "effective_rank": spread.effective_rank,
        "rank_share": spread.effective_rank / len(rows.queries),
        "sink_mass": reach.sink,
        "own_mass": reach.own,
        "previous_mass": reach.previous,
        **{f"window_{window}_mass": mass for window, mass in reach.windows.items()},
        "mean_distance": reach.mean_distance,
        "median_distance": reach.median_distance,
    }


def _of_walk(chain: HeadChain) -> dict[str, float]:
    return {
        "mixing_time": chain.mixing_time(),
        "law_entropy": chain.law_entropy,
        "entropy_rate": chain.entropy_rate,
        "law_residual": chain.residual,
    }


def _of_flow_and_bits(
    query: Tensor, key: Tensor, value: Tensor, rows: AttentionRows, scale: float | None
) -> dict[str, float]:
    quality = head_quality(query, key, value, rows, scale=scale)
    bits = key_bits(query, key, value, rows, scale=scale)
    sufficed = bits.bits > 0
    return {
        "ifq": float(quality.ifq),
        "pattern_stability": float(quality.pattern_stability.bounded),
        "cross_tile_flow": float(quality.cross_tile_flow.bounded),
        "edge_utilization": float(quality.edge_utilization.bounded),
        "information_density": float(quality.information_density.bounded),
        "key_bits": bits.bits if sufficed else math.nan,
        "key_error": bits.error if sufficed else math.nan,
        "key_integer_bits": bits.integer_bits if sufficed else math.nan,
        "key_fraction_bits": bits.fraction_bits if sufficed else math.nan,
    }


def _of_period(found: HeadPeriodicity | None) -> dict[str, float]:
    if found is None or not found.period:
        return dict.fromkeys(
            ("period", "period_chance", "period_explained", "stride_gain"), math.nan
        )
    return {
        "period": found.period,
        "period_chance": found.chance,
        "period_explained": found.explained,
        "stride_gain": found.mass.strided - found.mass.window,
    }


def _of_graph(found: HeadStructure) -> dict[str, float]:
    linked, cyclic = len(found.graph.edges) > 0, found.zeta.growth > 0
    return {
        "curvature_mean": found.curvature.mean if linked else math.nan,
        "curvature_least": found.curvature.least if linked else math.nan,
        "negative_curvature_share": found.curvature.negative_share if linked else math.nan,
        "components": found.persistence.components,
        "loops": found.persistence.loops,
        "endless_loops": found.persistence.endless_loops,
        "joining_persistence": float(found.persistence.total_persistence[0]),
        "loop_entropy": float(found.persistence.entropy[1]),
        "cycle_entropy": found.zeta.cycle_entropy if cyclic else math.nan,
        "spectral_gap": found.zeta.spectral_gap if cyclic else math.nan,
        "ramanujan_margin": found.zeta.ramanujan_margin if cyclic else math.nan,
    }


def _of_fits(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_causal: bool,
    scale: float | None,
    generator: torch.Generator | None,
) -> dict[str, float]:
    needed = head_compressibility(
        query, key, value, is_causal=is_causal, scale=scale, generator=generator
    )
    fits = mixer_fits(
        query,
        key,
        value,
        is_causal=is_causal,
        scale=scale,
        rows=_FIT_ROWS,
        generator=generator,
    )
    return {
        "keys_dropped": needed.dropped,
        "keys_opened": needed.opened,
        "keys_summarised": needed.summarised,
        **{f"{name}_error": fits[name].error for name in ("window", "mean", *MIXERS)},
        **{f"{name}_explained": fits[name].explained for name in MIXERS},
    }


def _of_response(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float | None
) -> dict[str, float]:
    found = pattern_response(query, key, value, is_causal=is_causal, scale=scale)
    return {
        "response_gain": float(found.gain.max()) if len(found.gain) else math.nan,
        "response_growth": found.growth,
        "response_wavelength": found.wavelength,
    }
