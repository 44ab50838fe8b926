"""Sequence tasks with a known optimum, for asking what an attention mixer can remember."""

from .associative_recall import AssociativeRecall
from .batch import IGNORED, Task, TokenBatch
from .copying import Copy
from .induction import Induction
from .needle import Needle
from .selective_copy import SelectiveCopy
from .shifting_clusters import ShiftingClusters

__all__ = [
    "IGNORED",
    "AssociativeRecall",
    "Copy",
    "Induction",
    "Needle",
    "SelectiveCopy",
    "ShiftingClusters",
    "Task",
    "TokenBatch",
]
