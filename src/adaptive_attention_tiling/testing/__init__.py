"""Tolerances and comparisons for tests of this package and of code built on it."""

from .compare import assert_bit_equal, assert_causal, assert_close, assert_monotone
from .tolerances import TOLERANCES, Tolerance, tolerance

__all__ = [
    "TOLERANCES",
    "Tolerance",
    "assert_bit_equal",
    "assert_causal",
    "assert_close",
    "assert_monotone",
    "tolerance",
]
