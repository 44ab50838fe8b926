"""Tolerances, comparisons and laws for tests of this package and of code built on it."""

from .compare import assert_bit_equal, assert_causal, assert_close, assert_monotone
from .laws import (
    Crystal,
    FlowValidation,
    LawReport,
    MetricValidation,
    Moments,
    PatternValidation,
    QuantumValidation,
    Rescaling,
)
from .steps import SteppedText, assert_same_memory
from .tolerances import TOLERANCES, Tolerance, tolerance

__all__ = [
    "TOLERANCES",
    "Crystal",
    "FlowValidation",
    "LawReport",
    "MetricValidation",
    "Moments",
    "PatternValidation",
    "QuantumValidation",
    "Rescaling",
    "SteppedText",
    "Tolerance",
    "assert_bit_equal",
    "assert_causal",
    "assert_close",
    "assert_monotone",
    "assert_same_memory",
    "tolerance",
]
