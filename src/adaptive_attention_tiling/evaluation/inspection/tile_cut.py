"""Into which stretches a query would cut the keys before it, and how closely it reads each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...ops.tiled_attention import TileLayout, tiled_attention

# With heights above two, nodes would join neighbours in key space from far apart in the text.
_LAYOUT = TileLayout(order="contiguous", heights=2, window=0)


@dataclass(frozen=True, kw_only=True)
class TileCut:
    """How one query reads a text by tiles of neighbouring tokens.

    ends        where each stretch ends, the first token after it; the last one is the text's end
    resolution  rows read per token of each: 1 exactly, 1 / 8 and 1 / 32 through means of so many
    query       the token that reads
    """

    ends: tuple[int, ...]
    resolution: tuple[float, ...]
    query: int


def tile_cut(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    *,
    scale: float | None = None,
    tolerance: float = 0.1,
) -> TileCut | None:
    """How the last query reads all keys at `tolerance`; None for texts of no more than one tile.

    It is `tiled_attention` of this one query without a window: tiles of neighbouring tokens, and
    nodes of four, are opened until their means make no error above `tolerance` times the largest
    value's norm. Stretches are neighbours that are read at the same resolution.

    Args:
        query, key, value: of one head, rotated if the model rotates them.
        scale: of the logits; None is D ** -0.5.
        tolerance: as in `tiled_attention`.
    """
    tokens = len(key)
    if len(query) != tokens or len(value) != tokens:
        raise ArgumentError(
            "query",
            f"{len(query)} queries, {tokens} keys and {len(value)} values",
            "as many of each",
            "pass those of one text",
        )
    if tokens <= _LAYOUT.tile:
        return None
    _, report = tiled_attention(
        query[None, None, -1:],
        key[None, None],
        value[None, None],
        scale=scale,
        tolerance=tolerance,
        layout=_LAYOUT,
        return_report=True,
    )
    tiles = -(-tokens // _LAYOUT.tile)
    rows = report.resolution[0, 0, 0, :tiles].repeat_interleave(_LAYOUT.tile)[:tokens]
    rows[: _LAYOUT.sinks] = 1.0
    borders = (rows.diff() != 0).nonzero()[:, 0] + 1
    ends = torch.cat([borders, borders.new_tensor([tokens])])
    return TileCut(
        ends=tuple(ends.tolist()), resolution=tuple(rows[ends - 1].tolist()), query=tokens - 1
    )
