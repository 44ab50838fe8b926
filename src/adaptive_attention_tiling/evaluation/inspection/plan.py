"""What an inspection looks at, and how closely."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import ArgumentError
from ..diagnostics import parse_pattern

_BUDGETS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, kw_only=True)
class InspectionPlan:
    """Settings of `inspect_model`.

    Args:
        budgets: shares of exact attention that all heads together may cost; a recommendation for
            each. The middle one is what a head's page recommends.
        tolerance: relative error that is accepted in each head; if given, a head's page recommends
            the cheapest option within it instead.
        patterns: names, and what `parse_pattern` makes a pattern of.
        rows: queries a head's figures are worked out from.
        judged_rows: queries its options are judged on.
        sensitivity_tokens, sensitivity_draws: how much of the text tells which heads matter, and
            how often labels are drawn for it; see `head_sensitivity`.
        shown_queries, shown_keys: how many tokens a head's page shows, and their strongest keys.
        cut_tolerance: at which the last query's reading by tiles is shown; see `tile_cut`.
        seed: of all draws; every head has its own.
        workers: processes that look at heads; with 1, no other. The results are the same.

    Raises:
        ArgumentError: by name, what cannot be.
    """

    budgets: tuple[float, ...] = _BUDGETS
    tolerance: float | None = None
    patterns: tuple[tuple[str, str], ...] = ()
    rows: int = 64
    judged_rows: int = 256
    sensitivity_tokens: int = 512
    sensitivity_draws: int = 2
    shown_queries: int = 24
    shown_keys: int = 16
    cut_tolerance: float = 0.1
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not self.budgets:
            raise ArgumentError("budgets", "none", "at least one", "pass (0.5,)")
        for budget in self.budgets:
            if not 0 < budget <= 1:
                raise ArgumentError("budget", budget, "above 0, at most 1", "pass 0.5 for half")
        if self.tolerance is not None and not 0 <= self.tolerance < math.inf:
            raise ArgumentError("tolerance", self.tolerance, "a finite number >= 0", "pass 0.1")
        for name, least in _COUNTS.items():
            count = getattr(self, name)
            if count < least:
                raise ArgumentError(name, count, f"an integer >= {least}", f"pass {name}={least}")
        names = [name for name, _ in self.patterns]
        for name in names:
            if not name or names.count(name) > 1:
                raise ArgumentError(
                    "pattern", f"the name {name!r}", "a name for each", "write name=0:1,7:1"
                )
        for _, text in self.patterns:
            parse_pattern(text)

    @property
    def middle(self) -> float:
        """The budget that a head's page recommends for."""
        return sorted(self.budgets)[len(self.budgets) // 2]


_COUNTS = {
    "rows": 2,
    "judged_rows": 1,
    "sensitivity_tokens": 2,
    "sensitivity_draws": 1,
    "shown_queries": 1,
    "shown_keys": 1,
    "workers": 1,
}
