"""The Fisher metric of keys: a step from key to key is as long as queries can tell.

A key k is to n queries the distribution p(i | k) = softmax_i(a q_i . k), a softmax family with
the queries as its features. Its Fisher metric at k = 0, and to second order in the logits at
any k, is the covariance of the queries,

    ds^2 = dk^T M dk,   M = a^2 Cov(q)   (centred)   or   a^2 E[q q^T]   (not centred)

with a the scale of the logits. The covariance forgets a change of logits that all queries share,
as a softmax over *queries* does; attention is a softmax over *keys*, which such a change moves, and
the second moment counts it. Where all queries seek the same few keys, only the second moment
sets those apart (experiments/fisher_boundaries.py). With isotropic queries M is a multiple of
the identity and nothing is gained over Euclidean steps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError
from ..mathematics.information import low_rank_factor
from .metric import DenseMetric, LowRankMetric

_CHUNK = 64


class QueryMoments(NamedTuple):
    """Sums over the queries so far; their size does not grow.

    seen: queries so far.
    total: sum of a q_i [*b, D].
    second: sum of a^2 q_i q_i^T [*b, D, D].
    """

    seen: int
    total: Tensor
    second: Tensor

    def matrix(self, *, centred: bool = False) -> Float[Tensor, "*b D D"]:
        """M: the mean of a^2 q q^T, less that of the means if centred."""
        moment = self.second / max(1, self.seen)
        if not centred:
            return moment
        mean = self.total / max(1, self.seen)
        return moment - mean[..., :, None] * mean[..., None, :]


def query_moments(
    query: Float[Tensor, "*b T D"], *, scale: float | None = None, past: QueryMoments | None = None
) -> QueryMoments:
    """The sums over T more queries.

    Heads that share their keys belong along T: query.unflatten(1, (G, -1)).flatten(2, 3).

    Args:
        scale: a; None is D ** -0.5.
        past: of the queries before; None for none.
    """
    scaled = _scaled(query, scale)
    total, second = scaled.sum(-2), scaled.mT @ scaled
    if past is None:
        return QueryMoments(query.shape[-2], total, second)
    _check_past(past, query)
    return QueryMoments(past.seen + query.shape[-2], past.total + total, past.second + second)


def query_metric(
    query: Float[Tensor, "*b T D"],
    *,
    scale: float | None = None,
    centred: bool = False,
    rank: int | None = None,
) -> DenseMetric | LowRankMetric:
    """The metric of keys [*b, S, D] under these queries, one a head.

    It knows all of these queries: where boundaries must not look ahead, take those that came
    before, or `CausalQueryMetric`.

    Args:
        rank: keep so many of M's largest eigenvalues, so that a step costs D * rank; None is dense.
    """
    matrix = query_moments(query, scale=scale).matrix(centred=centred)
    matrix = (matrix + matrix.mT) / 2
    if rank is None:
        return DenseMetric(matrix)
    return LowRankMetric(low_rank_factor(matrix, rank))


class CausalQueryMetric:
    """x_t^T M_t x_t with M_t from the queries up to token t, so that no length looks ahead.

    An `AbstractMetric` of whole sequences: tangent t is that of query t.

        x_t^T M_t x_t = 1 / t sum_(i <= t) (a q_i . x_t)^2   less   (mean_(i <= t) a q_i . x_t)^2

    the second term if centred. Some tokens at a time, in O(T D^2) and without T matrices.

    Args:
        query: [*b, T, D].
        scale: a; None is D ** -0.5.
        past: `moments` of the piece before, where a text comes in pieces.
    """

    def __init__(
        self,
        query: Float[Tensor, "*b T D"],
        *,
        scale: float | None = None,
        centred: bool = False,
        past: QueryMoments | None = None,
    ) -> None:
        self.centred = centred
        self.past = past
        self._scaled = _scaled(query, scale)
        if past is not None:
            _check_past(past, query)
        self.moments = query_moments(query, scale=scale, past=past)

    def squared_norm(
        self, point: Float[Tensor, "*b T D"], tangent: Float[Tensor, "*b T D"]
    ) -> Float[Tensor, "*b T"]:
        """x_t^T M_t x_t; the point does not matter."""
        if tangent.shape != self._scaled.shape:
            raise ArgumentError(
                "tangent",
                f"shape {list(tangent.shape)}",
                f"{list(self._scaled.shape)} as the queries have",
                "pass one step for each query",
            )
        scaled = self._scaled.to(tangent)
        past, lengths = self.past, []
        for rows, steps in zip(scaled.split(_CHUNK, -2), tangent.split(_CHUNK, -2), strict=True):
            lengths.append(self._chunk(past, rows, steps))
            past = query_moments(rows, scale=1.0, past=past)
        return torch.cat(lengths, -1)

    def _chunk(self, past: QueryMoments | None, rows: Tensor, steps: Tensor) -> Tensor:
        """Lengths of some steps, from the sums before them and the queries among them."""
        logits = (steps @ rows.mT).tril()  # [*b, t, i], i <= t
        square, first = logits.square().sum(-1), logits.sum(-1)
        count = torch.arange(1, steps.shape[-2] + 1, device=steps.device)
        if past is not None:
            count = count + past.seen
            square = square + ((steps @ past.second.to(steps)) * steps).sum(-1)
            first = first + (steps * past.total.to(steps)[..., None, :]).sum(-1)
        mean = first / count
        length = square / count - mean.square() if self.centred else square / count
        return length.clamp(min=0)


def _scaled(query: Tensor, scale: float | None) -> Tensor:
    if query.dim() < 2 or not query.is_floating_point() or 0 in query.shape[-2:]:
        raise ArgumentError(
            "query",
            f"{query.dtype} {list(query.shape)}",
            "floating [*b, T, D] with T > 0",
            "pass one query a token",
        )
    query = query.to(torch.promote_types(query.dtype, torch.float32))
    return query * (query.shape[-1] ** -0.5 if scale is None else scale)


def _check_past(past: QueryMoments, query: Tensor) -> None:
    if past.total.shape != query.shape[:-2] + query.shape[-1:]:
        raise ArgumentError(
            "past",
            f"moments of shape {list(past.total.shape)}",
            f"{list(query.shape[:-2] + query.shape[-1:])} as the queries have",
            "keep one QueryMoments a text",
        )
