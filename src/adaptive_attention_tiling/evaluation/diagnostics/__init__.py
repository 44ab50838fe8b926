"""What the attention of a head is like."""

from .attention_bridges import AttentionBridge, find_bridges, link_loads
from .attention_communities import AttentionCommunities, find_communities
from .attention_graph import attention_graph
from .attention_lattice import AttentionLattice, attention_lattice
from .attention_profile import AttentionProfile, attention_profile
from .attention_rows import AttentionRows, attention_at, attention_rows, one_of_each_stretch
from .attention_sinks import AttentionSink, find_sinks
from .compressibility import HeadCompressibility, head_compressibility
from .custom_pattern import MatrixPattern, OffsetPattern, Pattern, parse_pattern
from .figure_laws import check_laws
from .figures import FIGURES, Figure
from .head_chain import HeadChain, head_chain
from .head_entropy import HeadEntropy, head_entropy
from .head_figures import HeadFigures, head_figures
from .head_quality import head_quality
from .head_reach import HeadReach, head_reach
from .head_structure import CurvatureSummary, HeadStructure, curvature_summary, head_structure
from .key_bits import KeyBits, fixed_point_keys, key_bits
from .mixer_features import FeaturePair, mixer_features
from .mixer_fits import MixerFit, fit_to_rows, mixer_fits
from .pattern_match import MatchingHead, PatternMatch, match_pattern, matching_heads
from .pattern_response import PatternResponse, pattern_response
from .periodic_head import HeadPeriodicity, MaskMass, head_periodicity
from .shuffled_graph import shuffled_graphs

__all__ = [
    "FIGURES",
    "AttentionBridge",
    "AttentionCommunities",
    "AttentionLattice",
    "AttentionProfile",
    "AttentionRows",
    "AttentionSink",
    "CurvatureSummary",
    "FeaturePair",
    "Figure",
    "HeadChain",
    "HeadCompressibility",
    "HeadEntropy",
    "HeadFigures",
    "HeadPeriodicity",
    "HeadReach",
    "HeadStructure",
    "KeyBits",
    "MaskMass",
    "MatchingHead",
    "MatrixPattern",
    "MixerFit",
    "OffsetPattern",
    "Pattern",
    "PatternMatch",
    "PatternResponse",
    "attention_at",
    "attention_graph",
    "attention_lattice",
    "attention_profile",
    "attention_rows",
    "check_laws",
    "curvature_summary",
    "find_bridges",
    "find_communities",
    "find_sinks",
    "fit_to_rows",
    "fixed_point_keys",
    "head_chain",
    "head_compressibility",
    "head_entropy",
    "head_figures",
    "head_periodicity",
    "head_quality",
    "head_reach",
    "head_structure",
    "key_bits",
    "link_loads",
    "match_pattern",
    "matching_heads",
    "mixer_features",
    "mixer_fits",
    "one_of_each_stretch",
    "parse_pattern",
    "pattern_response",
    "shuffled_graphs",
]
