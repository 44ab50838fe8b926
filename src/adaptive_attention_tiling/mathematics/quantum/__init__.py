"""States of finite quantum systems, what can be measured of them, paths and lattice fields."""

from .channel import Channel, amplitude_damping, depolarising
from .density_matrix import (
    bell_state,
    check_density_matrix,
    partial_trace,
    partial_transpose,
    pauli_matrices,
    pure_state,
)
from .distance import bures_angle, bures_distance, fidelity, trace_distance
from .entanglement import (
    chsh_maximum,
    concurrence,
    decomposable_witness,
    log_negativity,
    negativity,
    projector_witness,
)
from .entropy import (
    mutual_information,
    purity,
    relative_entropy,
    renyi_entropy,
    von_neumann_entropy,
)

__all__ = [
    "Channel",
    "amplitude_damping",
    "bell_state",
    "bures_angle",
    "bures_distance",
    "check_density_matrix",
    "chsh_maximum",
    "concurrence",
    "decomposable_witness",
    "depolarising",
    "fidelity",
    "log_negativity",
    "mutual_information",
    "negativity",
    "partial_trace",
    "partial_transpose",
    "pauli_matrices",
    "projector_witness",
    "pure_state",
    "purity",
    "relative_entropy",
    "renyi_entropy",
    "trace_distance",
    "von_neumann_entropy",
]
