"""Adaptive tiling: where a text is dense, how it is cut, and how well the cut works."""

from .attention_entropy import attention_entropy, entropy_of_probabilities
from .density import DensityState, InformationDensityAnalyzer
from .fisher import FisherMetric
from .metric import AbstractMetric, DiagonalMetric, LowRankMetric
from .positions import encoding_distance, temporal_distance
from .quality import (
    QualityPart,
    QualityReport,
    QualityWeights,
    adaptation_efficiency,
    compute_to_efficiency_ratio,
    cross_tile_flow,
    edge_utilization,
    information_density,
    information_flow_quality,
    load_imbalance,
    pattern_stability,
    tile_distributions,
)
from .resolution import (
    AbstractEnergy,
    PricedEnergy,
    QuadraticEnergy,
    ResolutionField,
    adapt_resolution,
    compute_share,
    expected_loss,
)

__all__ = [
    "AbstractEnergy",
    "AbstractMetric",
    "DensityState",
    "DiagonalMetric",
    "FisherMetric",
    "InformationDensityAnalyzer",
    "LowRankMetric",
    "PricedEnergy",
    "QuadraticEnergy",
    "QualityPart",
    "QualityReport",
    "QualityWeights",
    "ResolutionField",
    "adapt_resolution",
    "adaptation_efficiency",
    "attention_entropy",
    "compute_share",
    "compute_to_efficiency_ratio",
    "cross_tile_flow",
    "edge_utilization",
    "encoding_distance",
    "entropy_of_probabilities",
    "expected_loss",
    "information_density",
    "information_flow_quality",
    "load_imbalance",
    "pattern_stability",
    "temporal_distance",
    "tile_distributions",
]
