"""Nine shades of one hue for numbers on a scale, logarithmic if not told else, and their key."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_COUNT = 9


@dataclass(frozen=True)
class Shades:
    """The scale runs from `low` to `high`; what lies outside takes the nearest shade."""

    low: float
    high: float
    logarithmic: bool = True

    def shade(self, value: float) -> int:
        """0 (pale) to 8 (strong)."""
        if value <= self.low:
            return 0
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(_COUNT - 1, int(share * _COUNT))

    def value(self, share: float) -> float:
        """The number at a share of the way along the scale."""
        if self.logarithmic:
            return self.low * math.pow(self.high / self.low, share)
        return self.low + (self.high - self.low) * share

    def key(self, prefix: str) -> str:
        """The shades side by side over the numbers at both ends and in the middle."""
        swatches = "".join(f'<i class="{prefix}{n}"></i>' for n in range(_COUNT))
        numbers = "".join(f"<span>{per_cent(self.value(s))}</span>" for s in (0.0, 0.5, 1.0))
        return (
            f'<div class="scale"><div class="swatches">{swatches}</div>'
            f'<div class="numbers">{numbers}</div></div>'
        )


def shades_for(values: Iterable[float], *, floor: float) -> Shades:
    """A scale from the smallest to the largest finite value, no lower than `floor`."""
    known = [max(value, floor) for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (floor, 1.0)
    return Shades(low, max(high, 1.01 * low))


def per_cent(fraction: float) -> str:
    """A fraction as a person reads it: "0.4 %", "3.2 %", "17 %"; a dash for nan."""
    if math.isnan(fraction):
        return "–"
    return f"{100 * fraction:.{0 if fraction >= 0.0995 else 1}f} %"
