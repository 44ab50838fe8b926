"""The archimedean height of real coordinates, as a differentiable function of tensors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import ArgumentError


def archimedean_height(point: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """h_inf(x) = log max_i |x_i|, the part of a height that real numbers have.

    Scaling by c adds log|c|. The gradient goes to the largest coordinate.

    Raises:
        ArgumentError: for a point with no coordinate other than 0, and for NaN.
    """
    return _checked(point).abs().amax(-1).log()


def smooth_archimedean_height(
    point: Float[Tensor, "*b n"], sharpness: float
) -> Float[Tensor, "*b"]:
    """(1/s) log sum_i |x_i|^s: at least log max |x_i|, and more by at most (log n)/s.

    Smooth away from coordinates that are 0, where its gradient is taken as 0.

    Args:
        point: real coordinates on the last axis, not all 0.
        sharpness: s > 0; as s grows the height becomes `archimedean_height`.
    """
    if not 0 < sharpness < torch.inf:
        raise ArgumentError("sharpness", sharpness, "a finite number > 0", "pass sharpness=8.0")
    sizes = _checked(point).abs()
    logs = torch.where(sizes > 0, sizes, 1).log()
    logs = torch.where(sizes > 0, logs, -torch.inf)
    return (sharpness * logs).logsumexp(-1) / sharpness


def exponential_height(logits: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """h_inf([e^z1 : ... : e^zn]) = max_i z_i, without an exponential.

    Adding c to all logits names the same projective point and adds c here, as it takes c away
    at the other places by the product formula; z - max z, which softmax exponentiates, is what
    depends on the point alone.
    """
    return logits.amax(-1)


def running_exponential_height(logits: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """max(z_1, ..., z_i) for each i: the running maximum that a streamed softmax keeps."""
    return logits.cummax(-1).values


def _checked(point: Tensor) -> Tensor:
    if point.dim() < 1 or not point.is_floating_point() or point.shape[-1] == 0:
        raise ArgumentError(
            "point",
            f"{point.dtype} {list(point.shape)}",
            "floating [*b, n]",
            "pass coordinates on the last axis",
        )
    largest = point.detach().abs().amax(-1)
    if not bool((largest > 0).all()):
        raise ArgumentError(
            "point",
            "NaN" if bool(largest.isnan().any()) else "a point of zeros",
            "coordinates not all 0",
            "no projective point has all coordinates 0",
        )
    return point
