"""The period of a noisy profile, and whether chance would give one as clear."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ...errors import ArgumentError

# Shuffled profiles are folded together up to this many samples: 4 MiB.
_SAMPLES_AT_ONCE = 2**19


class Periodicity(NamedTuple):
    """What `profile_period` found of each profile [*b]."""

    period: Tensor
    """Whole period of the strongest folding [*b]."""
    strength: Tensor
    """Its score: standard deviations above what chance gives at one period [*b]."""
    explained: Tensor
    """Share of the profile's variance that repeats with this period, in [0, 1] [*b]."""
    chance: Tensor
    """Share of shuffled profiles whose best score is as high, the profile among them [*b]."""


def profile_period(
    profile: Float[Tensor, "*b n"],
    shortest: int = 4,
    longest: int = 32,
    shuffles: int = 199,
    generator: torch.Generator | None = None,
    trend: int = 1,
) -> Periodicity:
    """Fold a profile at each whole period and score the variance of the mean period.

    X_p = n sum_f c_f m_f^2 / sum x^2, m_f the mean of the c_f samples of phase f: the sum of the
    structure factor over all Bragg peaks of period p. Under chance X_p is near chi-square with
    p - 1 degrees of freedom, so scores at unlike p compare by the normal deviate of that tail
    (its saddle point); a multiple of the period explains little more with more degrees of freedom
    and scores lower.
    `chance` shuffles each profile, searches all periods anew and so counts the search: at or
    below 0.01 the period is significant at 1 %.

    Args:
        profile: samples at whole places; noise may be large, a period must fit at least twice.
        shortest: least period searched, >= 2.
        longest: largest period searched, at most n / 2.
        shuffles: orders drawn for `chance`, which is no less than 1 / (shuffles + 1).
        generator: of the shuffles.
        trend: degree of the polynomial in place that is taken off first; -1 for none.

    Raises:
        ArgumentError: too few samples for the longest period, or a profile that does not vary.

    Leahy et al., Astrophys. J. 266 (1983) 160, section II (epoch folding); Barndorff-Nielsen,
    Biometrika 73 (1986) 307 (the deviate r*).
    """
    _check_profile(profile, shortest, longest, shuffles)
    samples = profile.shape[-1]
    flat = _without_trend(profile.detach().reshape(-1, samples).double(), trend)
    spread = flat.square().sum(-1)
    if not bool((spread > 1e-20 * profile.detach().double().square().sum(-1).reshape(-1)).all()):
        raise ArgumentError(
            "profile", "one that does not vary", "a pattern", "leave constant profiles out"
        )
    periods = range(shortest, longest + 1)
    explained = _explained(flat, periods)
    scores = _scores(explained, samples, periods)
    best, index = scores.max(-1)
    as_high = torch.ones_like(best)
    at_once = max(1, _SAMPLES_AT_ONCE // flat.numel())
    for first in range(0, shuffles, at_once):
        draw = torch.rand(min(at_once, shuffles - first), *flat.shape, generator=generator)
        shuffled = flat.expand(draw.shape).gather(-1, draw.to(flat).argsort(-1)).flatten(0, 1)
        chance = _scores(_explained(shuffled, periods), samples, periods).amax(-1)
        as_high = as_high + (chance.unflatten(0, draw.shape[:2]) >= best).sum(0)
    shape = profile.shape[:-1]
    return Periodicity(
        (index + shortest).reshape(shape),
        best.to(profile.dtype).reshape(shape),
        explained.gather(-1, index[:, None]).to(profile.dtype).reshape(shape),
        (as_high / (shuffles + 1)).to(profile.dtype).reshape(shape),
    )


def _without_trend(flat: Float[Tensor, "b n"], degree: int) -> Float[Tensor, "b n"]:
    if degree < 0:
        return flat - flat.mean(-1, keepdim=True)
    place = torch.linspace(-1, 1, flat.shape[-1], dtype=flat.dtype, device=flat.device)
    powers = torch.stack([place**power for power in range(degree + 1)], 1)
    smooth = torch.linalg.qr(powers).Q
    rest: Tensor = flat - flat @ smooth @ smooth.mT
    return rest


def _explained(flat: Float[Tensor, "b n"], periods: range) -> Float[Tensor, "b p"]:
    """Share of the variance in the mean period, for each period."""
    samples = flat.shape[-1]
    shares = []
    for period in periods:
        sums = pad(flat, (0, -samples % period)).unflatten(-1, (-1, period)).sum(-2)
        counts = samples // period + (torch.arange(period).to(flat) < samples % period)
        shares.append((sums.square() / counts).sum(-1))
    return torch.stack(shares, 1) / flat.square().sum(-1, keepdim=True)


def _scores(explained: Float[Tensor, "b p"], samples: int, periods: range) -> Tensor:
    """The normal deviate whose tail is that of X_p, to third order and far out."""
    freedom = explained.new_tensor([period - 1.0 for period in periods])
    ratio = (samples * explained / freedom).clamp(min=1e-12)
    excess = ratio - 1
    root = excess.sign() * (freedom * (excess - ratio.log()).clamp(min=0)).sqrt()
    saddle = excess * (freedom / 2).sqrt()
    middle = excess.abs() < 1e-4
    # At X_p = its mean the correction is 0 / 0 with this limit.
    limit = (2 / freedom).sqrt() / 3
    correction = torch.where(middle, 1.0, saddle / root).log() / torch.where(middle, 1.0, root)
    return root + torch.where(middle, limit, correction)


def _check_profile(profile: Tensor, shortest: int, longest: int, shuffles: int) -> None:
    if not 2 <= shortest <= longest:
        raise ArgumentError(
            "shortest", shortest, f"2 to longest = {longest}", "pass the periods to search"
        )
    if profile.dim() < 1 or profile.shape[-1] < 2 * longest:
        raise ArgumentError(
            "profile",
            f"shape {list(profile.shape)}",
            f"[..., n] with n >= 2 longest = {2 * longest}",
            "pass more samples or search shorter periods",
        )
    if not profile.is_floating_point() or not bool(profile.detach().isfinite().all()):
        raise ArgumentError(
            "profile", "NaN, infinity or whole numbers", "finite real numbers", "pass floats"
        )
    if shuffles < 1:
        raise ArgumentError("shuffles", shuffles, "a whole number >= 1", "pass 199")
