"""Fidelity attention: pairs of tokens weighed by the fidelity of two states, in linear time."""

from .interface import explain_fidelity_attention, fidelity_attention
from .kernel import FidelityKernel
from .reference import reference_fidelity_attention
from .step import FidelityStepper

__all__ = [
    "FidelityKernel",
    "FidelityStepper",
    "explain_fidelity_attention",
    "fidelity_attention",
    "reference_fidelity_attention",
]
