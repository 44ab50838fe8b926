"""Kernels compiled ahead of time (sources: csrc/), and which of them run here."""

from .library import (
    INSTRUCTION_SETS,
    VARIABLE,
    Choice,
    Library,
    choice,
    fill,
    library,
    runnable_sets,
)

__all__ = [
    "INSTRUCTION_SETS",
    "VARIABLE",
    "Choice",
    "Library",
    "choice",
    "fill",
    "library",
    "runnable_sets",
]
