"""Quantum geometric attention as a mixer."""

from .attention import QuantumGeometricAttention
from .attention_state import AttentionState
from .config import QuantumGeometricAttentionConfig
from .metrics import AttentionMetrics

__all__ = [
    "AttentionMetrics",
    "AttentionState",
    "QuantumGeometricAttention",
    "QuantumGeometricAttentionConfig",
]
