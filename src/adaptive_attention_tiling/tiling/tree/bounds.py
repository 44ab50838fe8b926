"""How far reading a set of tokens through its moments can be from reading its tokens.

For a query q and a set of n tokens with mean key m, the logits x_j = q.(k_j - m) have mean 0,
variance s^2 and |x_j| <= a. Their growth log G, G = mean_j e^{x_j}, is what the mean key misses:

* log G >= 0 (Jensen), attained by equal keys;
* a <= sqrt(n - 1) s (Samuelson), attained by a single outlier;
* with t = s^2 / a^2 and psi(x) = (e^x - 1 - x) / x^2

      G - 1 <= (a^2 e^{-ta} + s^2 e^a) / (a^2 + s^2) - 1 = s^2 (psi(a) + t psi(-ta)) / (1 + t)

  (Bennett), attained by a single outlier above the rest, and by two equal halves. The better
  known s^2 psi(a) = (s^2 / a^2)(e^a - 1 - a) is larger, since psi increases;
* log G <= range^2 / 8 (Hoeffding), range <= min(2 a, s sqrt(2 n)), nearly attained by two equal
  halves that are close; there it is the tighter of both.

Bounds grow with the radius and with the variance: bounds of those will do.
Sources: Bennett 1962 and Hoeffding 1963 (both J. Amer. Statist. Assoc.), Samuelson 1968 (ibid.);
range: Nair 1948 (Biometrika 35).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .moments import AbstractMoments, safe_sqrt

Order = Literal[1, 2]

# psi is summed as a series below: 13 terms leave less than 1e-15.
_SMALL = 0.5
_TERMS = 13


@dataclass(frozen=True)
class LogitSpread:
    """How the logits of sets [*b] lie around those of their mean keys, for one query each.

    count n; held <= s^2 <= variance; largest >= max_j |x_j|. The held variance is that of what the
    moments' axes see; it is all of it where the covariance is full.
    """

    count: Tensor
    held: Tensor
    variance: Tensor
    largest: Tensor


def logit_spread(moments: AbstractMoments, query: Float[Tensor, "*c D"]) -> LogitSpread:
    """The spread for queries that broadcast against the sets."""
    held, variance = moments.variance(query)
    others = (moments.count - 1).clamp_min(0)
    reach = torch.linalg.vector_norm(query, dim=-1) * moments.radius
    largest = torch.minimum(reach, safe_sqrt(others * variance))
    variance = torch.minimum(variance, largest.square())
    return LogitSpread(
        moments.count.expand_as(variance), torch.minimum(held, variance), variance, largest
    )


def growth_bound(spread: LogitSpread) -> Tensor:
    """An upper bound of log mean_j e^{x_j}: Bennett's or Hoeffding's, the tighter."""
    return torch.minimum(
        bennett(spread.variance, spread.largest),
        hoeffding(spread.variance, spread.largest, spread.count),
    )


def bennett(variance: Tensor, largest: Tensor) -> Tensor:
    """log G of the worst logits with this variance and none above `largest`; see the module."""
    tiny = torch.finfo(variance.dtype).tiny
    t = (variance / largest.square().clamp_min(tiny)).clamp(tiny, 1)
    psi = torch.logaddexp(log_psi(largest), t.log() + _psi_below(t * largest).log())
    log_excess = variance.clamp_min(tiny).log() + psi - t.log1p()
    bound = torch.logaddexp(log_excess, torch.zeros_like(log_excess))
    return torch.where(variance > tiny, bound, 0.0)


def hoeffding(variance: Tensor, largest: Tensor, count: Tensor) -> Tensor:
    """range^2 / 8 with range <= min(2 largest, sqrt(2 n variance))."""
    return torch.minimum(4 * largest.square(), 2 * count * variance) / 8


@dataclass(frozen=True)
class Estimate:
    """The guarded second order: weight n e^{q.m + growth}, value u + tilt C q.

    growth = min(held / 2, upper bound), which lies between the bounds of log G;
    tilt = min(1, 1/s, growth / (held / 2)), so that a set whose logits spread widely does not
    push its value out of reach: |u + tilt C q| <= sqrt(2) max_j |v_j|.
    """

    growth: Tensor
    tilt: Tensor


def guarded(spread: LogitSpread) -> Estimate:
    """What a Gaussian of the held variance gives, cut where no set of tokens can follow."""
    half = spread.held / 2
    growth = torch.minimum(half, growth_bound(spread))
    tiny = torch.finfo(half.dtype).tiny
    share = torch.where(half > tiny, growth / half.clamp_min(tiny), 1.0)
    return Estimate(growth, share / safe_sqrt(spread.held).clamp_min(1))


def log_misread(spread: LogitSpread, order: Order) -> Tensor:
    """log of a bound of eps = mean_j |e^{x_j} - w_j|, w_j the weight in the reading; no gradient.

    The output is off by at most sum_sets p eps max_j |v_j - output| with p = n e^{q.m} / Z, as the
    reading is sum_j w_j v_j in all sets. First order, w_j = 1, with the negative half of x_j:

        eps <= (G - 1) + min(s, 2).

    Second order, w_j = e^g (1 + c x'_j) with x' the held part of x and s'^2 its variance: e^x is
    nowhere below 1 + x, so mean_j |e^{x_j} - 1 - x_j| = G - 1, and the rest in mean square is

        eps <= (G - 1) + sqrt((e^g - 1)^2 + (1 - c e^g)^2 s'^2 + s^2 - s'^2).
    """
    spread = LogitSpread(*(x.detach() for x in vars(spread).values()))
    excess = log_expm1(growth_bound(spread))
    if order == 1:
        return torch.logaddexp(excess, safe_sqrt(spread.variance).clamp_max(2).log())
    estimate = guarded(spread)
    slope = estimate.growth + estimate.tilt.log()
    parts = [
        2 * log_expm1(estimate.growth),
        2 * _log_abs_expm1(slope) + spread.held.log(),
        (spread.variance - spread.held).clamp_min(0).log(),
    ]
    return torch.logaddexp(excess, torch.stack(parts).logsumexp(0) / 2)


def log_psi(a: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """log of (e^a - 1 - a) / a^2 for a >= 0, log(1/2) at 0."""
    big = a.clamp_min(_SMALL)
    large = big + torch.log1p(-(1 + big) * (-big).exp()) - 2 * big.log()
    return torch.where(a < _SMALL, _series(a.clamp_max(_SMALL)).log(), large)


def _psi_below(y: Tensor) -> Tensor:
    """psi(-y) = (e^-y - 1 + y) / y^2 for y >= 0."""
    big = y.clamp_min(_SMALL)
    large = (torch.expm1(-big) + big) / big.square()
    return torch.where(y < _SMALL, _series(-y.clamp_max(_SMALL)), large)


def _series(x: Tensor) -> Tensor:
    """sum_k x^k / (k + 2)!."""
    total = torch.zeros_like(x)
    for k in reversed(range(_TERMS)):
        total = total * x + 1 / math.factorial(k + 2)
    return total


def log_expm1(x: Tensor) -> Tensor:
    """log(e^x - 1) of x >= 0."""
    return x + (-torch.expm1(-x)).log()


def _log_abs_expm1(x: Tensor) -> Tensor:
    """log |e^x - 1|."""
    return x.clamp_min(0) + (-torch.expm1(-x.abs())).log()
