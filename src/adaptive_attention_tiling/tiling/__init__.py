"""Adaptive tiling: where a text is dense, how it is cut, and how well the cut works."""

from .attention_entropy import attention_entropy, entropy_of_probabilities
from .density import DensityState, InformationDensityAnalyzer
from .fisher import FisherMetric
from .metric import AbstractMetric, DiagonalMetric, LowRankMetric
from .positions import encoding_distance, temporal_distance

__all__ = [
    "AbstractMetric",
    "DensityState",
    "DiagonalMetric",
    "FisherMetric",
    "InformationDensityAnalyzer",
    "LowRankMetric",
    "attention_entropy",
    "encoding_distance",
    "entropy_of_probabilities",
    "temporal_distance",
]
