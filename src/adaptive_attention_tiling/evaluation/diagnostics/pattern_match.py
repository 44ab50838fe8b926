"""Heads that match a pattern, beyond what their decay with distance brings with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .attention_rows import AttentionRows
from .custom_pattern import Pattern
from .placement_null import local_spread, non_increasing, tail_chance

# Fewer offsets, or fewer other places of the pattern, say nothing about chance.
_LEAST_OFFSETS, _LEAST_PLACES = 32, 20
# Places at which the pattern is so much itself again are no places of chance.
_MOST_OVERLAP = 0.5
# Rounds in which rows and offsets are brought to what the other leaves.
_ROUNDS = 3
# So many neighbouring offsets may stand out from the decay around them.
_WIDEST_BAND = 4
# A key that few rows see keeps more of what they give it.
_LEAST_ROWS = 4


class PatternMatch(NamedTuple):
    """How well a head matches a pattern.

    All is nan where the text has fewer than 64 tokens; z and p_value are where the pattern is so
    wide that fewer than 20 other places for it are among the offsets.
    """

    score: float
    """Correlation in [-1, 1] of the pattern and the head's profile, its decay taken off."""
    z: float
    """The same in standard deviations of the pattern's other places."""
    p_value: float
    """Chance of so high a score at a place taken at random."""
    phase: int
    """Of a `MatrixPattern`: query i has row (i + phase) mod m. 0 for offsets."""


class MatchingHead(NamedTuple):
    """A head, and the chance of its match among all heads that were asked."""

    layer: int
    head: int
    match: PatternMatch
    adjusted: float
    """Least false discovery rate at which it is still found, of Benjamini and Hochberg."""


