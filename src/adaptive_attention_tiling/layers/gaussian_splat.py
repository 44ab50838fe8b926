"""Attention through a field of Gaussian splats, in time linear in the length of the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ArgumentError, UnsupportedError
from ..ops.gaussian_splat import splat_attention
from ..ops.linear_attention import MemoryState
from ..splats import Kind, SplatField
from ..splats.field import BACKGROUND
from ..splats.initial import kmeans, pca, random
from .context import context_unless_read, read_context_mask
from .gates import NO_GATES, GateConfig, MemoryGates
from .mask import Visibility, read_mask, refuse_scores
from .mixer import AbstractMixer, attend_by, check_tokens
from .projections import CrossProjections, ProjectionConfig
from .sizes import check_sizes


@dataclass(frozen=True, kw_only=True)
class SplatFieldConfig:
    """The splats of a layer: `splats` for each head of keys.

    `init` says what `fit_field` does with the queries and keys of a text; before that, and
    without it, every field is random.
    """

    splats: int
    kind: Kind = "diagonal"
    rank: int = 2
    init: Literal["random", "kmeans", "pca"] = "random"
    background: float | None = BACKGROUND

    def __post_init__(self) -> None:
        check_sizes(self, "splats", "rank")
        if self.init not in ("random", "kmeans", "pca"):
            raise ArgumentError(
                "init", repr(self.init), "random, kmeans or pca", "check the spelling"
            )

    def random(self, heads: int, width: int) -> SplatField:
        """A field drawn by torch's generator."""
        return random(
            heads=heads,
            splats=self.splats,
            width=width,
            kind=self.kind,
            rank=self.rank,
            background=self.background,
        )

    def fitted(self, points: Float[Tensor, "H N D"]) -> SplatField:
        """A field that covers the points, or, if `init` is random, a new random one."""
        if self.init == "random":
            return self.random(points.shape[0], points.shape[2]).to(points)
        start = kmeans if self.init == "kmeans" else pca
        return start(
            points,
            splats=self.splats,
            kind=self.kind,
            rank=self.rank,
            background=self.background,
        )


@dataclass(frozen=True, kw_only=True)
class GaussianSplatAttentionConfig:
    """Splat attention.

    Args:
        field: its splats.
        gates: what it forgets and writes.
        window, sinks: the last and the first tokens, which are read by softmax, exactly.
        top_m: splats that a token reads and writes; all if None.
        scale: of the logits of that softmax; 1 / sqrt(D) if None.
    """

    projection: ProjectionConfig
    field: SplatFieldConfig
    gates: GateConfig = NO_GATES
    window: int = 0
    sinks: int = 0
    top_m: int | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        check_sizes(self, "window", "sinks", least=0)
        check_sizes(self, "top_m")
        if self.top_m is not None and self.top_m > self.field.splats:
            raise ArgumentError(
                "top_m", self.top_m, f"at most splats={self.field.splats}", "leave it out for all"
            )


class GaussianSplatAttention(AbstractMixer):
    """o_i = sum_j A_ij v_j / sum_j A_ij with A_ij = sum_s a_s G_s(q_i) G_s(k_j), near tokens exact.

    Its state has a fixed size. `field` holds the splats, which training moves.
    """

    def __init__(self, config: GaussianSplatAttentionConfig) -> None:
        super().__init__(config.projection)
        self.config = config
        groups = config.projection.groups
        self.field = config.field.random(groups, config.projection.key_width)
        self.gates = MemoryGates(config.gates, self.width, groups, self.field.features)

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
        decay, gate = self.gates(x)
        return attend_by(
            splat_attention,
            *heads,
            self.field,
            is_causal=mask.is_causal,
            scale=self.config.scale,
            enable_gqa=True,
            decay=decay,
            gate=gate,
            window=self.config.window,
            sinks=self.config.sinks,
            top_m=self.config.top_m,
            key_padding_mask=mask.padding,
            initial_state=past,
            return_state=return_state,
        )

    @torch.no_grad()
    def fit_field(self, x: Float[Tensor, "B T C"], attn_mask: Tensor | None = None) -> None:
        """Start anew with a field that covers the queries and keys of x, as `init` says.

        It has new parameters, so call it before an optimizer is made.
        """
        check_tokens("x", x, self.width)
        mask = read_mask(attn_mask, batch=x.shape[0], length=x.shape[1], is_causal=True)
        refuse_scores(mask, type(self).__name__)
        (query, key, _), _ = self.projections(x, mask.padding)
        self.field = self.config.field.fitted(field_points(query, key, mask.padding))


class GaussianSplatCrossAttention(nn.Module):
    """Splat attention of one text to all of another, which is read once into a fixed size."""

    def __init__(self, config: GaussianSplatAttentionConfig) -> None:
        super().__init__()
        if config.gates.decay != "none" or config.window or config.sinks:
            raise UnsupportedError(
                "config: a context has no order for the text that reads it, so decay, window and "
                'sinks mean nothing. Fix: leave out window and sinks, and use decay="none".'
            )
        self.config = config
        projection = config.projection
        self.projections = CrossProjections(projection)
        self.field = config.field.random(projection.groups, projection.key_width)
        self.gates = MemoryGates(config.gates, projection.width, projection.groups)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        context: Float[Tensor, "B S C"] | None = None,
        *,
        context_mask: Tensor | None = None,
        state: MemoryState | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, MemoryState]:
        """Read `context`, whose padding `context_mask` [B, S] hides, or the `state` made of it."""
        check_tokens("x", x, self.config.projection.width)
        context = context_unless_read(context, state, self.config.projection.width)
        query = self.projections.queries(x)
        seen = gate = None
        if context is None:
            key, value = self._nothing(query)
        else:
            seen = read_context_mask(context_mask, context)
            key, value = self.projections.keys_and_values(context, seen)
            _, gate = self.gates(context)
        out, after = splat_attention(
            query,
            key,
            value,
            self.field,
            enable_gqa=True,
            gate=gate,
            top_m=self.config.top_m,
            key_padding_mask=seen,
            initial_state=state,
            return_state=True,
        )
        y: Tensor = self.projections.output(out, x)
        return (y, after) if return_state else y

    def _nothing(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """No keys and no values."""
        part = self.config.projection
        shape = query.shape[0], part.groups, 0
        return query.new_zeros(*shape, part.key_width), query.new_zeros(*shape, part.value_width)


def field_points(
    query: Float[Tensor, "B H T D"], key: Float[Tensor, "B G T D"], padding: Tensor | None
) -> Float[Tensor, "G N D"]:
    """All queries and keys that meet in a head of keys, padding left out."""
    met = torch.cat([query.unflatten(1, (key.shape[1], -1)), key[:, :, None]], 2)  # [B, G, R, T, D]
    points = met.permute(1, 0, 3, 2, 4)
    if padding is not None:
        return points[:, padding].flatten(1, 2)
    return points.flatten(1, 3)
