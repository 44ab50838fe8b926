"""Fidelity attention tile by tile: own-tile patterns flow, all other tiles are read by sums."""

from .interface import quantum_geometric_attention
from .pattern_flow import (
    AttentionFlowMetrics,
    PatternFlow,
    dirichlet_energy,
    flow_patterns,
    measured_flow,
)
from .patterns import TilePatterns, tile_patterns
from .rows import RouteShares
from .state import QuantumGeometricState

__all__ = [
    "AttentionFlowMetrics",
    "PatternFlow",
    "QuantumGeometricState",
    "RouteShares",
    "TilePatterns",
    "dirichlet_energy",
    "flow_patterns",
    "measured_flow",
    "quantum_geometric_attention",
    "tile_patterns",
]
