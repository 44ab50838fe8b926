"""How few keys a head has to read for an output that is nearly its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ...ops.tiled_attention.layout import TileLayout
from ...ops.tiled_attention.risk import Risk, error_cost
from ...ops.tiled_attention.tiles import Summary, order_block, summarise
from ...tiling.tree import LogitSpread, guarded
from .attention_rows import AttentionRows, attention_rows
from .head_tensors import check_head

_SINKS = 4
# A summary has a mean key, a mean value and a variance of each key coordinate.
_SUMMARY_ROWS = 1.5
# Weights of summaries are cut here, that sums of them stay finite.
_LARGEST_LOG = 300.0


@dataclass(frozen=True)
class HeadCompressibility:
    """Least shares of the keys, in (0, 1], that rows read for outputs within the error; means.

    Args:
        dropped: the strongest keys, all others left out. It takes one who knows all weights.
        opened: whole tiles, all others left out, opened in the order of their estimated mass.
        summarised: whole tiles, all others read through summaries, in the order of their
            estimated error.
        tile: keys of a tile.
    """

    dropped: float
    opened: float
    summarised: float
    tile: int


def head_compressibility(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    *,
    is_causal: bool = True,
    scale: float | None = None,
    error: float = 0.01,
    rows: int = 32,
    tile: int = 32,
    generator: torch.Generator | None = None,
) -> HeadCompressibility:
    """The least share of keys for |o_i - o_i'| <= error |o_i|, with and without summaries.

    o_i = sum_j a_ij v_j of rows of the later half of a text. Errors need not fall with every key:
    what counts is the least number from which on they stay within, so that more never hurts.

    Tiles are those of tiled attention: cells of key space in each run of 256 tokens, and runs of
    `tile` tokens where 256 are not finished. The first 4 tokens and the query's own tile are read
    in any case. A closed tile of n keys weighs

        n exp(q.k' + g),    k' the mean key,    g = 0 or min(s^2 / 2, bound),

    whichever g suits the head: s^2 = sum_d q_d^2 var_d estimates the variance of its logits, and
    the bound of log mean_j exp(x_j) is Bennett's or Hoeffding's (`tiling.tree.guarded`). Its value
    is the mean. Tiles are opened as `ops.tiled_attention.risk.error_cost` ranks them. All of them
    are looked at: each costs 1.5 keys, opened or not. Where that is dearer than all keys, these
    are read: the share is never above 1.

    Args:
        query, key: of one head, rotated if the model rotates them.
        value: of the head's group.
        scale: of the logits; None is D ** -0.5.
        error: of an output, relative to its norm.
        rows: how many are looked at; see `attention_rows`.
        tile: 256 divided by a power of two.
        generator: of the rows; by default a new one with seed 0.
    """
    layout = TileLayout(tile=tile)
    check_head(query, key, value)
    if not error > 0:
        raise ArgumentError("error", error, "a number > 0", "pass error=0.01")
    found = attention_rows(
        query,
        key,
        rows=rows,
        first=len(query) // 2,
        is_causal=is_causal,
        scale=scale,
        generator=generator,
    )
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    values = value.detach().double()
    parts = _parts(scale * query.detach().double(), key.detach().double(), values, found, layout)
    allowed = error * parts.output.norm(dim=1)
    tiles = [_tiled_share(parts, found.seen, allowed, order, tile) for order in (0, 1, 2)]
    return HeadCompressibility(
        _dropped_share(found, values, parts.output, allowed), tiles[0], min(tiles[1:]), tile
    )


def _dropped_share(
    found: AttentionRows, values: Tensor, output: Tensor, allowed: Float[Tensor, " r"]
) -> float:
    """Keys in the order of their weight; the rest of a row moves it by at most mass x reach."""
    ordered, keys = found.weights.sort(descending=True)
    mass = ordered.cumsum(1)
    rest = ordered.flip(1).cumsum(1).flip(1) - ordered
    reach = torch.cdist(output, values).amax(1)
    # From this many keys on the bound holds; they are not worked out.
    certain = (rest * reach[:, None] > allowed[:, None] * mass).sum(1) + 1
    total = 0.0
    for row, seen in enumerate(found.seen.tolist()):
        count = min(int(certain[row]), seen)
        read = (values[keys[row, :count]] * ordered[row, :count, None]).cumsum(0)
        away = (read / mass[row, :count, None] - output[row]).norm(dim=1)
        over = away > allowed[row]
        over[-1] = False
        total += (int(_last(over[None])) + 1) / seen
    return total / len(output)


def _last(over: Bool[Tensor, "r n"]) -> Int[Tensor, " r"]:
    """Index of the first entry after which none is True; 0 where none is."""
    return (over * torch.arange(1, over.shape[1] + 1, device=over.device)).amax(1)


class _Parts(NamedTuple):
    """What rows would get of each tile, in units of their normaliser."""

    output: Float[Tensor, "r E"]
    queries: Float[Tensor, "r D"]
    closable: Bool[Tensor, "r M"]
    mass: Float[Tensor, "r M"]  # of the tokens themselves, and below their sum of a_ij v_j
    sums: Float[Tensor, "r M E"]
    log_weight: Float[Tensor, "r M"]  # of the mean key, for one token
    summary: Summary


def _parts(
    query: Tensor, key: Tensor, value: Tensor, found: AttentionRows, layout: TileLayout
) -> _Parts:
    members, closable = _tiles(query, key, found, layout)
    weights, queries = found.weights, query[found.queries]
    every = torch.ones_like(members[None], dtype=torch.bool)
    summary = summarise(key[members][None], value[members][None], every, bounds=True)
    taken = weights[:, members]  # [r, M, L]
    strongest = weights.argmax(1)
    top = (queries * key[strongest]).sum(1) - weights.amax(1).log()
    sums = torch.einsum("rml,mle->rme", taken, value[members])
    log_weight = queries @ summary.key[0].mT - top[:, None]
    return _Parts(weights @ value, queries, closable, taken.sum(2), sums, log_weight, summary)


def _tiles(
    query: Tensor, key: Tensor, found: AttentionRows, layout: TileLayout
) -> tuple[Int[Tensor, "M L"], Bool[Tensor, "r M"]]:
    """Cells of the finished super-blocks, then runs of all; and which a row may close."""
    size, each = layout.tile, layout.super_block // layout.tile
    count = max(0, len(key) - _SINKS) // size
    runs = _SINKS + torch.arange(count * size, device=key.device).view(count, size)
    whole = count // each
    blocks = runs[: whole * each].reshape(whole, layout.super_block)
    if whole:
        scale = query.square().mean(0).sqrt().expand(whole, -1)
        order = order_block(key[blocks], scale, torch.ones_like(blocks, dtype=torch.bool), layout)
        blocks = blocks.gather(1, order)
    place = found.queries[:, None] - _SINKS
    own, home = place // size, place // layout.super_block
    run = torch.arange(count, device=key.device)
    block = run // each
    if found.is_causal:
        cells, open_runs = block < home, (block == home) & (run < own)
    else:
        cells = block != home
        open_runs = ((block == home) | (block >= whole)) & (run != own)
    closable = torch.cat([cells[:, : whole * each], open_runs], 1)
    return torch.cat([blocks.view(-1, size), runs]), closable


def _tiled_share(
    parts: _Parts, seen: Int[Tensor, " r"], allowed: Tensor, order: int, tile: int
) -> float:
    """Closed tiles are left out (order 0) or read through means (1), with a cumulant (2)."""
    summary, closable = parts.summary, parts.closable
    variance = parts.queries.square() @ summary.variance[0].mT
    growth = torch.zeros_like(variance)
    if order != 1:
        reach = parts.queries.norm(dim=1, keepdim=True) * summary.radius
        largest = torch.minimum(reach, ((tile - 1) * variance).sqrt())
        count = torch.full_like(variance, tile)
        growth = guarded(LogitSpread(count, variance, variance, largest)).growth
    logs = (parts.log_weight + growth + math.log(tile)).clamp_max(_LARGEST_LOG)
    weight = logs.exp() * closable
    total = 1 + (weight - parts.mass * closable).sum(1, keepdim=True)
    risk = Risk(variance=summary.variance) if order else Risk()
    cost = error_cost((weight / total).log()[None], parts.queries[None], risk)[0]
    read = weight if order else torch.zeros_like(weight)
    start = [closable * (read - parts.mass)]
    start.append(closable[..., None] * (read[..., None] * summary.value - parts.sums))
    ranks = cost.masked_fill(~closable, -1).argsort(dim=1, descending=True)
    # All closed at first; then one more is opened at each step.
    mass = 1 + _still_closed(start[0].gather(1, ranks)[..., None])
    ranks = ranks[..., None].expand(-1, -1, parts.output.shape[1])
    output = parts.output[:, None] + _still_closed(start[1].gather(1, ranks))
    closed = closable.sum(1)
    over = (output / mass - parts.output[:, None]).norm(dim=2) > allowed[:, None]
    over &= torch.arange(over.shape[1], device=over.device) < closed[:, None]
    price = seen - tile * closed + tile * _last(over) + _SUMMARY_ROWS * closed
    return float((price.double() / seen).clamp_max(1).mean())


def _still_closed(parts: Float[Tensor, "r M n"]) -> Float[Tensor, "r m n"]:
    """Sums of all but the first 0, 1, ... M."""
    return torch.nn.functional.pad(parts.flip(1).cumsum(1).flip(1), (0, 0, 0, 1))
