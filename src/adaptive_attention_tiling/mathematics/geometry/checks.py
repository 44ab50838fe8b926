"""What manifolds ask of their arguments."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import ArgumentError

_DTYPES = (torch.float32, torch.float64)


def check_size(name: str, size: int) -> None:
    """Raise an ArgumentError unless this is an integer >= 1."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ArgumentError(name, size, "an integer >= 1", f"pass {name}=2")


def check_radius(radius: float) -> None:
    """Raise an ArgumentError unless R is a finite number above 0."""
    if not 0 < radius < float("inf"):
        raise ArgumentError("radius", radius, "a finite number above 0", "pass radius=1.0")


def check_vectors(name: str, vectors: Tensor, width: int) -> None:
    """Raise an ArgumentError unless these are float32 or float64, [*b, width], and finite."""
    if vectors.dim() < 1 or vectors.shape[-1] != width or vectors.dtype not in _DTYPES:
        raise ArgumentError(
            name,
            f"{vectors.dtype} {list(vectors.shape)}",
            f"float32 or float64 [*b, {width}]",
            "use the dimension and the dtype of this manifold",
        )
    if not bool(vectors.isfinite().all()):
        raise ArgumentError(name, "NaN or infinity", "finite numbers", "look where they come from")


def check_weights(weights: Tensor) -> None:
    """Raise an ArgumentError unless weights are >= 0 and have a sum above 0."""
    if not bool((weights >= 0).all()) or not bool((weights.sum(-1) > 0).all()):
        raise ArgumentError(
            "weights", "a negative weight, NaN, or only zeros", "weights >= 0", "pass shares"
        )
