"""The Fisher metric of a softmax over linear logits: steps count as far as they change the output.

For logits z = W s + b and p = softmax(z), with W [V, C],

    G(s) = E_{v ~ p}[d log p_v d log p_v^T] = W^T (diag(p) - p p^T) W

and to second order KL(p(s) || p(s + x)) = x^T G x / 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError
from .metric import DiagonalMetric, LowRankMetric, check_width

_CHUNK_ENTRIES = 2**22


@dataclass(frozen=True)
class FisherMetric:
    """G(s) of a model's own output distribution (chapter 3.1.1, with f(x|p) the next token's).

    States must be those that the output matrix reads: in a transformer, after the last norm.
    Logits are computed some rows at a time, so that memory does not grow with T V.

    Args:
        weight: W [V, C], the output embedding.
        bias: b [V] or None.
    """

    weight: Tensor
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        if self.weight.dim() != 2 or 0 in self.weight.shape:
            raise ArgumentError(
                "weight", f"shape {list(self.weight.shape)}", "[V, C]", "pass the output embedding"
            )
        if self.bias is not None and self.bias.shape != self.weight.shape[:1]:
            raise ArgumentError(
                "bias",
                f"shape {list(self.bias.shape)}",
                f"[{self.weight.shape[0]}] or None",
                "pass one bias a token of the vocabulary",
            )

    @property
    def width(self) -> int:
        """C, the width of states."""
        return self.weight.shape[1]

    def squared_norm(
        self, point: Float[Tensor, "*n C"], tangent: Float[Tensor, "*n C"]
    ) -> Float[Tensor, "*n"]:
        """x^T G(s) x = Var_{v ~ p}((W x)_v), without a C by C matrix."""
        check_width("tangent", tangent, self.width)
        if point.shape != tangent.shape:
            raise ArgumentError(
                "point",
                f"shape {list(point.shape)}",
                f"{list(tangent.shape)} as tangent has",
                "pass the state of every tangent",
            )
        weight = self.weight.to(tangent)
        rows = zip(self._probabilities(point.to(tangent)), self._chunks(tangent), strict=True)
        variances = [_variance(p, x @ weight.T) for p, x in rows]
        return torch.cat(variances).view(tangent.shape[:-1])

    def matrix(self, point: Float[Tensor, " C"]) -> Float[Tensor, "C C"]:
        """The dense G(s) at one state."""
        if point.dim() != 1:
            raise ArgumentError("point", f"shape {list(point.shape)}", "[C]", "pass one state")
        return self.average(point[None])

    def average(self, states: Float[Tensor, "*n C"]) -> Float[Tensor, "C C"]:
        """The mean of G over states: Cov of W's rows within each p, averaged."""
        weight = self._centred(states)
        total = states.new_zeros(self.width, self.width)
        for p in self._probabilities(states):
            means = p @ weight
            total = total + weight.T @ (p.sum(0)[:, None] * weight) - means.T @ means
        return total / max(1, states[..., 0].numel())

    def diagonal(self, states: Float[Tensor, "*n C"]) -> DiagonalMetric:
        """The diagonal of G, averaged over states.

        The average knows all of these states: where densities must not look ahead, take it from
        another text or from what came before.
        """
        weight = self._centred(states)
        squares = weight.square()
        total = states.new_zeros(self.width)
        for p in self._probabilities(states):
            total = total + p.sum(0) @ squares - (p @ weight).square().sum(0)
        mean = total / max(1, states[..., 0].numel())
        return DiagonalMetric(mean.clamp(min=0))

    def low_rank(self, states: Float[Tensor, "*n C"], rank: int) -> LowRankMetric:
        """The average of G over states, cut to its `rank` largest eigenvalues.

        No matrix of this rank is nearer to the average (Eckart and Young, 1936). It knows all of
        these states, as `diagonal` does.
        """
        if not 1 <= rank <= self.width:
            raise ArgumentError("rank", rank, f"an integer from 1 to {self.width}", "pass rank=8")
        values, vectors = torch.linalg.eigh(self.average(states))
        largest = values[-rank:].clamp(min=0).sqrt()
        return LowRankMetric(vectors[:, -rank:] * largest)

    def _probabilities(self, states: Tensor) -> Iterator[Tensor]:
        """p [rows, V] of some states at a time."""
        weight = self.weight.to(states)
        for chunk in self._chunks(states):
            logits = chunk @ weight.T
            if self.bias is not None:
                logits = logits + self.bias.to(logits)
            yield logits.softmax(-1)

    def _centred(self, states: Tensor) -> Tensor:
        """W less the mean of its rows: the same G, with less to cancel in second moments."""
        weight = self.weight.to(states)
        return weight - weight.mean(0)

    def _chunks(self, states: Tensor) -> Sequence[Tensor]:
        """Rows of states, so many at a time whatever their number."""
        check_width("states", states, self.width)
        rows = max(1, _CHUNK_ENTRIES // self.weight.shape[0])
        chunks: Sequence[Tensor] = states.reshape(-1, self.width).split(rows)
        return chunks


def _variance(p: Tensor, values: Tensor) -> Tensor:
    mean = (p * values).sum(-1, keepdim=True)
    return (p * (values - mean).square()).sum(-1)
