"""How fast one figure grows with another: the exponent of the power law that fits best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...errors import ArgumentError


def fitted_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope a of log(value) = a log(size) + b by least squares.

    Raises ArgumentError for fewer than two sizes, or for figures that have no logarithm.
    """
    if len(sizes) != len(values) or len(set(sizes)) < 2:
        raise ArgumentError(
            "sizes",
            f"{len(sizes)} sizes for {len(values)} values",
            "one value for each of two sizes or more",
            "measure at a second size",
        )
    if min(*sizes, *values) <= 0:
        raise ArgumentError(
            "values", min(*sizes, *values), "positive figures", "leave out what is zero"
        )
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    across = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return across / sum((a - x_mean) ** 2 for a in x)
