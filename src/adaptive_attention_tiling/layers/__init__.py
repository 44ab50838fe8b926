"""Mixers, which let tokens talk to each other, and the networks between them, as modules."""

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from .adaptive_tiled import AdaptiveTiledAttention, AdaptiveTiledAttentionConfig
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
from .softmax import SoftmaxAttention, SoftmaxAttentionConfig, SoftmaxCrossAttention

MixerConfig = (
    SoftmaxAttentionConfig
    | GaussianSplatAttentionConfig
    | FidelityAttentionConfig
    | LinearAttentionConfig
    | AdaptiveTiledAttentionConfig
)

_MIXERS: dict[type, Callable[[Any], AbstractMixer]] = {
    AdaptiveTiledAttentionConfig: AdaptiveTiledAttention,
    FidelityAttentionConfig: FidelityAttention,
    GaussianSplatAttentionConfig: GaussianSplatAttention,
    LinearAttentionConfig: LinearAttention,
    SoftmaxAttentionConfig: SoftmaxAttention,
}


def make_mixer(config: MixerConfig) -> AbstractMixer:
    """The mixer that a config describes."""
    if type(config) not in _MIXERS:
        names = ", ".join(kind.__name__ for kind in _MIXERS)
        raise ArgumentError("config", repr(config), f"one of {names}", "pass a mixer's config")
    return _MIXERS[type(config)](config)


__all__ = [
    "AbstractMixer",
    "AdaptiveTiledAttention",
    "AdaptiveTiledAttentionConfig",
    "FidelityAttention",
    "FidelityAttentionConfig",
    "GateConfig",
    "GaussianSplatAttention",
    "GaussianSplatAttentionConfig",
    "GaussianSplatCrossAttention",
    "LinearAttention",
    "LinearAttentionConfig",
    "MixerConfig",
    "MixerState",
    "ProjectionConfig",
    "SoftmaxAttention",
    "SoftmaxAttentionConfig",
    "SoftmaxCrossAttention",
    "SplatFieldConfig",
    "make_mixer",
]
