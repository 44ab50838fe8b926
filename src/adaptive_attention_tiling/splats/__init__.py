"""Gaussian splats: their values, their learnable field, how they start, change and when."""

from .apply import Statistic, apply_edit
from .coverage import (
    Coverage,
    Gaps,
    measure_coverage,
    redundancy,
    squared_distances,
    typical_radius,
    uncovered,
)
from .edits import Edit, birth, death, merge, no_edit, relocate, split
from .field import Bounds, SplatField
from .history import ActivationHistory, activation
from .initial import INITIALIZERS, make_field
from .moments import log_determinant, log_mass
from .plan import Plan, plan_edits
from .policy import AdaptationConfig, AdaptationPolicy, AdaptationReport
from .shift import ShiftDetector, ShiftReport, energy_test
from .splats import KINDS, Kind, Splats

__all__ = [
    "INITIALIZERS",
    "KINDS",
    "ActivationHistory",
    "AdaptationConfig",
    "AdaptationPolicy",
    "AdaptationReport",
    "Bounds",
    "Coverage",
    "Edit",
    "Gaps",
    "Kind",
    "Plan",
    "ShiftDetector",
    "ShiftReport",
    "SplatField",
    "Splats",
    "Statistic",
    "activation",
    "apply_edit",
    "birth",
    "death",
    "energy_test",
    "log_determinant",
    "log_mass",
    "make_field",
    "measure_coverage",
    "merge",
    "no_edit",
    "plan_edits",
    "redundancy",
    "relocate",
    "split",
    "squared_distances",
    "typical_radius",
    "uncovered",
]
