"""Cross-tile flow: how differently tiles distribute what they hold."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.information import check_probabilities, kl_divergence
from .part import QualityPart, checked


def cross_tile_flow(
    distributions: Float[Tensor, "*b n V"], weights: Float[Tensor, "*#b n n"] | None = None
) -> QualityPart:
    """CTF = sum_ij w_ij KL(P_i || P_j) in nats, and 1 - exp(-CTF).

    0 for equal distributions and for a single tile. The raw figure has no upper bound: KL is inf
    where P_i holds what P_j rules out, and then the bounded figure is 1.

    Rows of causal attention do that: the last tile reads keys that the first cannot, so that KL of
    a later tile against an earlier one is inf. Give them weights above the diagonal alone
    (torch.ones(n, n).triu(1)), which compare each tile with later ones.

    Source: chapter 3.3.1, which claims [0, 1] of the raw sum.

    Args:
        distributions: P_i of every tile, >= 0 with sums of 1; see `tile_distributions`.
        weights: w_ij >= 0, whatever their sum; None is the mean over ordered pairs of two tiles.
    """
    check_probabilities("distributions", distributions)
    distributions = checked("distributions", distributions, "n V")
    count = distributions.shape[-2]
    if weights is None:
        weights = 1 - torch.eye(count, dtype=distributions.dtype, device=distributions.device)
        weights = weights / max(1, count * (count - 1))
    weights = _checked_weights(weights, distributions)
    divergence, infinite = _divergences(distributions)
    flow = (weights * divergence).sum((-2, -1))
    unbounded = (infinite & (weights > 0)).any(-1).any(-1)
    # Chosen after both were computed from the finite part, so that no gradient is inf * 0.
    return QualityPart(
        torch.where(unbounded, torch.inf, flow), torch.where(unbounded, 1.0, -(-flow).expm1())
    )


def _divergences(distributions: Tensor) -> tuple[Tensor, Tensor]:
    """KL(P_i || P_j) [*b, n, n], 0 where it is infinite, and where it is infinite.

    Row by row: the difference of entropy and cross entropy, in one product, would leave rounding
    in place of the zero between equal distributions.
    """
    rows = []
    for i in range(distributions.shape[-2]):
        rows.append(kl_divergence(distributions[..., i, None, :], distributions))
    divergence = torch.stack(rows, -2)
    infinite = divergence.isinf()
    return torch.where(infinite, 0, divergence).clamp(min=0), infinite


def _checked_weights(weights: Tensor, distributions: Tensor) -> Tensor:
    weights = checked("weights", weights, "n n").to(distributions)
    batch, count = distributions.shape[:-2], distributions.shape[-2]
    try:
        fits = torch.broadcast_shapes(weights.shape[:-2], batch) == batch
    except RuntimeError:
        fits = False
    if weights.shape[-2:] != (count, count) or not fits:
        raise ArgumentError(
            "weights",
            f"shape {list(weights.shape)}",
            f"{[*batch, count, count]} or fewer batch axes",
            "pass one weight for every ordered pair of tiles",
        )
    return weights
