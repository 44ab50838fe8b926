"""The level-of-detail pyramid over key space, with second-order moments and rigorous bounds."""

from .bounds import (
    Estimate,
    LogitSpread,
    bennett,
    growth_bound,
    guarded,
    hoeffding,
    log_misread,
    logit_spread,
)
from .cut import KeyCut
from .moments import AbstractMoments, LowRankMoments, NodeMoments, merged, moments_of_tokens
from .read import TreeRead
from .tree import KeyTree

__all__ = [
    "AbstractMoments",
    "Estimate",
    "KeyCut",
    "KeyTree",
    "LogitSpread",
    "LowRankMoments",
    "NodeMoments",
    "TreeRead",
    "bennett",
    "growth_bound",
    "guarded",
    "hoeffding",
    "log_misread",
    "logit_spread",
    "merged",
    "moments_of_tokens",
]
