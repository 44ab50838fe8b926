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
from .elliptic_curve import INFINITY, EllipticCurve, Point, Reduction
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
from .minimal_model import Substitution
from .primes import check_prime, factor, is_prime, primes_up_to, valuation
from .residue_symbols import jacobi_symbol, kronecker_symbol

__all__ = [
    "INFINITY",
    "EllipticCurve",
    "Point",
    "Reduction",
    "Substitution",
    "ZetaSummary",
    "artin_mazur_zeta",
    "bartholdi_determinant",
    "check_prime",
    "cycle_growth",
    "factor",
    "hashimoto_eigenvalues",
    "hashimoto_matrix",
    "hashimoto_product",
    "ihara_determinant",
    "ihara_polynomial",
    "is_prime",
    "jacobi_symbol",
    "kronecker_symbol",
    "orbits",
    "prime_cycles",
    "primes_up_to",
    "reduced_closed_walks",
    "shift_fixed_points",
    "shift_polynomial",
    "topological_entropy",
    "toral_fixed_points",
    "valuation",
    "zeta_series",
    "zeta_summary",
]
