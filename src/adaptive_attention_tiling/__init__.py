"""Attention that reads far text in full only where it matters.

Every public name is loaded when it is first used, so importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .errors import AATError as AATError
    from .errors import ArgumentError as ArgumentError
    from .errors import DataError as DataError
    from .errors import MissingDependencyError as MissingDependencyError
    from .errors import UnsupportedError as UnsupportedError
    from .inference.cache import TiledCache as TiledCache
    from .layers.adaptive_tiled import AdaptiveAttentionConfig as AdaptiveAttentionConfig
    from .layers.adaptive_tiled import AdaptiveAttentionSystem as AdaptiveAttentionSystem
    from .layers.adaptive_tiled import AdaptiveTiledAttention as AdaptiveTiledAttention
    from .layers.state_space import AdaptiveMambaBlock as AdaptiveMambaBlock
    from .ops.fidelity_attention import explain_fidelity_attention as explain_fidelity_attention
    from .ops.fidelity_attention import fidelity_attention as fidelity_attention
    from .ops.gaussian_splat import explain_splat_attention as explain_splat_attention
    from .ops.gaussian_splat import splat_attention as splat_attention
    from .ops.linear_attention import MemoryState as MemoryState
    from .ops.linear_attention import linear_attention as linear_attention
    from .ops.selective_scan import selective_scan as selective_scan
    from .ops.tiled_attention import TiledAttentionConfig as TiledAttentionConfig
    from .ops.tiled_attention import explain as explain
    from .ops.tiled_attention import tiled_attention as tiled_attention
    from .splats import SplatField as SplatField
    from .tiling import CrossScaleRouter as CrossScaleRouter
    from .tiling import InformationDensityAnalyzer as InformationDensityAnalyzer
    from .tiling import TileManager as TileManager
    from .training import AdaptiveOptimizer as AdaptiveOptimizer

_HOME = {
    "AATError": ".errors",
    "AdaptiveAttentionConfig": ".layers.adaptive_tiled",
    "AdaptiveAttentionSystem": ".layers.adaptive_tiled",
    "AdaptiveMambaBlock": ".layers.state_space",
    "AdaptiveOptimizer": ".training",
    "AdaptiveTiledAttention": ".layers.adaptive_tiled",
    "ArgumentError": ".errors",
    "CrossScaleRouter": ".tiling",
    "DataError": ".errors",
    "InformationDensityAnalyzer": ".tiling",
    "MemoryState": ".ops.linear_attention",
    "MissingDependencyError": ".errors",
    "SplatField": ".splats",
    "TileManager": ".tiling",
    "TiledAttentionConfig": ".ops.tiled_attention",
    "TiledCache": ".inference.cache",
    "UnsupportedError": ".errors",
    "explain": ".ops.tiled_attention",
    "explain_fidelity_attention": ".ops.fidelity_attention",
    "explain_splat_attention": ".ops.gaussian_splat",
    "fidelity_attention": ".ops.fidelity_attention",
    "linear_attention": ".ops.linear_attention",
    "selective_scan": ".ops.selective_scan",
    "splat_attention": ".ops.gaussian_splat",
    "tiled_attention": ".ops.tiled_attention",
}

__all__ = ["__version__", *_HOME]

# Hidden from type checkers, which would otherwise accept any misspelt name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name], __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
