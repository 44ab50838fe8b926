"""One side of a plot: which numbers lie along it, where, and what is written beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import ArgumentError

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MOST_POWERS = 7


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The numbers from `low` to `high`, with a written mark at each of the ticks.

    Args:
        ticks: (number, text), within the axis.
        label: what the numbers are, with their unit.
        logarithmic: equal ratios, not differences, take equal lengths; needs low > 0.
    """

    low: float
    high: float
    ticks: Sequence[tuple[float, str]] = ()
    label: str = ""
    logarithmic: bool = False

    def __post_init__(self) -> None:
        least = 0.0 if self.logarithmic else -math.inf
        if not least < self.low < self.high < math.inf:
            raise ArgumentError(
                "axis", f"{self.low} to {self.high}",
                f"rising finite ends{' > 0' * self.logarithmic}", "pass low < high",
            )  # fmt: skip

    def share(self, number: float) -> float:
        """How far along the axis a number lies: 0 at `low`, 1 at `high`.

        Raises:
            ArgumentError: not finite, or not positive on a logarithmic axis.
        """
        if not math.isfinite(number) or (self.logarithmic and number <= 0):
            kind = "positive finite numbers" if self.logarithmic else "finite numbers"
            raise ArgumentError("points", number, kind, f"leave it out of {self.label!r}")
        if self.logarithmic:
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)


def number_text(number: float) -> str:
    """A number as a person reads it beside an axis, with a true minus sign."""
    return f"{number:.4g}".replace("-", "−")


def power_text(power: int) -> str:
    """10 to a power: "10⁻³", "10²"; 1 and 10 as they are."""
    return ("1", "10")[power] if power in (0, 1) else "10" + str(power).translate(_SUPERSCRIPTS)


def linear_axis(
    numbers: Iterable[float],
    *,
    label: str = "",
    intervals: int = 5,
    text: Callable[[float], str] = number_text,
) -> Axis:
    """An axis of round ends around the numbers, with a tick at each step of 1, 2 or 5 times 10^n.

    Args:
        numbers: at least one; all must be finite.
        intervals: at most so many between ticks, more by one or two where an end falls awkwardly.
    """
    low, high = _extent(numbers)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    step = _round_step((high - low) / intervals)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [(n * step, text(n * step)) for n in range(first, last + 1)]
    return Axis(low=first * step, high=last * step, ticks=ticks, label=label)


def logarithmic_axis(
    numbers: Iterable[float],
    *,
    label: str = "",
    text: Callable[[int], str] = power_text,
) -> Axis:
    """An axis from a power of ten to another around the numbers, which are positive.

    Args:
        text: of the tick at 10^n, from n; of many powers only some are written.
    """
    low, high = _extent(numbers)
    if low <= 0:
        raise ArgumentError("points", low, "positive finite numbers", f"leave it out of {label!r}")
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    every = math.ceil((last - first) / _MOST_POWERS)
    ticks = [(10.0**power, text(power)) for power in range(first, last + 1, every)]
    return Axis(low=10.0**first, high=10.0**last, ticks=ticks, label=label, logarithmic=True)


def _extent(numbers: Iterable[float]) -> tuple[float, float]:
    known = list(numbers)
    if not known or not all(math.isfinite(number) for number in known):
        raise ArgumentError(
            "points", "none" if not known else "NaN or infinity", "finite numbers", "pass a few"
        )
    return min(known), max(known)


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= least * (1 - 1e-9))
