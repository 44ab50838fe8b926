"""A head's queries, keys and splats on the plane in which they differ most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...splats import make_field

_ITERATIONS = 10
_SAMPLES = 256


@dataclass(frozen=True, kw_only=True)
class SplatMap:
    """Points of one head on its two principal axes.

    axes     shares of the variance of queries and keys along both, the larger first
    queries, keys  [n, 2] of some tokens, the same for both
    centres  [K, 5] of each splat: its centre, its deviations along the axes, and its amplitude in
             units of the largest one
    """

    axes: tuple[float, float]
    queries: Float[Tensor, "n 2"]
    keys: Float[Tensor, "n 2"]
    centres: Float[Tensor, "K 5"]


def splat_map(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    *,
    splats: int = 16,
    points: int = 96,
    scale: float | None = None,
    generator: torch.Generator | None = None,
) -> SplatMap | None:
    """Splats fitted to one head by `from_teacher`, and what they were fitted to; None if too few.

    The axes are those of x - mean x, x all queries and keys together. A text with fewer than two
    tokens a splat, or points that are all alike, give None.

    Args:
        query, key: of one head, rotated if the model rotates them.
        splats: K.
        points: at most so many tokens, evenly spread, are shown.
        scale: of the logits; None is D ** -0.5.
        generator: of the fit; by default a new one with seed 0.
    """
    for name, count in (("splats", splats), ("points", points)):
        if count < 1:
            raise ArgumentError(name, count, "an integer >= 1", f"pass {name}=16")
    if len(query) < 2 * splats:
        return None
    both = torch.cat([query, key]).detach().double()
    centre = both.mean(0)
    variance, directions = torch.linalg.eigh((both - centre).mT @ (both - centre))
    if query.shape[1] < 2 or not float(variance.sum()) > 0:
        return None
    axes = directions[:, [-1, -2]]
    # Eigenvectors come with either sign.
    axes = axes * torch.where(axes.sum(0) < 0, -1.0, 1.0)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    with torch.no_grad():
        field = make_field(
            "from_teacher",
            query.detach()[None],
            key.detach()[None],
            splats=splats,
            scale=scale,
            samples=_SAMPLES,
            iterations=_ITERATIONS,
            generator=generator,
        )
        fitted = field.splats()
    shown = torch.linspace(0, len(query) - 1, min(points, len(query))).round().long()
    mean, alive = fitted.mean[0].double(), fitted.alive[0]
    covariance = axes.mT @ fitted.covariance[0].double() @ axes
    deviation = covariance.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    amplitude = fitted.log_amplitude[0].double()
    amplitude = (amplitude - amplitude[alive].max()).exp() if bool(alive.any()) else amplitude
    centres = torch.cat([(mean - centre) @ axes, deviation, amplitude[:, None]], 1)
    share = (variance[[-1, -2]] / variance.sum()).clamp(0, 1).tolist()
    return SplatMap(
        axes=(share[0], share[1]),
        queries=(query.detach()[shown].double() - centre) @ axes,
        keys=(key.detach()[shown].double() - centre) @ axes,
        centres=centres[alive],
    )
