"""How models learn."""

from .adaptation import FieldAdaptation
from .adaptive import AdaptiveOptimizer, StepReport
from .loop import TrainingConfig, TrainingResult, train

__all__ = [
    "AdaptiveOptimizer",
    "FieldAdaptation",
    "StepReport",
    "TrainingConfig",
    "TrainingResult",
    "train",
]
