"""The softmax family: categorical distributions whose logits are linear in a parameter.

With logits z = W theta + b and p = softmax(z), W [V, C],

    psi(theta) = logsumexp(z),  grad psi = W^T p,  G = Hess psi = W^T (diag(p) - p p^T) W

so that x^T G x = Var_{v ~ p}((W x)_v): the Fisher metric is a covariance of W's rows. A shift of
all logits is no step.

Source: Amari, Information geometry and its applications, 2016, 2.1 and 2.2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


class SoftmaxFamily:
    """p(v | theta) = softmax(W theta + b)_v, the output head of a model with states theta.

    Args:
        weight: W [V, C].
        bias: b [V] or None.
    """

    def __init__(self, weight: Float[Tensor, "V C"], bias: Float[Tensor, " V"] | None = None):
        if weight.dim() != 2 or 0 in weight.shape:
            raise ArgumentError(
                "weight", f"shape {list(weight.shape)}", "[V, C]", "pass the output embedding"
            )
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ArgumentError(
                "bias",
                f"shape {list(bias.shape)}",
                f"[{weight.shape[0]}] or None",
                "pass one bias a token of the vocabulary",
            )
        self.weight = weight
        self.bias = bias

    def logits(self, theta: Float[Tensor, "*b C"]) -> Float[Tensor, "*b V"]:
        """W theta + b."""
        if theta.shape[-1:] != self.weight.shape[1:]:
            raise ArgumentError(
                "theta", f"shape {list(theta.shape)}", f"[..., {self.weight.shape[1]}]", "as W has"
            )
        logits = theta @ self.weight.to(theta).mT
        if self.bias is not None:
            logits = logits + self.bias.to(logits)
        return logits

    def probabilities(self, theta: Float[Tensor, "*b C"]) -> Float[Tensor, "*b V"]:
        """softmax(W theta + b)."""
        return self.logits(theta).softmax(-1)

    def log_partition(self, theta: Float[Tensor, "*b C"]) -> Float[Tensor, "*b"]:
        """psi(theta) = logsumexp(W theta + b)."""
        return self.logits(theta).logsumexp(-1)

    def squared_norm(
        self, theta: Float[Tensor, "*b C"], tangent: Float[Tensor, "*b C"]
    ) -> Float[Tensor, "*b"]:
        """x^T G(theta) x, without a C by C matrix."""
        return head_variance(self.probabilities(theta), tangent @ self.weight.to(tangent).mT)

    def product(
        self, theta: Float[Tensor, "*b C"], tangent: Float[Tensor, "*b C"]
    ) -> Float[Tensor, "*b C"]:
        """G(theta) x, without a C by C matrix."""
        weight, p = self.weight.to(tangent), self.probabilities(theta)
        moved = tangent @ weight.mT
        return (p * (moved - (p * moved).sum(-1, keepdim=True))) @ weight

    def metric_matrix(self, theta: Float[Tensor, "*b C"]) -> Float[Tensor, "*b C C"]:
        """The dense G(theta)."""
        p, weight = self.probabilities(theta), self.weight.to(theta)
        centred = weight - (p @ weight)[..., None, :]
        return centred.mT @ (p[..., None] * centred)

    def metric_sum(self, theta: Float[Tensor, "n C"]) -> Float[Tensor, "C C"]:
        """G summed over points, in one product: memory of n V, not n C^2."""
        p, weight = self.probabilities(theta), self._centred(theta)
        means = p @ weight
        return weight.mT @ (p.sum(0)[:, None] * weight) - means.mT @ means

    def diagonal_sum(self, theta: Float[Tensor, "n C"]) -> Float[Tensor, " C"]:
        """The diagonal of G summed over points."""
        p, weight = self.probabilities(theta), self._centred(theta)
        return p.sum(0) @ weight.square() - (p @ weight).square().sum(0)

    def _centred(self, like: Tensor) -> Tensor:
        """W less the mean of its rows: the same G, with less to cancel in second moments."""
        weight = self.weight.to(like)
        return weight - weight.mean(0)


def head_variance(p: Float[Tensor, "*b V"], values: Float[Tensor, "*b V"]) -> Float[Tensor, "*b"]:
    """Var_{v ~ p}(values_v): the Fisher length, squared, of a step of logits by `values`."""
    mean = (p * values).sum(-1, keepdim=True)
    return (p * (values - mean).square()).sum(-1)


def low_rank_factor(matrix: Float[Tensor, "C C"], rank: int) -> Float[Tensor, "C r"]:
    """F of the best G ~ F F^T of this rank: the largest eigenvalues of a positive matrix.

    Source: Eckart and Young, 1936.
    """
    if not 1 <= rank <= matrix.shape[-1]:
        raise ArgumentError("rank", rank, f"an integer from 1 to {matrix.shape[-1]}", "pass rank=8")
    values, vectors = torch.linalg.eigh(matrix)
    factor: Tensor = vectors[..., -rank:] * values[..., None, -rank:].clamp(min=0).sqrt()
    return factor
