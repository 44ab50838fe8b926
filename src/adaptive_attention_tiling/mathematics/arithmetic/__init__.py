"""Arithmetic: primes and heights, zeta and L-functions, motives and point counts."""

from .artin_mazur import (
    artin_mazur_zeta,
    orbits,
    shift_fixed_points,
    shift_polynomial,
    topological_entropy,
    toral_fixed_points,
    zeta_series,
)
from .cycle_growth import ZetaSummary, cycle_growth, zeta_summary
from .graph_zeta import (
    bartholdi_determinant,
    hashimoto_eigenvalues,
    hashimoto_matrix,
    hashimoto_product,
    ihara_determinant,
    ihara_polynomial,
    prime_cycles,
    reduced_closed_walks,
)

__all__ = [
    "ZetaSummary",
    "artin_mazur_zeta",
    "bartholdi_determinant",
    "cycle_growth",
    "hashimoto_eigenvalues",
    "hashimoto_matrix",
    "hashimoto_product",
    "ihara_determinant",
    "ihara_polynomial",
    "orbits",
    "prime_cycles",
    "reduced_closed_walks",
    "shift_fixed_points",
    "shift_polynomial",
    "topological_entropy",
    "toral_fixed_points",
    "zeta_series",
    "zeta_summary",
]
