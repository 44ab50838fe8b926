"""What a figure of a head is called, counts in, may be, and tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BLOCKS = 64
"""Most parts of a text between which attention is a walk."""
GRAPH_TOKENS = 128
"""Most tokens between which the graph of strongest links is looked at."""


@dataclass(frozen=True)
class Figure:
    """One number that every head has.

    Args:
        name: its key among the values.
        title: for headings.
        group: figures of a group belong on one page.
        unit: what it counts in; "" for plain numbers.
        low, high: the bounds that a law gives, whatever the text; None where there is none.
        explanation: a sentence or two for a reader.
        may_lack: whether some heads or texts have none, which NaN says.
        most: an upper bound that grows with the tokens of the text, beside `high`.
    """

    name: str
    title: str
    group: str
    unit: str
    low: float | None
    high: float | None
    explanation: str
    may_lack: bool = False
    most: Callable[[int], float] | None = None

    def limits(self, tokens: int) -> tuple[float | None, float | None]:
        """Bounds for a text of so many tokens: the tighter of `high` and `most`."""
        if self.most is None:
            return self.low, self.high
        grown = self.most(tokens)
        return self.low, grown if self.high is None else min(self.high, grown)
