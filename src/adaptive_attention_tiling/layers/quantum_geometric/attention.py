"""Quantum geometric attention as a mixer."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import dropout, pad

from ...errors import ArgumentError, UnsupportedError
from ...mathematics.geometry.normal_coordinates import klein_point
from ...ops.arguments import check_tensors
from ...ops.fidelity_attention import fidelity_attention
from ...ops.quantum_geometric import (
    AttentionFlowMetrics,
    RouteShares,
    measured_flow,
    quantum_geometric_attention,
    tile_patterns,
)
from ...ops.quantum_geometric.pattern_flow import check_patterns, longest_step
from ..mask import Visibility, read_mask, refuse_scores
from ..mixer import AbstractMixer, MixerState, attend_by, check_tokens
from ..projections import ProjectionConfig, named_projection
from .attention_state import AttentionState
from .config import QuantumGeometricAttentionConfig
from .metrics import AttentionMetrics, pattern_metrics, text_metrics
from .parts import FlowSteps, LocalHeights, TileRoutes


class QuantumGeometricAttention(AbstractMixer):
    """Fidelity attention of states with a geometry, whose patterns flow within tiles.

        o_i = sum_j W_ij v_j / sum_j W_ij

    - A head's query or key is a vector t. Its state |psi> is (1, t / R), normalised, or t / |t| if
      the geometry is "flat". With "lorentz" t is a tangent at the origin of hyperbolic space, its
      point X = exp_0(t) = (X_0, u), and |psi> = X / |X|: fidelity of x and y is
      (x_0 y_0 + u . v)^2 / (|X|^2 |Y|^2), which only points far out in opposite directions bring
      near 0.
    - W_ij = |<psi_i|psi_j>|^2 + background, weighed by local heights of key j.
    - Within a query's own tile W flows for `num_layers` steps along the graph of its keys, with
      conductances exp(-d(k_j, k_l)^2 / (2 sigma^2)): the energy of a row falls at each.
    - Keys of other tiles are read by sums of fixed size, as far as routes let them.

    Without flow and routes, as by default, it is `fidelity_attention`, with heights as its gate, if
    any. Linear in length; generation has a state of fixed size; padding may stand anywhere and
    counts for nothing.

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
            projection=named_projection(
                projection, {"hidden_dim": hidden_dim, "num_heads": num_heads}
            ),
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
        self._metrics: dict[str, float] = {}
        self._measures = False
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

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        mask: Tensor | None = None,
        return_metrics: bool = False,
        *,
        attn_mask: Tensor | None = None,
        is_causal: bool = True,
        state: MixerState | None = None,
        return_state: bool = False,
    ) -> Any:
        """As every mixer's; `mask` is another name of `attn_mask`.

        With `return_metrics`, of texts from their start, also what `get_metrics` tells: the last of
        what is returned.
        """
        if mask is not None and attn_mask is not None:
            raise ArgumentError(
                "mask", "a mask beside attn_mask", "one of the two", "they mean the same"
            )
        if return_metrics and state is not None:
            raise ArgumentError(
                "return_metrics", "True with a state", "texts from their start",
                "pass the whole text at once",
            )  # fmt: skip
        self._measures = return_metrics
        out = super().forward(
            x,
            attn_mask=mask if attn_mask is None else attn_mask,
            is_causal=is_causal,
            state=state,
            return_state=return_state,
        )
        if not return_metrics:
            return out
        return (*out, self.get_metrics()) if return_state else (out, self.get_metrics())

    def get_metrics(self) -> dict[str, float]:
        """Figures of the last call with `return_metrics`, means over tokens and heads.

        - ifq: `information_flow_quality` of the first tiles, in [0, 1].
        - entropy: of a row within its own tile, in nats, in [0, log tile_size].
        - far_share: of other tiles in what a row weighs, in [0, 1].
        - curvature: of the graph of near keys, in (-2, 2]; NaN where no tile has two.
        - radius: distance of keys from the origin, >= 0.
        - height: mean h_v, >= 0; with heights only.
        - energy_first, energy_last: of rows before and after the flow, last <= first; with a flow
          only.
        """
        return dict(self._metrics)

    def compute_attention_patterns(
        self,
        query: Float[Tensor, "B H T m"],
        key: Float[Tensor, "B G T m"],
        value: Float[Tensor, "B G T E"],
        scale: float = 1.0,
        *,
        gate: Float[Tensor, "B G T"] | None = None,
        routes: RouteShares | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
        is_causal: bool = True,
    ) -> tuple[Float[Tensor, "B H n b b"], AttentionMetrics]:
        """Weights of own-tile keys before the flow, and how they lie beside those of other tiles.

            W_ij = scale (|<psi(q_i)|psi(k_j)>|^2 + background) exp(gate_j)

        Args:
            query, key, value: as `prepare_attention_state` gives them; so are gate, routes and
                padding.
            scale: factor on own-tile weights against those of other tiles; 1 in `forward`.
        """
        check_tensors(query, key, value, enable_gqa=True)
        patterns = tile_patterns(
            query,
            key,
            tile_size=self.config.tile_size,
            is_causal=is_causal,
            gate=gate,
            routes=routes,
            key_padding_mask=padding,
            background=self.config.background,
            near=scale,
        )
        return patterns.after, pattern_metrics(patterns)

    def tile_metric(self, points: Float[Tensor, "B G T n"]) -> Float[Tensor, "B G n b b"]:
        """Conductances between the keys of each tile, as the flow takes them.

            C_jl = exp(-d(k_j, k_l)^2 / (2 sigma^2)), and 0 where the last tile has no token

        Args:
            points: `key_points` of a text without padding.

        Raises:
            UnsupportedError: a layer without a flow, which measures no distances.
        """
        if self.flow is None:
            raise UnsupportedError(
                "tile_metric: there is no flow. Fix: build the layer with num_layers=1 or more."
            )
        flow, size = self.flow(self._radius), self.config.tile_size
        missing = -points.shape[2] % size
        tiles = pad(points, (0, 0, 0, missing)).unflatten(2, (-1, size))
        live = torch.arange(points.shape[2] + missing, device=points.device) < points.shape[2]
        alive = live.view(-1, size)
        conductance: Tensor = flow.conductance(tiles)
        return conductance * (alive[:, :, None] & alive[:, None])

    def geometric_attention_flow(
        self,
        patterns: Float[Tensor, "B H n b b"],
        metric: Float[Tensor, "B G n b b"],
        *,
        is_causal: bool = True,
    ) -> tuple[Float[Tensor, "B H n b b"], AttentionFlowMetrics]:
        """`num_layers` steps of the heat flow of `flow_patterns`; the identity if there are none.

        The energy of no row rises at any step, its sum stays, and so does causality.

        Args:
            patterns: weights >= 0 of own-tile keys, 0 above the diagonal if causal.
            metric: conductances in [0, 1], of each head or each key head; see `tile_metric`.
        """
        heads = self.config.projection.heads
        check_patterns(patterns, metric, heads)
        metric = metric.repeat_interleave(heads // metric.shape[1], 1)
        if self.flow is None:
            steps = patterns.new_zeros(0, heads, 1, 1, 1)
        else:
            rates = self.flow(None).rates.to(patterns)
            steps = rates[..., None, None, None] * longest_step(patterns.shape[-1])
        return measured_flow(patterns, metric, steps, is_causal=is_causal)

    @property
    def _radius(self) -> float | None:
        return self.config.radius if self.config.is_hyperbolic else None

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
        if self._measures:
            self._metrics = text_metrics(prepared, self.config, mask.is_causal)
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
        return AttentionState(
            query,
            key,
            self._amplitudes(query),
            self._amplitudes(key),
            value,
            gate,
            heights,
            None if self.flow is None else self.flow(self._radius),
            None if self.routes is None else self.routes(x),
            padding,
        )

    def _amplitudes(self, tangent: Tensor) -> Tensor:
        """X / X_0 = (1, tanh(r / R) t / r): the state of the point, with nothing that overflows."""
        if self.config.geometry == "flat":
            return tangent
        inner = tangent / self.config.radius
        inner = klein_point(inner) if self.config.is_hyperbolic else inner
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
