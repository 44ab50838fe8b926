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
from .exponential_family import (
    ExponentialFamily,
    categorical_log_partition,
    normal_log_partition,
    poisson_log_partition,
)
from .model_fisher import EmpiricalFisher, head_gradients, natural_gradient, per_sample_gradients
from .multivariate_fisher_rao import MultivariateNormalFisherRao
from .multivariate_normal import (
    MultivariateNormal,
    normal_entropy,
    normal_hellinger_distance,
    normal_jeffreys_divergence,
    normal_kl_divergence,
    normal_mutual_information,
    normal_renyi_divergence,
    normal_wasserstein_distance,
)
from .normal import NormalFisherRao
from .simplex import check_interior, check_probabilities
from .softmax import SoftmaxFamily, head_variance, low_rank_factor
from .transfer_entropy import (
    discrete_transfer_entropy,
    normal_transfer_entropy,
    stationary_covariance,
)

__all__ = [
    "CategoricalFisherRao",
    "EmpiricalFisher",
    "ExponentialFamily",
    "MultivariateNormal",
    "MultivariateNormalFisherRao",
    "NormalFisherRao",
    "SoftmaxFamily",
    "alpha_divergence",
    "bregman_divergence",
    "categorical_log_partition",
    "check_interior",
    "check_probabilities",
    "chi_square_divergence",
    "conditional_entropy",
    "conditional_mutual_information",
    "cross_entropy",
    "discrete_transfer_entropy",
    "head_gradients",
    "head_variance",
    "hellinger_distance",
    "jeffreys_divergence",
    "jensen_shannon_divergence",
    "joint_entropy",
    "kl_divergence",
    "low_rank_factor",
    "min_entropy",
    "mutual_information",
    "natural_gradient",
    "negative_entropy",
    "normal_entropy",
    "normal_hellinger_distance",
    "normal_jeffreys_divergence",
    "normal_kl_divergence",
    "normal_log_partition",
    "normal_mutual_information",
    "normal_renyi_divergence",
    "normal_transfer_entropy",
    "normal_wasserstein_distance",
    "per_sample_gradients",
    "poisson_log_partition",
    "renyi_divergence",
    "renyi_entropy",
    "reverse_kl_divergence",
    "shannon_entropy",
    "stationary_covariance",
    "total_variation",
    "tsallis_entropy",
]
