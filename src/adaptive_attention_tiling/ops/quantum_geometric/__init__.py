"""Fidelity attention tile by tile: own-tile patterns flow, all other tiles are read by sums."""

from .interface import RouteShares, quantum_geometric_attention
from .pattern_flow import (
    AttentionFlowMetrics,
    PatternFlow,
    dirichlet_energy,
    flow_patterns,
    measured_flow,
)
from .state import QuantumGeometricState

__all__ = [
    "AttentionFlowMetrics",
    "PatternFlow",
    "QuantumGeometricState",
    "RouteShares",
    "dirichlet_energy",
    "flow_patterns",
    "measured_flow",
    "quantum_geometric_attention",
]
