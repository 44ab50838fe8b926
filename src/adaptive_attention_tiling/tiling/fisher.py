"""The Fisher metric of a softmax over linear logits: steps count as far as they change the output.

For logits z = W s + b and p = softmax(z), with W [V, C],

    G(s) = E_{v ~ p}[d log p_v d log p_v^T] = W^T (diag(p) - p p^T) W

and to second order KL(p(s) || p(s + x)) = x^T G x / 2: the metric of a `SoftmaxFamily`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError
from ..mathematics.information import SoftmaxFamily, low_rank_factor
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
    _family: SoftmaxFamily = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_family", SoftmaxFamily(self.weight, self.bias))

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
        rows = zip(self._chunks(point.to(tangent)), self._chunks(tangent), strict=True)
        variances = [self._family.squared_norm(s, x) for s, x in rows]
        return torch.cat(variances).view(tangent.shape[:-1])

    def matrix(self, point: Float[Tensor, " C"]) -> Float[Tensor, "C C"]:
        """The dense G(s) at one state."""
        if point.dim() != 1:
            raise ArgumentError("point", f"shape {list(point.shape)}", "[C]", "pass one state")
        return self.average(point[None])

    def average(self, states: Float[Tensor, "*n C"]) -> Float[Tensor, "C C"]:
        """The mean of G over states: Cov of W's rows within each p, averaged."""
        total = states.new_zeros(self.width, self.width)
        for chunk in self._chunks(states):
            total = total + self._family.metric_sum(chunk)
        return total / max(1, states[..., 0].numel())

    def diagonal(self, states: Float[Tensor, "*n C"]) -> DiagonalMetric:
        """The diagonal of G, averaged over states.

        The average knows all of these states: where densities must not look ahead, take it from
        another text or from what came before.
        """
        total = states.new_zeros(self.width)
        for chunk in self._chunks(states):
            total = total + self._family.diagonal_sum(chunk)
        mean = total / max(1, states[..., 0].numel())
        return DiagonalMetric(mean.clamp(min=0))

    def low_rank(self, states: Float[Tensor, "*n C"], rank: int) -> LowRankMetric:
        """The average of G over states, cut to its `rank` largest eigenvalues.

        No matrix of this rank is nearer to the average (Eckart and Young, 1936). It knows all of
        these states, as `diagonal` does.
        """
        return LowRankMetric(low_rank_factor(self.average(states), rank))

    def _chunks(self, states: Tensor) -> Sequence[Tensor]:
        """Rows of states, so many at a time whatever their number."""
        check_width("states", states, self.width)
        rows = max(1, _CHUNK_ENTRIES // self.weight.shape[0])
        chunks: Sequence[Tensor] = states.reshape(-1, self.width).split(rows)
        return chunks
