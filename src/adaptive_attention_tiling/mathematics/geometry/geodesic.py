"""Geodesics: curves whose velocity is parallel along themselves."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class GeodesicFlow:
    """A geodesic of each pair of a point and a velocity, read at some times.

    Args:
        times: [t].
        positions, velocities: [t, *b, *p], with p the shape of a point.
    """

    times: Float[Tensor, " t"]
    positions: Tensor
    velocities: Tensor
