"""Paths on a base manifold, smooth in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import ArgumentError
from .atlas import Chart
from .connection import slope_along


@dataclass(frozen=True)
class Path:
    """t -> gamma(t) for t in [0, 1], or a batch of such paths.

    Args:
        curve: times [k] -> points [*b, k, N], one time a row and differentiable.
        pieces: gamma is smooth between times j / pieces; corners lie at these times only.
        dtype: of the times that curve is asked at.
        device: of these times.
    """

    curve: Callable[[Tensor], Tensor]
    pieces: int = 1
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.pieces < 1:
            raise ArgumentError("pieces", self.pieces, "1 or more", "pass pieces=1 if it is smooth")

    @classmethod
    def through(cls, vertices: Float[Tensor, "*b m n"], chart: Chart | None = None) -> Path:
        """Straight lines between vertices, in the coordinates of a chart or, without one, of R^N.

        All lines are run through in equal times.
        """
        if vertices.dim() < 2 or vertices.shape[-2] < 2:
            raise ArgumentError(
                "vertices", f"shape {list(vertices.shape)}", "[..., 2 or more, n]", "pass both ends"
            )
        pieces = vertices.shape[-2] - 1

        def curve(times: Tensor) -> Tensor:
            piece = (times.detach() * pieces).long().clamp(0, pieces - 1)
            share = (times * pieces - piece)[:, None].to(vertices.dtype)
            first, last = vertices[..., piece, :], vertices[..., piece + 1, :]
            points = first + share * (last - first)
            return points if chart is None else chart.point(points)

        return cls(curve, pieces, vertices.dtype, vertices.device)

    def reversed(self) -> Path:
        """The same way back."""
        return Path(lambda times: self.curve(1 - times), self.pieces, self.dtype, self.device)

    def points(self, times: Float[Tensor, " k"]) -> Float[Tensor, "*b k N"]:
        """gamma at these times."""
        return self.curve(times)

    def velocities(
        self, times: Float[Tensor, " k"]
    ) -> tuple[Float[Tensor, "*b k N"], Float[Tensor, "*b k N"]]:
        """gamma and d gamma / dt at these times."""
        return slope_along(self.curve, times, torch.ones_like(times))

    def times(self, count: int) -> Float[Tensor, " k"]:
        """count + 1 times from 0 to 1 in equal steps."""
        return torch.linspace(0, 1, count + 1, dtype=self.dtype, device=self.device)
