"""What quantum geometric attention is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from ...errors import ArgumentError
from ...ops.fidelity_attention.interface import BACKGROUND, check_background
from ..projections import ProjectionConfig
from ..sizes import check_sizes


@dataclass(frozen=True, kw_only=True)
class QuantumGeometricAttentionConfig:
    """Quantum geometric attention; each stage can be switched off.

    On by default is what paid for its time in recall and a small language model: states with a part
    along one axis ("projective"). Flow, heights, routes and hyperbolic points ("lorentz") did not;
    experiments/quantum_geometric.py says by how much.

    Args:
        projection: its `query_width` is `manifold_dim`; leave it out.
        geometry: "lorentz": queries and keys are points of hyperbolic space. "projective": they
            are vectors t, the coordinates of states (1, t / R) that have a part along one axis.
            "flat": they are vectors, whose numbers are the amplitudes of states as they are.
        radius: R > 0 of hyperbolic space, whose curvature is -1 / R^2, or of those coordinates.
        manifold_dim: numbers that a head's projection gives; a state has one amplitude more if the
            geometry is not "flat".
        num_layers: steps of the flow of own-tile patterns; 0 for none.
        motive_rank: local heights that weigh a key; 0 for none.
        tile_size: tokens of a tile.
        routes: S memories that tiles are written to and queries read; 0 lets all tiles weigh alike.
        dropout: share of the heads' outputs that training leaves out.
        background: weight of keys whose state is orthogonal to the query's.
    """

    projection: ProjectionConfig
    geometry: Literal["lorentz", "projective", "flat"] = "projective"
    radius: float = 1.0
    manifold_dim: int = 16
    num_layers: int = 0
    motive_rank: int = 0
    tile_size: int = 16
    routes: int = 0
    dropout: float = 0.0
    background: float = BACKGROUND

    def __post_init__(self) -> None:
        if self.geometry not in ("lorentz", "projective", "flat"):
            raise ArgumentError(
                "geometry",
                repr(self.geometry),
                "lorentz, projective or flat",
                "check the spelling",
            )
        if not 0 < self.radius < math.inf:
            raise ArgumentError("radius", self.radius, "a finite length > 0", "use 1.0")
        check_sizes(self, "manifold_dim", "tile_size")
        check_sizes(self, "num_layers", "motive_rank", "routes", least=0)
        if not 0 <= self.dropout < 1:
            raise ArgumentError("dropout", self.dropout, "a share in [0, 1)", "use 0 for none")
        check_background(self.background)
        self.prepared()

    def prepared(self) -> ProjectionConfig:
        """The projections, whose queries and keys points are made of."""
        return replace(self.projection, query_width=self.manifold_dim)

    @property
    def is_hyperbolic(self) -> bool:
        """Whether points are of hyperbolic space."""
        return self.geometry == "lorentz"

    @property
    def has_tiles(self) -> bool:
        """Whether anything tells one tile from another; otherwise it is fidelity attention."""
        return self.num_layers > 0 or self.routes > 0
