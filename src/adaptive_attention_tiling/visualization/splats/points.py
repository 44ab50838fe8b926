"""What the pictures take: the points of one head, and the splats of one head."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...splats import SplatField, Splats


def check_head(field: SplatField, head: int) -> None:
    """Raise an ArgumentError for a head that the field does not have."""
    if not 0 <= head < field.heads:
        raise ArgumentError("head", head, f"0 to {field.heads - 1}", "count heads from 0")


def one_head(splats: Splats, head: int) -> Splats:
    """The splats of one head on the CPU in float64, without gradients; H is 1."""
    arrays = splats.detached().arrays()
    return splats.with_arrays(
        {
            name: array[[head]].cpu().double() if array.is_floating_point() else array[[head]].cpu()
            for name, array in arrays.items()
        }
    )


def points_of_head(
    field: SplatField, name: str, points: Tensor, head: int, *, in_order: bool = False
) -> Float[Tensor, "N D"]:
    """Points [H, N, D], or [B, H, T, D] with batches one after the other, of one head, on the CPU.

    With `in_order` there must be only one sequence.
    """
    check_head(field, head)
    if points.dim() == 3:
        points = points[None]
    fits = points.dim() == 4 and points.shape[1::2] == (field.heads, field.width)
    if not fits or points[:, 0].shape[:2].numel() == 0:
        raise ArgumentError(
            name,
            f"shape {list(points.shape)}",
            f"[{field.heads}, N, {field.width}] or [B, {field.heads}, N, {field.width}], N > 0",
            "give every head of the field its own points",
        )
    if in_order and len(points) != 1:
        raise ArgumentError(name, f"{len(points)} sequences", "one sequence", f"pass {name}[:1]")
    if not bool(torch.isfinite(points[:, head]).all()):
        raise ArgumentError(name, "inf or nan", "finite points", "leave padded tokens out")
    return points[:, head].flatten(0, 1).detach().cpu().double()


def log_features_of_head(
    field: SplatField, points: Float[Tensor, "N D"], head: int
) -> Float[Tensor, "N F"]:
    """The log features of one head at points of its own."""
    with torch.no_grad():
        everywhere = points.to(field.raw_mean).expand(1, field.heads, *points.shape)
        return field.log_features(everywhere)[0, head].cpu().double()
