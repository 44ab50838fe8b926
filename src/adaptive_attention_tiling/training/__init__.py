"""How models learn."""

from .loop import TrainingConfig, TrainingResult, train

__all__ = ["TrainingConfig", "TrainingResult", "train"]
