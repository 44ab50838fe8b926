"""States of finite quantum systems, their entanglement, and channels."""

from .channel import Channel, amplitude_damping, depolarising
from .density_matrix import (
    bell_state,
    check_density_matrix,
    partial_trace,
    partial_transpose,
    pure_state,
)
from .entanglement import concurrence, negativity

__all__ = [
    "Channel",
    "amplitude_damping",
    "bell_state",
    "check_density_matrix",
    "concurrence",
    "depolarising",
    "negativity",
    "partial_trace",
    "partial_transpose",
    "pure_state",
]
