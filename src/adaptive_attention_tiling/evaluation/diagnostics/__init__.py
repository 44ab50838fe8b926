"""What the attention of a head is like."""

from .attention_graph import attention_graph
from .attention_lattice import AttentionLattice, attention_lattice
from .head_structure import CurvatureSummary, HeadStructure, curvature_summary, head_structure
from .periodic_head import HeadPeriodicity, MaskMass, head_periodicity

__all__ = [
    "AttentionLattice",
    "CurvatureSummary",
    "HeadPeriodicity",
    "HeadStructure",
    "MaskMass",
    "attention_graph",
    "attention_lattice",
    "curvature_summary",
    "head_periodicity",
    "head_structure",
]
