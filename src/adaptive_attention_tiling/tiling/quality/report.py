"""Information flow quality: the weighted sum of its four parts."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .edges import edge_utilization
from .flow import cross_tile_flow
from .information import information_density
from .part import QualityPart
from .stability import pattern_stability


@dataclass(frozen=True, kw_only=True)
class QualityWeights:
    """alpha, beta, gamma and delta of IFQ: >= 0, with a sum of 1."""

    pattern_stability: float = 0.25
    cross_tile_flow: float = 0.25
    edge_utilization: float = 0.25
    information_density: float = 0.25

    def __post_init__(self) -> None:
        weights = astuple(self)
        # Written so that a NaN fails as well.
        if not (min(weights) >= 0 and math.isclose(sum(weights), 1, abs_tol=1e-6)):
            raise ArgumentError(
                "weights",
                f"{weights}, a sum of {sum(weights):.6g}",
                "four numbers >= 0 with a sum of 1",
                "divide each by their sum",
            )


class QualityReport(NamedTuple):
    """The four parts of IFQ, raw and bounded, and their weights."""

    pattern_stability: QualityPart
    cross_tile_flow: QualityPart
    edge_utilization: QualityPart
    information_density: QualityPart
    weights: QualityWeights

    @property
    def ifq(self) -> Float[Tensor, "*b"]:
        """The weighted sum of the bounded parts, in [0, 1]."""
        # Weights sum to one up to rounding only.
        return self._weighted([part.bounded for part in self[:4]]).clamp(max=1)

    @property
    def raw_ifq(self) -> Float[Tensor, "*b"]:
        """The weighted sum of the raw parts: the specification's formula, which has no bounds.

        Parts of weight 0 are left out, infinite ones too. NaN where -inf meets inf.
        """
        return self._weighted([part.raw for part in self[:4]])

    def _weighted(self, figures: list[Tensor]) -> Tensor:
        pairs = zip(astuple(self.weights), torch.broadcast_tensors(*figures), strict=True)
        return torch.stack([weight * figure for weight, figure in pairs if weight > 0]).sum(0)


def information_flow_quality(
    previous: Float[Tensor, "*b T S"],
    current: Float[Tensor, "*b T S"],
    distributions: Float[Tensor, "*b n V"],
    spans: Int[Tensor, "*#b n 2"],
    gradient: Float[Tensor, "*b T C"],
    *,
    weights: QualityWeights | None = None,
    flow_weights: Float[Tensor, "*#b n n"] | None = None,
) -> QualityReport:
    """IFQ = alpha PS + beta CTF + gamma EU + delta ID, raw and in [0, 1].

    Source: chapter 3.3.1. Theorem 3.3 is false of the formula as written, and of the bounded one
    it holds that 0 <= IFQ <= 1; the value 1 is a limit (without bound in states that move and
    distributions that differ), not a mark of optimal processing.

    Args:
        previous, current: attention weights at times t - 1 and t; see `pattern_stability`. Edges
            are looked for in the current ones.
        distributions: of every tile; see `cross_tile_flow`, also for `flow_weights`.
        spans: of tiles among the keys; see `edge_utilization`.
        gradient: of states by position; see `information_density`.
        weights: of the parts; None is a quarter each.

    The batch axes of the four must broadcast: with attention [B, H, T, S], distributions and
    gradient without heads are [B, 1, ...].
    """
    parts = (
        pattern_stability(previous, current),
        cross_tile_flow(distributions, flow_weights),
        edge_utilization(current, spans),
        information_density(gradient),
    )
    shapes = [part.raw.shape for part in parts]
    try:
        torch.broadcast_shapes(*shapes)
    except RuntimeError as error:
        raise ArgumentError(
            "distributions",
            f"batch shapes {[list(shape) for shape in shapes]} of the four parts",
            "shapes that broadcast",
            "give tensors without heads an axis of size 1 in their place",
        ) from error
    return QualityReport(*parts, weights if weights is not None else QualityWeights())
