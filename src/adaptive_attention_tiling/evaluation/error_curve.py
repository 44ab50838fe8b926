"""Error of the attention output against how much was read, for different kinds of tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ..ops.tiled_attention import TileLayout, tiled_attention
from .exactness import check_finite

BUDGETS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
TOLERANCES = (1.0, 0.3, 0.1, 0.05, 0.02)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way to read the far field: what a tile is, and whether a tolerance or a budget decides."""

    name: str
    layout: TileLayout
    by: str = "budget"

    @property
    def settings(self) -> tuple[float, ...]:
        """The values of `by` that make up a curve."""
        return BUDGETS if self.by == "budget" else TOLERANCES


KINDS = (
    Kind(name="key space, means", layout=TileLayout()),
    Kind(name="contiguous, means", layout=TileLayout(order="contiguous")),
    Kind(name="key space, rest dropped", layout=TileLayout(rest="drop")),
    Kind(name="key space, means, by tolerance", layout=TileLayout(), by="tolerance"),
)


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """setting: the budget or tolerance; error: mean of ||o - o_full|| / ||o_full||."""

    setting: float
    fraction_read: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The points of one kind in one layer."""

    layer: int
    kind: str
    points: tuple[CurvePoint, ...]


@dataclass
class Capture:
    """Keeps queries, keys and values of chosen layers; `see` goes to `observed`."""

    layers: Sequence[int]
    tokens: int
    kept: dict[int, tuple[Tensor, Tensor, Tensor, float]] = field(default_factory=dict)

    def see(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> None:
        """An `Observer`; raises CorrectnessError for what is not finite, in any layer."""
        check_finite(layer, query=query, key=key, value=value)
        if layer in self.layers:
            q, k, v = (x[:, :, : self.tokens].clone() for x in (query, key, value))
            self.kept[layer] = (q, k, v, scale)


def points_per_layer() -> int:
    """How many points `error_curves` works out for each layer."""
    return sum(len(kind.settings) for kind in KINDS)


def error_curves(
    capture: Capture, *, point_done: Callable[[], None] = lambda: None
) -> tuple[Curve, ...]:
    """All kinds in all captured layers; none if the text was too short for a far field."""
    return tuple(
        Curve(layer=layer, kind=kind.name, points=tuple(_points(kind, *tensors, point_done)))
        for layer, tensors in sorted(capture.kept.items())
        for kind in KINDS
        if tensors[0].shape[2] > _first_far(kind.layout)
    )


def _first_far(layout: TileLayout) -> int:
    """The first query that has a far field."""
    return (1 + layout.neighbours) * layout.super_block


def _points(
    kind: Kind, query: Tensor, key: Tensor, value: Tensor, scale: float, done: Callable[[], None]
) -> Iterator[CurvePoint]:
    with torch.inference_mode():
        full = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )
        for setting in kind.settings:
            out, report = tiled_attention(
                query,
                key,
                value,
                is_causal=True,
                scale=scale,
                enable_gqa=True,
                layout=kind.layout,
                return_report=True,
                tolerance=setting if kind.by == "tolerance" else None,
                budget=setting if kind.by == "budget" else None,
            )
            first = _first_far(kind.layout)
            error = relative_error(out[:, :, first:], full[:, :, first:])
            done()
            yield CurvePoint(setting=setting, fraction_read=report.fraction_read, error=error)


def relative_error(out: Float[Tensor, "*b e"], full: Float[Tensor, "*b e"]) -> float:
    """Mean over queries of ||out - full|| / ||full||."""
    return float(((out - full).norm(dim=-1) / full.norm(dim=-1).clamp_min(1e-30)).mean())
