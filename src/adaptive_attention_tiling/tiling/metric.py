"""Metrics on states: what the length of a step is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError


class AbstractMetric(Protocol):
    """A quadratic form at every state."""

    def squared_norm(
        self, point: Float[Tensor, "*n C"], tangent: Float[Tensor, "*n C"]
    ) -> Float[Tensor, "*n"]:
        """x^T G(s) x of tangents x at states s."""
        ...


@dataclass(frozen=True)
class DiagonalMetric:
    """x^T G x = sum_c g_c x_c^2, the same at every state. `weights` are the g_c >= 0, [C]."""

    weights: Tensor

    def __post_init__(self) -> None:
        if self.weights.dim() != 1 or bool((self.weights < 0).any()):
            raise ArgumentError(
                "weights",
                f"shape {list(self.weights.shape)}, least {_least(self.weights)}",
                "[C] with entries >= 0",
                "pass one weight a channel",
            )

    def squared_norm(
        self, point: Float[Tensor, "*n C"], tangent: Float[Tensor, "*n C"]
    ) -> Float[Tensor, "*n"]:
        """x^T G x; the point does not matter."""
        check_width("tangent", tangent, self.weights.shape[0])
        return (tangent.square() * self.weights.to(tangent)).sum(-1)


@dataclass(frozen=True)
class LowRankMetric:
    """x^T G x = |F^T x|^2, the same at every state. `factor` is F: [C, r], or [*b, C, r] for heads.

    Steps outside of the span of F have length zero. Tangents of heads are [*b, n, C].
    """

    factor: Tensor

    def __post_init__(self) -> None:
        if self.factor.dim() < 2:
            raise ArgumentError(
                "factor", f"shape {list(self.factor.shape)}", "[*b, C, r]", "pass F of G = F F^T"
            )

    def squared_norm(
        self, point: Float[Tensor, "*n C"], tangent: Float[Tensor, "*n C"]
    ) -> Float[Tensor, "*n"]:
        """x^T G x; the point does not matter."""
        return self.coordinates(tangent).square().sum(-1)

    def coordinates(self, states: Float[Tensor, "*n C"]) -> Float[Tensor, "*n r"]:
        """F^T s: states in which this metric is the Euclidean one, for what takes no metric."""
        check_width("tangent", states, self.factor.shape[-2])
        return states @ self.factor.to(states)


@dataclass(frozen=True)
class DenseMetric:
    """x^T G x, the same at every state. `matrix` is G: [C, C], or [*b, C, C] for heads.

    Tangents of heads are [*b, n, C]. G is symmetric with eigenvalues >= 0; `LowRankMetric`
    of a thin factor is cheaper.
    """

    matrix: Tensor

    def __post_init__(self) -> None:
        shape = self.matrix.shape
        if self.matrix.dim() < 2 or shape[-1] != shape[-2] or not _positive(self.matrix):
            raise ArgumentError(
                "matrix",
                f"shape {list(shape)}",
                "a symmetric [*b, C, C] without negative eigenvalues",
                "pass a second moment or a covariance",
            )

    def squared_norm(
        self, point: Float[Tensor, "*n C"], tangent: Float[Tensor, "*n C"]
    ) -> Float[Tensor, "*n"]:
        """x^T G x; the point does not matter."""
        check_width("tangent", tangent, self.matrix.shape[-1])
        return ((tangent @ self.matrix.to(tangent)) * tangent).sum(-1).clamp(min=0)


def check_width(name: str, tensor: Tensor, width: int) -> None:
    """Raise an ArgumentError unless the last axis has this width."""
    if tensor.dim() < 1 or tensor.shape[-1] != width:
        raise ArgumentError(
            name, f"shape {list(tensor.shape)}", f"[..., {width}]", "use the states of this metric"
        )


def _positive(matrix: Tensor) -> bool:
    """Whether a matrix is symmetric with eigenvalues >= 0, but for rounding; not if it has NaN."""
    given = matrix.detach().double()
    size = given.abs().amax((-2, -1), keepdim=True) if given.numel() else given
    if not bool(((given - given.mT).abs() <= 1e-5 * size).all()):
        return False
    least = torch.linalg.eigvalsh((given + given.mT) / 2)
    return bool((least >= -1e-5 * size[..., 0]).all())


def _least(weights: Tensor) -> float | None:
    return weights.min().item() if weights.numel() else None
