"""Gaussian splat attention: pairs of tokens weighed through learned Gaussians, in linear time."""

from .field import Field
from .interface import explain_splat_attention, splat_attention
from .reference import reference_splat_attention, softmax_over_splat_sum_attention
from .step import SplatStepper

__all__ = [
    "Field",
    "SplatStepper",
    "explain_splat_attention",
    "reference_splat_attention",
    "softmax_over_splat_sum_attention",
    "splat_attention",
]
