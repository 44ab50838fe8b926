"""Attention over paths: the resolvent of the matrix of attention."""

from .interface import explain_resolvent_attention, resolvent_attention
from .reference import reference_resolvent_attention
from .state import ResolventState
from .walk import hops_for, walk

__all__ = [
    "ResolventState",
    "explain_resolvent_attention",
    "hops_for",
    "reference_resolvent_attention",
    "resolvent_attention",
    "walk",
]
