"""How wrong the summary of a set of tokens is for a query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .control import Control
from .layout import TileLayout
from .tiles import Summary

TAIL = 7.0
"""How heavy a tail the estimate allows: the largest of the x_j is taken as sqrt(TAIL x), which for
a tile of 8 is Samuelson's bound. On coarser sets the same number ranks best (docs/log.md)."""

# Exponents are cut here: their squares still add up in float32, and such a set is opened anyway.
_LARGEST_EXPONENT = 40.0


@dataclass(frozen=True)
class Risk:
    """How far the logits inside each of M sets may lie from that of the set's mean, for n heads.

    Estimated: variance [n, M, D] of the keys. Certified: radius and spread [n, M] of the keys.
    Neither: the sets are not read at all.
    """

    variance: Tensor | None = None
    radius: Tensor | None = None
    spread: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Risk:
        """The risk with `function` applied to every tensor."""
        return Risk(**{k: None if x is None else function(x) for k, x in vars(self).items()})


def risk_of(summary: Summary, control: Control, layout: TileLayout) -> Risk:
    """The risk of every set of `summary`."""
    if control.certified:
        return Risk(radius=summary.radius, spread=summary.spread)
    return Risk() if layout.rest == "drop" else Risk(variance=summary.variance)


def error_cost(
    log_mass: Float[Tensor, "h t M"], query: Float[Tensor, "h t D"], risk: Risk
) -> Float[Tensor, "h t M"]:
    """The part that each set adds to a query's error, in the unit of `Control.limit`.

    log_mass is the log of the set's share p of the normaliser when it is read through its mean.
    With x = sum_d q_d^2 variance_d, the variance of the query's logits inside the set, estimated:

        p^2 (x + g^2),    g = (exp(a) - 1 - a) / TAIL,    a = sqrt(TAIL x).

    Certified: 2 p mean_j |exp(x_j) - 1| is at most

        2 p [ (s^2 / a^2)(exp(a) - 1 - a) + s ],    a = |q| radius, s = |q| spread,

    by Bennett's inequality (derivation in README.md of this folder). Not read: p^2.
    """
    if risk.variance is not None:
        n = len(risk.variance)
        squares = query.square().reshape(n, -1, query.shape[-1])
        x = torch.bmm(squares, risk.variance.mT).view(log_mass.shape)
        a = (TAIL * x).sqrt_()
        mass = log_mass.exp()
        tail = (log_mass + a).clamp_(max=_LARGEST_EXPONENT).exp_()
        tail.sub_(mass).addcmul_(mass, a, value=-1.0).div_(TAIL)
        cost: Tensor = mass.square_().mul_(x).addcmul_(tail, tail)
        return cost
    if risk.radius is None or risk.spread is None:
        return (2 * log_mass).exp_()
    norm = torch.linalg.vector_norm(query, dim=-1).unflatten(0, (len(risk.radius), -1))
    a = (norm[..., None] * risk.radius[:, None, None]).view(log_mass.shape)
    s = (norm[..., None] * risk.spread[:, None, None]).view(log_mass.shape)
    bound: Tensor = 2 * (log_mass.exp() * s + s.square() * (log_mass + _log_bennett(a)).exp())
    return bound


def _log_bennett(a: Tensor) -> Tensor:
    """log of (exp(a) - 1 - a) / a^2, increasing in a >= 0, log(1/2) at 0."""
    small = 0.5 + a * (1 / 6 + a * (1 / 24 + a * (1 / 120 + a / 720)))
    big = a.clamp_min(0.1)
    large = big + torch.log1p(-(1 + big) * (-big).exp()) - 2 * big.log()
    return torch.where(a < 0.1, small.log(), large)
