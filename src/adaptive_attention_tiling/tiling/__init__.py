"""Adaptive tiling: where a text is dense, how it is cut, and how well the cut works."""

from .attention_entropy import attention_entropy, entropy_of_probabilities
from .density import DensityState, InformationDensityAnalyzer
from .fisher import FisherMetric
from .metric import AbstractMetric, DiagonalMetric, LowRankMetric
from .positions import encoding_distance, temporal_distance
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
    "ResolutionField",
    "adapt_resolution",
    "attention_entropy",
    "compute_share",
    "encoding_distance",
    "entropy_of_probabilities",
    "expected_loss",
    "temporal_distance",
]
