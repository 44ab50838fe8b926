"""Dimensions of sets that are made of smaller copies of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import exp, log

from ...errors import ArgumentError


def similarity_dimension(ratios: Sequence[Fraction | float]) -> float:
    """D with sum_i r_i^D = 1, of a set made of copies of itself shrunk by r_i.

    It is the Hausdorff dimension where copies do not overlap.

    Args:
        ratios: r_i in (0, 1), two or more.

    Moran, Proc. Camb. Phil. Soc. 42 (1946) 15; Falconer, Fractal Geometry (2014), theorem 9.3.
    """
    if len(ratios) < 2 or not all(0 < ratio < 1 for ratio in ratios):
        raise ArgumentError("ratios", ratios, "two or more in (0, 1)", "pass r_i of each copy")
    logs = [log(ratio) for ratio in ratios]
    # Convex and falling: Newton's method from 0 comes from below and never passes.
    dimension = 0.0
    for _ in range(100):
        powers = [exp(d * dimension) for d in logs]
        step = (sum(powers) - 1) / -sum(d * p for d, p in zip(logs, powers, strict=True))
        dimension += step
        if abs(step) <= 1e-16 * dimension:
            break
    return dimension
