"""Heights: the sizes of numbers, points and orbits, place by place."""

from .archimedean import (
    archimedean_height,
    exponential_height,
    running_exponential_height,
    smooth_archimedean_height,
)
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
    "algebraic_height",
    "archimedean_height",
    "coprime_coordinates",
    "count_rationals",
    "exponential_height",
    "local_heights",
    "multiplicative_height",
    "projective_height",
    "rational_height",
    "rationals_of_height",
    "running_exponential_height",
    "smooth_archimedean_height",
]
