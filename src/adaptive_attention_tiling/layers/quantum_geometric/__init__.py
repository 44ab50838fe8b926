"""Quantum geometric attention as a mixer."""

from .attention import AttentionState, QuantumGeometricAttention
from .config import QuantumGeometricAttentionConfig

__all__ = ["AttentionState", "QuantumGeometricAttention", "QuantumGeometricAttentionConfig"]
