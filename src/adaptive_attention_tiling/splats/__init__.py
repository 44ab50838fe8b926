"""Gaussian splats: their values, their learnable field, how they start, change and when."""

from .apply import Statistic, apply_edit
from .edits import Edit, birth, death, merge, no_edit, relocate, split
from .field import Bounds, SplatField
from .moments import log_determinant, log_mass
from .splats import KINDS, Kind, Splats

__all__ = [
    "KINDS",
    "Bounds",
    "Edit",
    "Kind",
    "SplatField",
    "Splats",
    "Statistic",
    "apply_edit",
    "birth",
    "death",
    "log_determinant",
    "log_mass",
    "merge",
    "no_edit",
    "relocate",
    "split",
]
