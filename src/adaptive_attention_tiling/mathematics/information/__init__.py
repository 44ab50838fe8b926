"""Information geometry: Fisher-Rao metrics, divergences, entropies, flow of information."""

from .categorical import CategoricalFisherRao
from .divergence import (
    alpha_divergence,
    bregman_divergence,
    chi_square_divergence,
    hellinger_distance,
    jeffreys_divergence,
    jensen_shannon_divergence,
    kl_divergence,
    negative_entropy,
    renyi_divergence,
    reverse_kl_divergence,
    total_variation,
)
from .entropy import (
    conditional_entropy,
    conditional_mutual_information,
    cross_entropy,
    joint_entropy,
    min_entropy,
    mutual_information,
    renyi_entropy,
    shannon_entropy,
    tsallis_entropy,
)
from .normal import NormalFisherRao
from .simplex import check_interior, check_probabilities
from .softmax import SoftmaxFamily, head_variance, low_rank_factor

__all__ = [
    "CategoricalFisherRao",
    "NormalFisherRao",
    "SoftmaxFamily",
    "alpha_divergence",
    "bregman_divergence",
    "check_interior",
    "check_probabilities",
    "chi_square_divergence",
    "conditional_entropy",
    "conditional_mutual_information",
    "cross_entropy",
    "head_variance",
    "hellinger_distance",
    "jeffreys_divergence",
    "jensen_shannon_divergence",
    "joint_entropy",
    "kl_divergence",
    "low_rank_factor",
    "min_entropy",
    "mutual_information",
    "negative_entropy",
    "renyi_divergence",
    "renyi_entropy",
    "reverse_kl_divergence",
    "shannon_entropy",
    "total_variation",
    "tsallis_entropy",
]
