"""Pictures of what attention read, as files that need nothing else to be looked at."""

from .inspection_report import render_inspection
from .plot import Series
from .reading_report import Continuation, Panel, ReadingReport, Setting, render

__all__ = [
    "Continuation",
    "Panel",
    "ReadingReport",
    "Series",
    "Setting",
    "render",
    "render_inspection",
]
