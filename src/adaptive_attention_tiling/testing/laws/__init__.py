"""The specification's validation classes: laws that users run on objects of their own.

Each method looks at an object, measures how far it is from a law, and returns a `LawReport`: the
measured quantity, its bounds, the verdict, where the worst case was, and what is not shown.

    >>> import torch
    >>> from adaptive_attention_tiling.testing.laws import MetricValidation
    >>> points = torch.tensor([[0.3, 1.0], [-1.0, 2.0]], dtype=torch.float64)
    >>> def half_plane(x):
    ...     return torch.eye(2, dtype=x.dtype) / x[..., 1, None, None] ** 2
    >>> laws = MetricValidation(points=points)
    >>> report = laws.check_curvature_bounds(half_plane, bounds=(-1.0, 0.0))
    >>> bool(report), round(report.measured, 9), report.cases
    (True, -1.0, 4)
    >>> print(laws.check_curvature_bounds(half_plane, bounds=(-0.5, 0.0)).holds)
    False

`report.require()` raises an AssertionError with the whole sentence, for tests; `all` of each class
runs every law that there are arguments for.
"""

from .flow import FlowValidation
from .metric import MetricValidation
from .pattern import PatternValidation
from .quantum import QuantumValidation
from .report import LawReport
from .rescaling import Rescaling
from .symmetry_group import Crystal
from .uncertainty import Moments

__all__ = [
    "Crystal",
    "FlowValidation",
    "LawReport",
    "MetricValidation",
    "Moments",
    "PatternValidation",
    "QuantumValidation",
    "Rescaling",
]
