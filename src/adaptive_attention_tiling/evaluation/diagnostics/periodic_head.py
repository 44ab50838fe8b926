"""Heads that attend at a fixed stride: their period, and what a strided mask would hold of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from ...errors import ArgumentError
from ...mathematics.crystal import profile_period
from .head_tensors import check_head

_LEAST_ROWS = 4
Kind = Literal["offset", "position"]


@dataclass(frozen=True)
class MaskMass:
    """What masks of equal cost hold of the attention of rows that were not looked at before.

    Args:
        cost: mean number of keys that the strided mask keeps in a row.
        strided: share of the attention beyond the skipped tokens that those keys have.
        window: share of as many nearest keys, row by row.
        slash: share of as many offsets, the ones with most attention in the rows looked at.
    """

    cost: float
    strided: float
    window: float
    slash: float


@dataclass(frozen=True)
class HeadPeriodicity:
    """At which stride a head attends.

    Args:
        kind: the clearer of two: what repeats is the "offset" o = i - j from query i to key j, or
            the "position" j.
        period: in tokens; 0 if neither profile varies.
        strength: of the fold; see `profile_period`.
        explained: share of the profile's variance that repeats.
        chance: bound of the share of heads without a period that have one as clear in either kind.
        phases: remainders r that stand out: o = m period + r, or j = m period + r.
        mass: held by the strided mask on other rows, and by its rivals.
    """

    kind: Kind
    period: int
    strength: float
    explained: float
    chance: float
    phases: tuple[int, ...]
    mass: MaskMass

    @property
    def lattice(self) -> Int[Tensor, "2 2"]:
        """Steps (query, offset), as rows, by which the expected pattern repeats."""
        if not self.period:
            raise ArgumentError("period", 0, "a period", "ask heads whose profile varies")
        return torch.tensor([[1, int(self.kind == "position")], [0, self.period]])

    def mask(self, queries: Int[Tensor, " r"], keys: Int[Tensor, " s"]) -> Bool[Tensor, "r s"]:
        """Where a query keeps a key: at the phases that stand out, and none after itself."""
        return _strided(self.kind, self.period, self.phases, queries, keys)


def head_periodicity(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    *,
    shortest: int = 4,
    longest: int = 32,
    rows: int = 64,
    span: int = 512,
    skip: int = 4,
    scale: float | None = None,
    shuffles: int = 199,
    generator: torch.Generator | None = None,
) -> HeadPeriodicity:
    """The period of a causal head's attention along offsets or along positions.

    From rows i drawn at random, with a = softmax(scale q k^T),

        profile(o) = mean_i max(log((i + 1) a_{i, i - o}), 0) less its running median,

    and likewise over positions j. Logarithms, as a stride may hold little of a row's mass; floored
    at equal shares, as rotary angles ripple the logits of keys that nobody attends to: without,
    most heads of a model have a "period" in prose. Rows are drawn at random, since at equal
    distances a single column that all of them attend to is periodic in the offset; what all rows
    give a key is taken off before offsets are averaged.

    A period does not say that a strided mask is of use: compare `mass.strided` with its rivals.

    Args:
        query, key: of one head, rotated if the model rotates them.
        shortest, longest: periods searched, in tokens.
        rows: at most so many are looked at and as many held out, all from the second half.
        span: at most so many offsets, and positions, make a profile.
        skip: so many first tokens are left out. Most heads give them what they have no use for;
            rows are normalised with them.
        scale: of the logits; None is D ** -0.5.
        shuffles: of `profile_period`; `chance` is no less than 2 / (shuffles + 1).
        generator: of rows and shuffles; by default a new one with seed 0.

    Raises:
        ArgumentError: fewer than 2 longest offsets, rows without any other to hold out.

    Child et al., Generating long sequences with sparse transformers (2019), section 4.3 (strided
    masks); Jiang et al., MInference 1.0 (2024), section 3 (slash lines).
    """
    check_head(query, key)
    span = min(span, 3 * (len(query) - skip) // 4)
    first = max(span + skip, len(query) // 2)
    _check(len(query) - first, span, longest, rows, skip)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    drawn = first + torch.randperm(len(query) - first, generator=generator)[: 2 * rows]
    seen, held = drawn.to(key.device).chunk(2)
    query = query.detach() * (query.shape[-1] ** -0.5 if scale is None else scale)
    attention = _attention(query, key.detach(), seen)
    profiles = _profiles(attention, seen, first, span, 2 * longest + 1)
    varied = profiles.std(1) > 1e-6
    if not bool(varied.any()):
        return HeadPeriodicity("offset", 0, 0.0, 0.0, 1.0, (), MaskMass(0.0, 0.0, 0.0, 0.0))
    found = profile_period(profiles[varied], shortest, longest, shuffles, generator)
    best = int(found.strength.argmax())
    period, row = int(found.period[best]), int(varied.nonzero()[best, 0])
    kind: Kind = ("offset", "position")[row]
    # Sample n of a profile is offset 1 + n, or position first - span + n.
    start = (1, first - span)[row]
    phases = tuple(sorted((start + n) % period for n in _outstanding(profiles[row], period)))
    strided = _strided(kind, period, phases, held, torch.arange(len(key), device=key.device))
    slashes = _offset_means(attention, seen, first)
    mass = _mask_mass(_attention(query, key.detach(), held), held, skip, strided, slashes)
    chance = min(1.0, 2 * float(found.chance[best]))
    strength, explained = float(found.strength[best]), float(found.explained[best])
    return HeadPeriodicity(kind, period, strength, explained, chance, phases, mass)


def _attention(query: Tensor, key: Tensor, rows: Int[Tensor, " r"]) -> Float[Tensor, "r T"]:
    logits = query[rows] @ key.mT
    hidden = torch.arange(len(key), device=key.device) > rows[:, None]
    return logits.masked_fill(hidden, -torch.inf).softmax(-1)


def _profiles(
    attention: Tensor, rows: Tensor, first: int, span: int, width: int
) -> Float[Tensor, "2 span"]:
    """Along offsets from 1, and along positions up to `first`."""
    floored = (attention.double() * (rows[:, None] + 1)).log().clamp_min(0)
    offsets = rows[:, None] - torch.arange(1, span + 1, device=rows.device)
    # Whatever draws all rows to a key is no matter of offsets. A key that few rows see keeps more.
    there = torch.arange(attention.shape[1], device=rows.device) <= rows[:, None]
    away = (floored - floored[there].mean()) * there
    along = (away - away.sum(0) / (there.sum(0) + _LEAST_ROWS)).gather(1, offsets).mean(0)
    raw = torch.stack([along, floored.mean(0)[first - span : first]])
    return raw - running_median(raw, width)


def running_median(profile: Float[Tensor, "*b n"], width: int) -> Float[Tensor, "*b n"]:
    """Median of the `width` samples around each, mirrored at the ends; width is odd."""
    flat = profile.reshape(1, -1, profile.shape[-1])
    around = pad(flat, (width // 2, width // 2), mode="reflect").unfold(-1, width, 1)
    return around.median(-1).values.reshape(profile.shape)


def _outstanding(profile: Float[Tensor, " n"], period: int) -> list[int]:
    """Phases of which the mean is above what the largest of `period` normal means comes to."""
    fill = -len(profile) % period
    counts = pad(torch.ones_like(profile), (0, fill)).unflatten(0, (-1, period)).sum(0)
    means = pad(profile, (0, fill)).unflatten(0, (-1, period)).sum(0) / counts
    rest = profile - means.repeat(len(profile) // period + 1)[: len(profile)]
    noise = rest.square().mean().sqrt() / counts.sqrt()
    above = means - means.mean() > noise * math.sqrt(2 * math.log(period))
    above[means.argmax()] = True
    phases: list[int] = above.nonzero()[:, 0].tolist()
    return phases


def _strided(
    kind: Kind, period: int, phases: tuple[int, ...], queries: Tensor, keys: Tensor
) -> Bool[Tensor, "r s"]:
    offset = queries[:, None] - keys
    place = keys.expand_as(offset) if kind == "position" else offset
    kept = torch.tensor(phases, dtype=place.dtype, device=place.device)
    return torch.isin(place.remainder(max(period, 1)), kept) & (offset >= 0)


def _offset_means(attention: Tensor, rows: Tensor, count: int) -> Float[Tensor, " count"]:
    offsets = rows[:, None] - torch.arange(count, device=rows.device)
    return attention.gather(1, offsets).mean(0)


def _mask_mass(
    attention: Float[Tensor, "r T"], rows: Tensor, skip: int, strided: Tensor, slashes: Tensor
) -> MaskMass:
    offset = rows[:, None] - torch.arange(attention.shape[1], device=rows.device)
    there = (offset >= 0) & (offset <= rows[:, None] - skip)
    strided = strided & there
    cost = strided.sum(1, keepdim=True)
    best = slashes.topk(min(int(cost.double().mean().round()), len(slashes))).indices
    masks = (strided, there & (offset < cost), there & torch.isin(offset, best))
    attention = attention.double()
    whole = (attention * there).sum(1).clamp_min(torch.finfo(torch.float64).tiny)
    shares = [float(((attention * mask).sum(1) / whole).mean()) for mask in masks]
    return MaskMass(float(cost.double().mean()), *shares)


def _check(left: int, span: int, longest: int, rows: int, skip: int) -> None:
    if skip < 0:
        raise ArgumentError("skip", skip, "an integer >= 0", "pass skip=4")
    if rows < 1:
        raise ArgumentError("rows", rows, "an integer >= 1", "pass rows=64")
    if span < 2 * longest or left < 2:
        raise ArgumentError(
            "query",
            f"profiles of {span} offsets",
            f"at least 2 longest = {2 * longest}, in three quarters of a text",
            "pass a longer text, a larger span or a shorter longest",
        )
