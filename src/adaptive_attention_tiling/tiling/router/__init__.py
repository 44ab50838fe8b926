"""Routing of states between tiles of different resolution."""

from .cross_scale import MODES, CrossScaleRouter, routing_weights

__all__ = ["MODES", "CrossScaleRouter", "routing_weights"]
