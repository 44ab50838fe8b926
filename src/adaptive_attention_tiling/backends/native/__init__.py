"""Kernels compiled ahead of time (sources: csrc/), and which of them run here."""

from .library import Library, fill
from .operators import fake_of, operator
from .selection import (
    FOLDER_VARIABLE,
    INSTRUCTION_SETS,
    VARIABLE,
    Choice,
    availability,
    choice,
    library,
    runnable_sets,
)

__all__ = [
    "FOLDER_VARIABLE",
    "INSTRUCTION_SETS",
    "VARIABLE",
    "Choice",
    "Library",
    "availability",
    "choice",
    "fake_of",
    "fill",
    "library",
    "operator",
    "runnable_sets",
]
