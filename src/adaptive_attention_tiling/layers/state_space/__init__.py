"""Selective state spaces whose state can be used in part, and can change its size."""

from .block import AdaptiveMambaBlock, StateSpaceConfig
from .model import StateRates, VariableStateSpaceModel

__all__ = ["AdaptiveMambaBlock", "StateRates", "StateSpaceConfig", "VariableStateSpaceModel"]
