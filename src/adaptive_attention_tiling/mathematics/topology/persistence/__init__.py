"""Persistent homology of sparse weighted graphs."""

from .diagram import Diagram
from .persistence import persistence

__all__ = ["Diagram", "persistence"]
