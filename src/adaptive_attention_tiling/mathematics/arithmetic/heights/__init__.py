"""Heights: the sizes of numbers, points and orbits, place by place."""

from .archimedean import (
    archimedean_height,
    exponential_height,
    running_exponential_height,
    smooth_archimedean_height,
)
from .arithmetic_height import arithmetic_height
from .call_silverman import call_silverman_height, call_silverman_local_heights, finite_green
from .difference import height_bounds, is_preperiodic, lower_bound_factor, preperiod
from .elliptic import (
    Normalisation,
    archimedean_local_height,
    canonical_height,
    elliptic_local_heights,
    finite_local_height,
    height_pairing,
    regulator,
)
from .green_function import green_function, polynomial_green_function
from .reference import naive_call_silverman_height, naive_canonical_height
from .weil import (
    algebraic_height,
    coprime_coordinates,
    count_rationals,
    local_heights,
    multiplicative_height,
    projective_height,
    rational_height,
    rationals_of_height,
)

__all__ = [
    "Normalisation",
    "algebraic_height",
    "archimedean_height",
    "archimedean_local_height",
    "arithmetic_height",
    "call_silverman_height",
    "call_silverman_local_heights",
    "canonical_height",
    "coprime_coordinates",
    "count_rationals",
    "elliptic_local_heights",
    "exponential_height",
    "finite_green",
    "finite_local_height",
    "green_function",
    "height_bounds",
    "height_pairing",
    "is_preperiodic",
    "local_heights",
    "lower_bound_factor",
    "multiplicative_height",
    "naive_call_silverman_height",
    "naive_canonical_height",
    "polynomial_green_function",
    "preperiod",
    "projective_height",
    "rational_height",
    "rationals_of_height",
    "regulator",
    "running_exponential_height",
    "smooth_archimedean_height",
]
