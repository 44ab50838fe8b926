"""All figures of a head, group by group."""

from __future__ import annotations

from .figure import Figure
from .figures_of_heads import FIGURES_OF_HEADS
from .figures_of_rows import FIGURES_OF_ROWS

FIGURES: tuple[Figure, ...] = (*FIGURES_OF_ROWS, *FIGURES_OF_HEADS)

__all__ = ["FIGURES", "Figure"]
