"""Moments of sets of tokens to second order, merged upward exactly.

For the n tokens of a set with mean key m = mean_j k_j and mean value u = mean_j v_j

    Sigma = mean_j (k_j - m)(k_j - m)^T,    C = mean_j (v_j - u)(k_j - m)^T.

With shares s_c = n_c / n and d_c = m_c - m, e_c = u_c - u, the parallel-axis formulas

    m = sum_c s_c m_c,   Sigma = sum_c s_c (Sigma_c + d_c d_c^T),   C = sum_c s_c (C_c + e_c d_c^T)

give a union's moments from those of its disjoint parts: exactly those of its tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import ArgumentError


@dataclass(frozen=True)
class AbstractMoments(ABC):
    """What is known of sets of tokens. The leading axes [*b] number the sets.

    count [*b], 0 for a set of padding; key [*b, D] and value [*b, E] means;
    radius [*b] >= max_j |k_j - key|.
    """

    count: Tensor
    key: Tensor
    value: Tensor
    radius: Tensor

    @abstractmethod
    def variance(self, query: Float[Tensor, "*c D"]) -> tuple[Tensor, Tensor]:
        """Lower and upper bound of mean_j (q.(k_j - key))^2; the axes [*c] and [*b] broadcast."""

    @abstractmethod
    def tilt(self, query: Float[Tensor, "*c D"]) -> Float[Tensor, "*c E"]:
        """C q, or what is known of it: how the mean value changes as the logits spread."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The moments with `function` applied to every tensor."""
        return type(self)(**{name: function(x) for name, x in vars(self).items()})

    def picked(self, head: Int[Tensor, "*c"], node: Int[Tensor, "*c"]) -> Self:
        """The sets at these places of the first two axes."""
        return self.map(lambda x: x[head, node])

    def joined(self, other: Self) -> Self:
        """Both, concatenated along the second axis."""
        parts = {n: torch.cat([x, getattr(other, n)], 1) for n, x in vars(self).items()}
        return type(self)(**parts)


@dataclass(frozen=True)
class NodeMoments(AbstractMoments):
    """Exact moments to second order.

    covariance Sigma [*b, D, D] of the keys; cross C [*b, E, D] of values and keys.
    """

    covariance: Tensor
    cross: Tensor

    def variance(self, query: Float[Tensor, "*c D"]) -> tuple[Tensor, Tensor]:
        """q^T Sigma q, twice."""
        exact = ((self.covariance @ query[..., None])[..., 0] * query).sum(-1).clamp_min(0)
        return exact, exact

    def tilt(self, query: Float[Tensor, "*c D"]) -> Float[Tensor, "*c E"]:
        """C q."""
        return (self.cross @ query[..., None])[..., 0]

    def low_rank(self, rank: int) -> LowRankMoments:
        """The best approximation of Sigma of this rank, and C along its axes.

        Gradients take the axes as given.
        """
        width = self.key.shape[-1]
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 0:
            raise ArgumentError("rank", rank, "an integer >= 0", "2 to 8 are common")
        values, vectors = torch.linalg.eigh(self.covariance.detach())
        first = max(width - rank, 0)
        axes = vectors[..., first:].mT.flip(-2)
        along = axes @ self.covariance @ axes.mT
        rest = values[..., first - 1] if first else torch.zeros_like(self.count)
        return LowRankMoments(
            self.count,
            self.key,
            self.value,
            self.radius,
            axes,
            along.diagonal(dim1=-2, dim2=-1).clamp_min(0),
            self.cross @ axes.mT,
            rest.clamp_min(0),
        )


@dataclass(frozen=True)
class LowRankMoments(AbstractMoments):
    """Moments of which second order is kept along the axes of largest variance only.

    axes [*b, r, D], orthonormal; variances [*b, r] along them, largest first; cross [*b, E, r];
    rest [*b], the largest variance in any direction that is orthogonal to the axes.
    """

    axes: Tensor
    variances: Tensor
    cross: Tensor
    rest: Tensor

    def variance(self, query: Float[Tensor, "*c D"]) -> tuple[Tensor, Tensor]:
        """What the axes hold, and that with at most rest (|q|^2 - |axes q|^2) beside them."""
        squares = (self.axes @ query[..., None])[..., 0].square()
        held = (self.variances * squares).sum(-1)
        beside = (query.square().sum(-1) - squares.sum(-1)).clamp_min(0)
        return held, held + self.rest * beside

    def tilt(self, query: Float[Tensor, "*c D"]) -> Float[Tensor, "*c E"]:
        """C P q with P the projection on the axes."""
        return (self.cross @ (self.axes @ query[..., None]))[..., 0]


def moments_of_tokens(
    keys: Float[Tensor, "*b L D"], values: Float[Tensor, "*b L E"], valid: Bool[Tensor, "*b L"]
) -> NodeMoments:
    """Moments of the valid tokens of each set; all zero where there are none."""
    weight = valid.to(keys.dtype)
    count = weight.sum(-1)
    share = (weight / count.clamp_min(1)[..., None])[..., None]
    # A padded token's key may be anything, even infinite.
    keys, values = (x.masked_fill(~valid[..., None], 0) for x in (keys, values))
    key, value = (keys * share).sum(-2), (values * share).sum(-2)
    away = (keys - key[..., None, :]) * weight[..., None]
    beside = values - value[..., None, :]
    return NodeMoments(
        count,
        key,
        value,
        torch.linalg.vector_norm(away, dim=-1).amax(-1),
        (away * share).mT @ away,
        (beside * share).mT @ away,
    )


def merged(children: NodeMoments) -> NodeMoments:
    """Moments of the unions of sets [*b, g, ...] over their last axis of sets.

    The radius is the least of two bounds: max_c (radius_c + |m_c - m|), and sqrt((n - 1) tr Sigma)
    of Samuelson's inequality.
    """
    count = children.count.sum(-1)
    share = children.count / count.clamp_min(1)[..., None]
    key, value = ((share[..., None] * x).sum(-2) for x in (children.key, children.value))
    there = (children.count > 0)[..., None]
    apart = (children.key - key[..., None, :]) * there
    beside = (children.value - value[..., None, :]) * share[..., None]
    within = share[..., None, None]
    covariance = (within * children.covariance).sum(-3) + (apart * share[..., None]).mT @ apart
    reach = (children.radius + torch.linalg.vector_norm(apart, dim=-1)).amax(-1)
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    furthest = safe_sqrt((count - 1).clamp_min(0) * trace)
    return NodeMoments(
        count,
        key,
        value,
        torch.minimum(reach, furthest),
        covariance,
        (within * children.cross).sum(-3) + beside.mT @ apart,
    )


def safe_sqrt(x: Tensor) -> Tensor:
    """sqrt(x) of x >= 0, with slope 0 where x vanishes."""
    tiny = torch.finfo(x.dtype).tiny
    return torch.where(x > tiny, x.clamp_min(tiny).sqrt(), 0.0)