def match_pattern(
    rows: AttentionRows, pattern: Pattern, *, span: int = 512, skip: int = 4
) -> PatternMatch:
    """Correlate a pattern with a head's profile, and with the same profile moved elsewhere.

    Levels are x_ij = log(1 + n_i a_ij), with n_i the keys that row i sees, so 0 where it sees a
    key not at all. Each row is brought to mean 0 and deviation 1, and what all rows give a key is
    taken off. The profile over the phase of the query and the offset,

        y(r, o) = mean of x_{i, i - o} over rows i of phase r, less D(|o|), over s(|o|),

    is free of the head's own decay D, the best fit that never rises with distance, and is measured
    in the roughness s of offsets nearby, or in the error of the mean if that is larger. So no head
    matches for being local: a pattern that only falls with distance, as the nearest keys or the
    token itself, is matched by none. The null moves what the pattern leaves of y to every other
    offset, which keeps the ripples of rotary angles and the outliers that a head has; the chance
    of scores beyond those is that of a Pareto tail.

    Args:
        rows: of `attention_rows`; a matrix of m rows needs 4 m or more of them.
        pattern: an `OffsetPattern` or a `MatrixPattern`.
        span: so many offsets, and at most half of the text, are looked at.
        skip: so many first tokens are left out. Most heads give them what they have no use for.

    Raises:
        ArgumentError: a pattern that is the same at all offsets looked at; too few rows.

    Theiler et al., Testing for nonlinearity in time series: surrogate data (1992); Knijnenburg et
    al., Fewer permutations, more accurate P-values (2009), here with the tail of Hill (1975).
    """
    reach = min(span, rows.tokens // 2)
    _check(span, skip)
    offsets = torch.arange(0 if rows.is_causal else 1 - reach, reach, device=rows.weights.device)
    weights = pattern.weights(offsets)
    if reach < _LEAST_OFFSETS:
        return PatternMatch(math.nan, math.nan, math.nan, 0)
    if not bool((weights != weights[0, 0]).any()):
        raise ArgumentError(
            "pattern", f"the same weight at offsets {int(offsets[0])} to {int(offsets[-1])}",
            "weights that differ", f"pass a larger span than {span}, or a longer text",
        )  # fmt: skip
    if len(rows.queries) < 4 * len(weights):
        raise ArgumentError(
            "pattern", f"{len(weights)} rows for {len(rows.queries)} of the head",
            f"at most {len(rows.queries) // 4}", "draw more rows of the head",
        )  # fmt: skip
    counts, sums, squares = _sums(rows, offsets, len(weights), skip)
    decay = _decay(sums.sum(0), counts.sum(0), weights, offsets.abs())
    root = counts.sqrt().clamp_min(1)
    noise = (squares - (sums / root).square()).sum(0) / (counts - 1).clamp_min(0).sum(0).clamp_min(
        1
    )
    return _placed(weights * counts.sqrt(), (sums - counts * decay) / root, noise, offsets.abs())


def matching_heads(matches: Sequence[Sequence[PatternMatch]]) -> list[MatchingHead]:
    """Heads of a model, the clearest match first, with chances adjusted for asking them all.

    Those with `adjusted` <= 0.05 are found with 5 % false ones expected among them. Heads without
    a chance are left out.

    Args:
        matches: of one pattern, one a head, layer by layer.

    Benjamini and Hochberg, Controlling the false discovery rate (1995).
    """
    found = [
        (layer, head, match)
        for layer, row in enumerate(matches)
        for head, match in enumerate(row)
        if not math.isnan(match.p_value)
    ]
    found.sort(key=lambda entry: (entry[2].p_value, -entry[2].score))
    adjusted, least = [], 1.0
    for rank in range(len(found), 0, -1):
        least = min(least, found[rank - 1][2].p_value * len(found) / rank)
        adjusted.append(least)
    return [MatchingHead(*entry, q) for entry, q in zip(found, reversed(adjusted), strict=True)]


def _sums(
    rows: AttentionRows, offsets: Int[Tensor, " n"], period: int, skip: int
) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m n"], Float[Tensor, "m n"]]:
    """Levels by phase of the query and offset: how many, their sums and those of squares."""
    keys = torch.arange(rows.tokens, device=offsets.device)
    there = (keys >= skip) & (keys < rows.seen[:, None])
    at = rows.queries[:, None] - offsets
    inside = (at >= 0) & (at < rows.tokens)
    at = at.clamp(0, rows.tokens - 1)
    inside &= there.gather(1, at)
    level = _leveled(_standing(rows, there).gather(1, at), inside)
    phase = rows.queries.remainder(period)
    zero = level.new_zeros(period, len(offsets))
    counts, sums, squares = (
        zero.index_add(0, phase, values) for values in (inside.to(level), level, level.square())
    )
    return counts, sums, squares


def _leveled(level: Float[Tensor, "r n"], inside: Tensor) -> Float[Tensor, "r n"]:
    """Levels whose rows are alike but for the offsets that they hold: far ones only late rows."""
    level, many = level * inside, inside.sum(1, keepdim=True).clamp_min(1)
    for _ in range(_ROUNDS):
        profile = level.sum(0) / inside.sum(0).clamp_min(1)
        level = (level - ((level - profile) * inside).sum(1, keepdim=True) / many) * inside
    return level


def _decay(
    sums: Float[Tensor, " n"],
    counts: Float[Tensor, " n"],
    weights: Float[Tensor, "m n"],
    distance: Int[Tensor, " n"],
) -> Float[Tensor, " n"]:
    """Of the levels at distances where the pattern is not, and a bound of it where it is."""
    lift = weights - weights.median()
    lift = lift.gather(0, lift.abs().argmax(0, keepdim=True))[0]
    side = torch.where(lift.abs() > lift.abs().max() / 2, lift.sign(), 0).long()
    # Across a wide stretch the decay before it, or after, says little.
    run = side.diff(prepend=side[:1]).ne(0).long().cumsum(0)
    side = torch.where(run.bincount()[run] > _WIDEST_BAND, 0, side)
    size = int(distance.max()) + 1

    def at(values: Tensor) -> Tensor:
        return values.new_zeros(size).index_add(0, distance, values)

    return non_increasing(at(sums), at(counts), at(side).sign())[distance]


def _standing(rows: AttentionRows, there: Tensor) -> Float[Tensor, "r T"]:
    """log(1 + n a) with mean 0 and deviation 1 in each row, less what all rows give a key."""
    level = (rows.weights * rows.seen[:, None]).log1p() * there
    seen = there.sum(1, keepdim=True).clamp_min(1)
    level = (level - level.sum(1, keepdim=True) / seen) * there
    deviation = (level.square().sum(1, keepdim=True) / seen).sqrt()
    level = torch.where(deviation > 1e-9, level / deviation.clamp_min(1e-9), 0.0)
    return (level - level.sum(0) / (there.sum(0) + _LEAST_ROWS)) * there


def _placed(
    pattern: Float[Tensor, "m n"],
    profile: Float[Tensor, "m n"],
    noise: Float[Tensor, " n"],
    distance: Int[Tensor, " n"],
) -> PatternMatch:
    """Of weighed cells, whose noise of rows has the variance `noise`."""
    slope = (pattern * profile).sum() / pattern.square().sum()
    rest = (profile - slope * pattern).square().mean(0)
    # A decay that is fitted closely leaves less than rows differ by.
    spread = torch.maximum(local_spread(rest, distance), local_spread(noise, distance))
    if not bool((spread > 0).all()):
        return PatternMatch(0.0, 0.0, 1.0, 0)
    a, b = pattern / spread, profile / spread
    a, b = a - a.mean(), b - b.mean()
    a = a / a.norm()
    here = torch.stack([(a.roll(-phase, 0) * b).sum() for phase in range(len(a))])
    phase = int(here.argmax())
    a, best = a.roll(-phase, 0), here[phase]
    # What is left has nothing of the pattern in place, nor where the pattern is itself again.
    null, overlap = _moved(a, b - best * a), _moved(a, a)
    places = (overlap[:, 1:].square() < _MOST_OVERLAP).all(0).nonzero()[:, 0] + 1
    score = float(best / b.norm().clamp_min(1e-300))
    lobe = 2 * int((overlap[0].square() > _MOST_OVERLAP).long().cumprod(0).sum()) - 1
    if min(len(places), a.shape[1] / lobe) < _LEAST_PLACES:
        return PatternMatch(score, math.nan, math.nan, phase)
    chance = null[:, places].amax(0)
    z = float((best - chance.mean()) / chance.std())
    return PatternMatch(score, z, tail_chance(best, chance), phase)


def _moved(a: Float[Tensor, "m n"], b: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Sums of a and b, b moved by all phases and offsets; both go around."""
    transform = torch.fft.fft2(a) * torch.fft.fft2(b).conj()
    found: Tensor = torch.fft.ifft2(transform).real
    return found


def _check(span: int, skip: int) -> None:
    for name, value, least in (("span", span, _LEAST_OFFSETS), ("skip", skip, 0)):
        if value < least:
            raise ArgumentError(name, value, f"an integer >= {least}", f"pass {name}={least}")
