"""How models learn."""

from .adaptation import FieldAdaptation
from .loop import TrainingConfig, TrainingResult, train

__all__ = ["FieldAdaptation", "TrainingConfig", "TrainingResult", "train"]
