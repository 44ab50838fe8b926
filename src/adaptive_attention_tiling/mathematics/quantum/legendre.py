"""Legendre transforms of convex functions: the source that belongs to a mean."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


def source_of_mean(
    response: Callable[[Tensor], tuple[Tensor, Tensor]], field: Float[Tensor, " d"]
) -> Float[Tensor, " d"]:
    """J with <x>_J = phi, by Newton's method from J = 0 with steps that are halved if they miss.

    A step misses where it jumps over a well that is wider than the one it comes from.

    Args:
        response: <x>_J and its derivative [d, d] in J.
        field: phi.

    Raises:
        ArgumentError: no J within 40 steps.

    Nocedal and Wright, Numerical Optimization (2006), section 11.2.
    """
    kept, best = torch.zeros_like(field), math.inf
    step = torch.zeros_like(field)
    tolerance = 1e4 * torch.finfo(field.dtype).eps * (1 + float(field.abs().max()))
    for _ in range(40):
        mean, slope = response(kept + step)
        miss = field - mean
        size = float(miss.abs().max())
        if size < best:
            kept, best = kept + step, size
            step, failed = torch.linalg.solve_ex(slope, miss)
            if bool(failed):
                break
        else:
            step = step / 2
        if best <= tolerance:
            return kept
    raise ArgumentError("field", "a mean that no source gives", "reachable", "widen the grid")
