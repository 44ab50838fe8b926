"""Mixers, which let tokens talk to each other, and the networks between them, as modules."""

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from .adaptive_tiled import (
    AdaptiveAttentionConfig,
    AdaptiveAttentionSystem,
    AdaptiveTiledAttention,
    AdaptiveTiledAttentionConfig,
)
from .fidelity import FidelityAttention, FidelityAttentionConfig
from .gates import GateConfig
from .gaussian_splat import (
    GaussianSplatAttention,
    GaussianSplatAttentionConfig,
    GaussianSplatCrossAttention,
    SplatFieldConfig,
)
from .linear import LinearAttention, LinearAttentionConfig
from .mixer import AbstractMixer, MixerState
from .projections import ProjectionConfig
from .quantum_geometric import QuantumGeometricAttention, QuantumGeometricAttentionConfig
from .resolvent import ResolventAttention, ResolventAttentionConfig
from .reversible import LeapfrogLayer, ReversibleStack, reversible_leapfrog
from .softmax import SoftmaxAttention, SoftmaxAttentionConfig, SoftmaxCrossAttention
from .state_preparation import StatePreparation
from .state_space import AdaptiveMambaBlock, StateSpaceConfig, VariableStateSpaceModel

MixerConfig = (
    SoftmaxAttentionConfig
    | GaussianSplatAttentionConfig
    | FidelityAttentionConfig
    | LinearAttentionConfig
    | ResolventAttentionConfig
    | StateSpaceConfig
    | AdaptiveTiledAttentionConfig
    | AdaptiveAttentionConfig
    | QuantumGeometricAttentionConfig
)

_MIXERS: dict[type, Callable[[Any], AbstractMixer | AdaptiveMambaBlock]] = {
    AdaptiveAttentionConfig: AdaptiveAttentionSystem.from_config,
    AdaptiveTiledAttentionConfig: AdaptiveTiledAttention,
    FidelityAttentionConfig: FidelityAttention,
    GaussianSplatAttentionConfig: GaussianSplatAttention,
    LinearAttentionConfig: LinearAttention,
    QuantumGeometricAttentionConfig: QuantumGeometricAttention.from_config,
    ResolventAttentionConfig: ResolventAttention,
    SoftmaxAttentionConfig: SoftmaxAttention,
    StateSpaceConfig: AdaptiveMambaBlock.from_config,
}


def make_mixer(config: MixerConfig) -> AbstractMixer | AdaptiveMambaBlock:
    """The mixer that a config describes."""
    if type(config) not in _MIXERS:
        names = ", ".join(kind.__name__ for kind in _MIXERS)
        raise ArgumentError("config", repr(config), f"one of {names}", "pass a mixer's config")
    return _MIXERS[type(config)](config)


def mixer_width(config: MixerConfig) -> int:
    """C of the model that a mixer is for."""
    return config.width if isinstance(config, StateSpaceConfig) else config.projection.width


__all__ = [
    "AbstractMixer",
    "AdaptiveAttentionConfig",
    "AdaptiveAttentionSystem",
    "AdaptiveMambaBlock",
    "AdaptiveTiledAttention",
    "AdaptiveTiledAttentionConfig",
    "FidelityAttention",
    "FidelityAttentionConfig",
    "GateConfig",
    "GaussianSplatAttention",
    "GaussianSplatAttentionConfig",
    "GaussianSplatCrossAttention",
    "LeapfrogLayer",
    "LinearAttention",
    "LinearAttentionConfig",
    "MixerConfig",
    "MixerState",
    "ProjectionConfig",
    "QuantumGeometricAttention",
    "QuantumGeometricAttentionConfig",
    "ResolventAttention",
    "ResolventAttentionConfig",
    "ReversibleStack",
    "SoftmaxAttention",
    "SoftmaxAttentionConfig",
    "SoftmaxCrossAttention",
    "SplatFieldConfig",
    "StatePreparation",
    "StateSpaceConfig",
    "VariableStateSpaceModel",
    "make_mixer",
    "mixer_width",
    "reversible_leapfrog",
]
