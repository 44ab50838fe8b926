"""What a law says of an object: a measured quantity, its bounds, the verdict, and what it omits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class LawReport:
    """The worst case that a law found among those it looked at.

    The verdict is not stored: the law holds if lower <= measured <= upper and the quantity is
    finite, so that NaN never passes.

    Args:
        law: its name with its equation.
        quantity: what was measured, in words.
        measured: its value in the worst case.
        lower, upper: the bounds that it must lie within, rounding included; at least one is finite.
        where: which case was the worst.
        cases: how many were looked at, 1 or more.
        not_shown: what the verdict leaves open.

    Raises:
        ArgumentError: no case was looked at, or bounds that allow everything or nothing.
    """

    law: str
    quantity: str
    measured: float
    lower: float = -math.inf
    upper: float = math.inf
    where: str
    cases: int
    not_shown: str

    def __post_init__(self) -> None:
        if self.cases < 1:
            raise ArgumentError("cases", self.cases, "at least 1", "give the law something to see")
        bounded = math.isfinite(self.lower) or math.isfinite(self.upper)
        if not (self.lower <= self.upper and bounded):
            raise ArgumentError(
                "bounds", (self.lower, self.upper), "lower <= upper, one of them finite",
                "say what the quantity must keep to",
            )  # fmt: skip

    @property
    def holds(self) -> bool:
        """Whether lower <= measured <= upper."""
        return math.isfinite(self.measured) and self.lower <= self.measured <= self.upper

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "FAILS"
        return (
            f"{verdict}: {self.law}; {self.quantity} is {self.measured:.12g}, allowed "
            f"{self._allowed()}, at worst {self.where}, of {self.cases} looked at; "
            f"not shown: {self.not_shown}"
        )

    def require(self) -> None:
        """Raise an AssertionError with the whole sentence unless the law holds."""
        if not self.holds:
            raise AssertionError(str(self))

    def _allowed(self) -> str:
        if self.lower == -math.inf:
            return f"up to {self.upper:.12g}"
        if self.upper == math.inf:
            return f"from {self.lower:.12g}"
        return f"from {self.lower:.12g} to {self.upper:.12g}"


def judged(
    values: Tensor,
    *,
    law: str,
    quantity: str,
    lower: Tensor | float = -math.inf,
    upper: Tensor | float = math.inf,
    where: Callable[[int], str],
    not_shown: str,
) -> LawReport:
    """The report of the value that lies farthest outside its bounds, or nearest to them.

    Args:
        values: of the quantity, one for each case, of any shape; a NaN is the worst of all.
        lower, upper: one for all cases, or tensors of the shape of `values`.
        where: names a case by its number in the flattened values.
    """
    flat = values.detach().double().flatten()
    if not len(flat):
        raise ArgumentError("cases", 0, "at least 1", "give the law something to see")
    low, high = (
        torch.as_tensor(bound, dtype=torch.float64).to(flat.device).expand(values.shape).flatten()
        for bound in (lower, upper)
    )
    outside = torch.maximum(low - flat, flat - high).nan_to_num(math.inf, math.inf)
    worst = int(torch.where(flat.isfinite(), outside, math.inf).argmax())
    least, most = float(low[worst]), float(high[worst])
    if not bool(flat[worst].isfinite()):
        # Its bounds may have come from what is not finite either; the verdict needs none.
        least = least if math.isfinite(least) else -math.inf
        most = most if math.isfinite(most) else (0.0 if least == -math.inf else math.inf)
    return LawReport(
        law=law,
        quantity=quantity,
        measured=float(flat[worst]),
        lower=least,
        upper=most,
        where=where(worst),
        cases=len(flat),
        not_shown=not_shown,
    )


def at_place(name: str, shape: Sequence[int]) -> Callable[[int], str]:
    """Names cases by their indices: "point 3" or "point (3, 4)"."""

    def where(flat: int) -> str:
        indices = [int(i) for i in torch.unravel_index(torch.tensor(flat), tuple(shape))]
        if len(indices) < 2:
            return f"{name} {flat}"
        return f"{name} ({', '.join(map(str, indices))})"

    return where


def summarised(*reports: LawReport) -> LawReport:
    """Of the parts of one law, the first that fails; the first of all if none does."""
    return next((report for report in reports if not report.holds), reports[0])
