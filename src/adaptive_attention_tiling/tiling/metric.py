"""Metrics on states: what the length of a step is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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
    """x^T G x = |F^T x|^2, the same at every state. `factor` is F, [C, r].

    Steps outside of the span of F have length zero.
    """

    factor: Tensor

    def __post_init__(self) -> None:
        if self.factor.dim() != 2:
            raise ArgumentError(
                "factor", f"shape {list(self.factor.shape)}", "[C, r]", "pass F of G = F F^T"
            )

    def squared_norm(
        self, point: Float[Tensor, "*n C"], tangent: Float[Tensor, "*n C"]
    ) -> Float[Tensor, "*n"]:
        """x^T G x; the point does not matter."""
        check_width("tangent", tangent, self.factor.shape[0])
        return (tangent @ self.factor.to(tangent)).square().sum(-1)


def check_width(name: str, tensor: Tensor, width: int) -> None:
    """Raise an ArgumentError unless the last axis has this width."""
    if tensor.dim() < 1 or tensor.shape[-1] != width:
        raise ArgumentError(
            name, f"shape {list(tensor.shape)}", f"[..., {width}]", "use the states of this metric"
        )


def _least(weights: Tensor) -> float | None:
    return weights.min().item() if weights.numel() else None
