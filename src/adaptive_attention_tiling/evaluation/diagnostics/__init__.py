"""What the attention of a head is like."""

from .attention_graph import attention_graph
from .head_structure import CurvatureSummary, HeadStructure, curvature_summary, head_structure

__all__ = [
    "CurvatureSummary",
    "HeadStructure",
    "attention_graph",
    "curvature_summary",
    "head_structure",
]
