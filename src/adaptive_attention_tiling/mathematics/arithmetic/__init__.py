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
from .dirichlet import (
    DirichletCharacter,
    completed_dirichlet_l,
    dirichlet_characters,
    dirichlet_l,
    kronecker_character,
)
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
from .zeta import (
    completed_zeta,
    hardy_z,
    hurwitz_zeta,
    hurwitz_zeta_less_pole,
    riemann_siegel_theta,
    riemann_zeta,
    zeta_zeros,
)

__all__ = [
    "INFINITY",
    "DirichletCharacter",
    "EllipticCurve",
    "Point",
    "Reduction",
    "Substitution",
    "ZetaSummary",
    "artin_mazur_zeta",
    "bartholdi_determinant",
    "check_prime",
    "completed_dirichlet_l",
    "completed_zeta",
    "cycle_growth",
    "dirichlet_characters",
    "dirichlet_l",
    "factor",
    "hardy_z",
    "hashimoto_eigenvalues",
    "hashimoto_matrix",
    "hashimoto_product",
    "hurwitz_zeta",
    "hurwitz_zeta_less_pole",
    "ihara_determinant",
    "ihara_polynomial",
    "is_prime",
    "jacobi_symbol",
    "kronecker_character",
    "kronecker_symbol",
    "orbits",
    "prime_cycles",
    "primes_up_to",
    "reduced_closed_walks",
    "riemann_siegel_theta",
    "riemann_zeta",
    "shift_fixed_points",
    "shift_polynomial",
    "topological_entropy",
    "toral_fixed_points",
    "valuation",
    "zeta_series",
    "zeta_summary",
    "zeta_zeros",
]
