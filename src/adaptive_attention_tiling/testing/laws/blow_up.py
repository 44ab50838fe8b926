"""When a quantity becomes infinite, by a straight line through its inverse."""

from __future__ import annotations

import math
from collections.abc import Sequence

_WINDOW = 8
_BENT = 0.01


def blow_up_time(times: Sequence[float], sizes: Sequence[float]) -> float | None:
    """The zero of the line through the last eight 1 / size(t), or None where they lie on none.

    Exact where the size goes as 1 / (T - t), as curvature does on a sphere that shrinks under Ricci
    flow or mean curvature flow (squared). The line must fall, and miss none of the eight by more
    than a hundredth of its fall, which keeps exponential growth out.
    """
    if len(times) < _WINDOW:
        return None
    t, y = times[-_WINDOW:], sizes[-_WINDOW:]
    if not all(0 < size < math.inf for size in y):
        return None
    inverse = [1 / size for size in y]
    middle, mean = sum(t) / _WINDOW, sum(inverse) / _WINDOW
    moved = [time - middle for time in t]
    slope = sum(x * v for x, v in zip(moved, inverse, strict=True)) / sum(x * x for x in moved)
    missed = max(abs(v - mean - slope * x) for x, v in zip(moved, inverse, strict=True))
    fall = -slope * (t[-1] - t[0])
    # Rounding of equal sizes makes a line that falls by next to nothing.
    if not fall > 1e-6 * max(inverse) or missed > _BENT * fall:
        return None
    return middle - mean / slope
