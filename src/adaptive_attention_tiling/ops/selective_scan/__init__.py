"""Selective state spaces (Mamba, S6) whose tokens may use the first channels of the state only."""

from .interface import selective_scan
from .scan import explain_selective_scan
from .state import ScanState
from .step import selective_step
from .tiles import tile_contributions
from .widths import channels_used

__all__ = [
    "ScanState",
    "channels_used",
    "explain_selective_scan",
    "selective_scan",
    "selective_step",
    "tile_contributions",
]
