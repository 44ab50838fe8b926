"""Arithmetic: primes and heights, zeta and L-functions, motives and point counts."""

from .elliptic_curve import INFINITY, EllipticCurve, Point, Reduction
from .minimal_model import Substitution
from .primes import check_prime, factor, is_prime, primes_up_to, valuation
from .residue_symbols import jacobi_symbol, kronecker_symbol

__all__ = [
    "INFINITY",
    "EllipticCurve",
    "Point",
    "Reduction",
    "Substitution",
    "check_prime",
    "factor",
    "is_prime",
    "jacobi_symbol",
    "kronecker_symbol",
    "primes_up_to",
    "valuation",
]
