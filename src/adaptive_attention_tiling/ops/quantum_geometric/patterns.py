"""The patterns themselves, tile by tile, for those who want to see what is read."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..fidelity_attention import FidelityKernel
from ..fidelity_attention.interface import BACKGROUND
from ..linear_attention.ragged import from_padding
from .arguments import check_parts, check_tiles
from .blocks import BlockReader
from .pattern_flow import AttentionFlowMetrics, PatternFlow, measured_flow
from .reading import read_both_sides, read_causally
from .rows import RouteShares, given_heads, live_slots, whole_tiles


class TilePatterns(NamedTuple):
    """Weights of the keys of each query's own tile, and what all keys weigh together.

    Attributes:
        before, after: the flow [B, H, n, b, b]; both are 0 where there is no token.
        flow: what the flow did, or None without one.
        mass: sum_j W_ij over all keys of all tiles [B, H, n, b].
        live: which rows are tokens [B, n, b]; those of a text stand in the first places.
    """

    before: Float[Tensor, "B H n b b"]
    after: Float[Tensor, "B H n b b"]
    flow: AttentionFlowMetrics | None
    mass: Float[Tensor, "B H n b"]
    live: Bool[Tensor, "B n b"]


def tile_patterns(
    query: Float[Tensor, "B H T m"],
    key: Float[Tensor, "B G T m"],
    *,
    tile_size: int,
    is_causal: bool = False,
    gate: Float[Tensor, "B G T"] | None = None,
    points: Float[Tensor, "B G T n"] | None = None,
    flow: PatternFlow | None = None,
    routes: RouteShares | None = None,
    key_padding_mask: Bool[Tensor, "B T"] | None = None,
    background: float = BACKGROUND,
    near: float = 1.0,
) -> TilePatterns:
    """What `quantum_geometric_attention` weighs, with the same arguments."""
    nothing = key[..., :0]
    check_tiles(query, key, nothing, tile_size, near)
    check_parts(query, key, gate, points, flow, routes)
    reader = BlockReader(
        kernel=FidelityKernel(key.shape[-1], False, float(background)),
        tile_size=tile_size,
        is_causal=is_causal,
        near=near,
        flow=flow,
    )
    heads = given_heads(query, key, nothing, gate, None if flow is None else points, routes)
    rows = None if key_padding_mask is None else from_padding(key_padding_mask)
    heads = heads if rows is None else heads.mapped(rows)
    live = live_slots(heads, rows)
    tokens = whole_tiles(reader, heads, live, everywhere=not is_causal)
    if is_causal:
        read, _ = read_causally(reader, tokens, None, keep=False)
    else:
        read = read_both_sides(reader, tokens)
    before, conductance = reader.patterns(tokens)
    before, after, metrics = before.flatten(1, 2), None, None
    if conductance is not None:
        shared = query.shape[1] // key.shape[1]
        conductance = conductance.expand(-1, -1, shared, -1, -1, -1).flatten(1, 2)
        steps = reader.step_size(key.shape[1]).flatten(1, 2)
        after, metrics = measured_flow(before, conductance, steps, is_causal=is_causal)
    live = torch.nn.functional.pad(live, (0, tokens.length - live.shape[1]))
    live = live.unflatten(1, (-1, tile_size))
    here = live[:, None, :, :, None]
    after = before if after is None else after
    mass = read[..., 0].unflatten(-1, (-1, tile_size))
    return TilePatterns(before * here, after * here, metrics, mass * live[:, None], live)
