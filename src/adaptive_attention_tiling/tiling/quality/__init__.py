"""How well tiles carry information, and at what price."""

from .edges import edge_utilization, tile_distributions
from .efficiency import adaptation_efficiency, compute_to_efficiency_ratio, load_imbalance
from .flow import cross_tile_flow
from .information import information_density
from .part import QualityPart
from .report import QualityReport, QualityWeights, information_flow_quality
from .stability import pattern_stability

__all__ = [
    "QualityPart",
    "QualityReport",
    "QualityWeights",
    "adaptation_efficiency",
    "compute_to_efficiency_ratio",
    "cross_tile_flow",
    "edge_utilization",
    "information_density",
    "information_flow_quality",
    "load_imbalance",
    "pattern_stability",
    "tile_distributions",
]
