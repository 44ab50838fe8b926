"""Quantum geometric attention as a mixer."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import dropout

from ...errors import ArgumentError
from ...mathematics.geometry.normal_coordinates import klein_point
from ...ops.fidelity_attention import FidelityKernel, fidelity_attention
from ...ops.quantum_geometric import PatternFlow, RouteShares, quantum_geometric_attention
from ..mask import Visibility, read_mask, refuse_scores
from ..mixer import AbstractMixer, attend_by, check_tokens
from ..projections import ProjectionConfig
from .config import QuantumGeometricAttentionConfig
from .parts import FlowSteps, LocalHeights, TileRoutes


class AttentionState(NamedTuple):
    """Queries and keys as points and as states, and what keys weigh.

    Attributes:
        query_points, key_points: tangents at the origin, [B, H, T, n] and [B, G, T, n]; the points
            are exp_0 of them (flat: themselves).
        query, key: amplitudes of states, of any norm [B, H, T, m] and [B, G, T, m].
        value: [B, G, T, E].
        gate: log weights of keys [B, G, T], or None without heights.
        heights: h_v [B, G, T, r], or None.
        flow, routes: as `quantum_geometric_attention` takes them, or None.
        padding: True for tokens [B, T], or None where all are.
    """

    query_points: Tensor
    key_points: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    gate: Tensor | None
    heights: Tensor | None
    flow: PatternFlow | None
    routes: RouteShares | None
    padding: Tensor | None

    def unit_states(self) -> tuple[Tensor, Tensor]:
        """|psi> of queries and keys: amplitudes of norm 1."""
        kernel = FidelityKernel(self.key.shape[-1], False, 0.0)
        return kernel.states(self.query), kernel.states(self.key)


class QuantumGeometricAttention(AbstractMixer):
    """Fidelity attention of points of hyperbolic space, whose patterns flow within tiles.

        o_i = sum_j W_ij v_j / sum_j W_ij

    - A head's query or key is a tangent t at the origin of Lorentz space, its point
      X = exp_0(t) = (X_0, u), and its state |psi> = X / |X|: fidelity of x and y is
      (x_0 y_0 + u . v)^2 / (|X|^2 |Y|^2), which only points far out in different directions bring
      near 0. With geometry "flat" the state is t / |t|.
    - W_ij = |<psi_i|psi_j>|^2 + background, weighed by local heights of key j.
    - Within a query's own tile W flows for `num_layers` steps along the graph of its keys, with
      conductances exp(-d(k_j, k_l)^2 / (2 sigma^2)): the energy of a row falls at each.
    - Keys of other tiles are read by sums of fixed size, as far as routes let them.

    Without flow and routes it is `fidelity_attention`, with heights as its gate. Linear in length;
    generation has a state of fixed size; padding may stand anywhere and counts for nothing.

        attention = QuantumGeometricAttention(256, 4, motive_rank=4, manifold_dim=16)

    Source: chapter "Neural Architecture Components" of the specification's plan, whose arguments
    come first; the parts say where they are from.

    Args:
        hidden_dim, num_heads: of the projections; or pass `projection`.
        dropout, motive_rank, manifold_dim, num_layers, tile_size, settings: the fields of
            `QuantumGeometricAttentionConfig`.
    """

    def __init__(
        self,
        hidden_dim: int | None = None,
        num_heads: int | None = None,
        dropout: float = QuantumGeometricAttentionConfig.dropout,
        motive_rank: int = QuantumGeometricAttentionConfig.motive_rank,
        manifold_dim: int = QuantumGeometricAttentionConfig.manifold_dim,
        num_layers: int = QuantumGeometricAttentionConfig.num_layers,
        tile_size: int = QuantumGeometricAttentionConfig.tile_size,
        *,
        projection: ProjectionConfig | None = None,
        **settings: Any,
    ) -> None:
        config = QuantumGeometricAttentionConfig(
            projection=_projection(hidden_dim, num_heads, projection),
            dropout=dropout,
            motive_rank=motive_rank,
            manifold_dim=manifold_dim,
            num_layers=num_layers,
            tile_size=tile_size,
            **settings,
        )
        super().__init__(config.prepared())
        self.config = config
        heads, groups = config.projection.heads, config.projection.groups
        self.heights: LocalHeights | None = None
        self.flow: FlowSteps | None = None
        self.routes: TileRoutes | None = None
        if motive_rank:
            self.heights = LocalHeights(self.width, groups, motive_rank)
        if num_layers:
            self.flow = FlowSteps(num_layers, heads, groups, manifold_dim**0.5 / 2)
        if config.routes:
            self.routes = TileRoutes(self.width, heads, groups, config.routes)

    @classmethod
    def from_config(cls, config: QuantumGeometricAttentionConfig) -> QuantumGeometricAttention:
        """The mixer that a config describes."""
        return cls(**vars(config))

    def attend(
        self,
        x: Tensor,
        heads: tuple[Tensor, Tensor, Tensor],
        mask: Visibility,
        past: Any,
        *,
        return_state: bool,
    ) -> tuple[Float[Tensor, "B H T E"], Any]:
        refuse_scores(mask, type(self).__name__)
        prepared = self._prepared(x, heads, mask.padding)
        out, after = self._read(prepared, mask.is_causal, past, return_state=return_state)
        return dropout(out.to(x.dtype), self.config.dropout, self.training), after

    def prepare_attention_state(
        self, x: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"] | None = None
    ) -> AttentionState:
        """Points, states, values and weights of a text from its start; `mask` as in `forward`."""
        check_tokens("x", x, self.width)
        seen = read_mask(mask, batch=x.shape[0], length=x.shape[1], is_causal=True)
        refuse_scores(seen, type(self).__name__)
        heads, _ = self.projections(x, seen.padding)
        return self._prepared(x, heads, seen.padding)

    def _prepared(
        self, x: Tensor, heads: tuple[Tensor, Tensor, Tensor], padding: Tensor | None
    ) -> AttentionState:
        work = torch.promote_types(x.dtype, torch.float32)
        query, key, value = (head.to(work) for head in heads)
        heights = None if self.heights is None else self.heights.heights(x)
        gate = None if self.heights is None or heights is None else self.heights(heights)
        radius = self.config.radius if self.config.is_hyperbolic else None
        return AttentionState(
            query,
            key,
            self._amplitudes(query),
            self._amplitudes(key),
            value,
            gate,
            heights,
            None if self.flow is None else self.flow(radius),
            None if self.routes is None else self.routes(x),
            padding,
        )

    def _amplitudes(self, tangent: Tensor) -> Tensor:
        """X / X_0 = (1, tanh(r / R) t / r): the state of the point, with nothing that overflows."""
        if not self.config.is_hyperbolic:
            return tangent
        inner = klein_point(tangent / self.config.radius)
        return torch.cat([torch.ones_like(inner[..., :1]), inner], -1)

    def _read(
        self, prepared: AttentionState, is_causal: bool, past: Any, *, return_state: bool
    ) -> tuple[Tensor, Any]:
        tensors = prepared.query, prepared.key, prepared.value
        if not self.config.has_tiles:
            return attend_by(
                fidelity_attention,
                *tensors,
                is_causal=is_causal,
                enable_gqa=True,
                gate=prepared.gate,
                key_padding_mask=prepared.padding,
                initial_state=past,
                return_state=return_state,
                background=self.config.background,
            )
        return quantum_geometric_attention(
            *tensors,
            tile_size=self.config.tile_size,
            is_causal=is_causal,
            gate=prepared.gate,
            points=prepared.key_points,
            flow=prepared.flow,
            routes=prepared.routes,
            key_padding_mask=prepared.padding,
            initial_state=past,
            return_state=return_state,
            background=self.config.background,
        )


def _projection(
    width: int | None, heads: int | None, given: ProjectionConfig | None
) -> ProjectionConfig:
    if given is not None and (width, heads) == (None, None):
        return given
    if given is not None or width is None or heads is None:
        raise ArgumentError(
            "projection",
            f"projection {given}, hidden_dim {width}, num_heads {heads}",
            "either a projection, or hidden_dim and num_heads",
            "pass hidden_dim=256, num_heads=4",
        )
    return ProjectionConfig(width=width, heads=heads)
