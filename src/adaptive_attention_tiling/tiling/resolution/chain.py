"""A chain of tiles of different lengths, and how far apart they lie."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ...errors import ArgumentError
from ...mathematics.dynamics.chain_diffusion import distances


def lengths_like(
    resolution: Float[Tensor, "*n M"], lengths: Tensor | None
) -> Float[Tensor, "*n M"]:
    """The lengths in the dtype and shape of `resolution`; None is 1 for each tile."""
    if lengths is None:
        return torch.ones_like(resolution)
    if resolution.shape[-1:] != lengths.shape[-1:]:
        raise ArgumentError(
            "lengths",
            f"shape {list(lengths.shape)}",
            f"{resolution.shape[-1]} tiles in the last axis",
            "pass one length a tile",
        )
    if not bool((lengths > 0).all()):
        raise ArgumentError("lengths", lengths.min().item(), "numbers > 0", "leave out empty tiles")
    return lengths.to(resolution).expand_as(resolution)


def before_each(
    lengths: Float[Tensor, "*n M"], before: Float[Tensor, "*n"] | None
) -> Float[Tensor, "*n M"]:
    """The distance of each tile from the one before it; infinite where there is none."""
    if before is None:
        return pad(distances(lengths), (1, 0), value=torch.inf)
    return distances(
        torch.cat([before.to(lengths).expand(lengths.shape[:-1])[..., None], lengths], -1)
    )
