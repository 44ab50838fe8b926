"""What the attention of a head is like."""

from .attention_graph import attention_graph
from .attention_lattice import AttentionLattice, attention_lattice
from .attention_rows import AttentionRows, attention_rows
from .head_structure import CurvatureSummary, HeadStructure, curvature_summary, head_structure
from .periodic_head import HeadPeriodicity, MaskMass, head_periodicity

__all__ = [
    "AttentionLattice",
    "AttentionRows",
    "CurvatureSummary",
    "HeadPeriodicity",
    "HeadStructure",
    "MaskMass",
    "attention_graph",
    "attention_lattice",
    "attention_rows",
    "curvature_summary",
    "head_periodicity",
    "head_structure",
]
