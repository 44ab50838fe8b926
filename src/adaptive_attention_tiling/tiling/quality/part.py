"""A figure as the formula has it, beside the one that stays in [0, 1]."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import ArgumentError


class QualityPart(NamedTuple):
    """One term of a quality figure: `raw` as its formula gives it, `bounded` in [0, 1], both [*b].

    The bounded figure never falls where the raw one rises.
    """

    raw: Tensor
    bounded: Tensor


def checked(name: str, tensor: Tensor, axes: str, *, signed: bool = False) -> Tensor:
    """The tensor in float32 at least.

    Raises an ArgumentError unless it is finite, has the named last axes, none of them empty, and
    no entry below 0 (but for `signed`).
    """
    least = len(axes.split())
    sizes = tensor.shape[-least:]
    if tensor.dim() < least or not tensor.is_floating_point() or 0 in sizes:
        raise ArgumentError(
            name,
            f"{tensor.dtype} {list(tensor.shape)}",
            f"floating [{', '.join(['*b', *axes.split()])}], no axis empty",
            "check the order of axes",
        )
    if not bool(torch.isfinite(tensor).all()) or (not signed and bool((tensor < 0).any())):
        raise ArgumentError(
            name,
            f"entries from {tensor.min().item():.3g} to {tensor.max().item():.3g}",
            "finite entries" if signed else "finite entries >= 0",
            "look for a NaN or a sign upstream",
        )
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
