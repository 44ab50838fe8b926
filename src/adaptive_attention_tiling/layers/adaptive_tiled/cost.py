"""What a call of the system costs, in multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...ops.selective_scan import channels_used
from ...ops.tiled_attention import TiledAttentionReport
from ..projections import ProjectionConfig
from .attention import AdaptiveTiledAttentionConfig
from .choice import Chosen
from .memory import FarMemoryConfig


@dataclass(frozen=True)
class ComputeCost:
    """Multiply-adds of one call over all its tokens; an exponential counts as one.

    Attributes:
        projections: from tokens to heads and gates, and back.
        attention: logits and sums of values over what the attention path read.
        writing: what the memory absorbed, with the projections that only it needs.
        reading: what tokens asked of the memory.
        full: of all parts, had every token been written at resolution 1 and every key been read.
    """

    projections: float
    attention: float
    writing: float
    reading: float
    full: float

    @property
    def total(self) -> float:
        """All parts."""
        return self.projections + self.attention + self.writing + self.reading

    @property
    def share(self) -> float:
        """Of the cost at full resolution."""
        return self.total / self.full


def count_cost(
    batch: int,
    tokens: int,
    attention: AdaptiveTiledAttentionConfig,
    memory: FarMemoryConfig | None,
    report: TiledAttentionReport | None,
    chosen: Chosen | None,
) -> ComputeCost:
    """The cost of a causal call without a state."""
    part = attention.projection
    projections = float(batch * tokens * _projections(part))
    rows, all_rows = _rows_read(batch, tokens, attention, report)
    each = part.heads * (part.key_width + part.value_width)
    if memory is None:
        full = projections + all_rows * each
        return ComputeCost(projections, rows * each, 0.0, 0.0, full)
    inner = memory.heads * memory.head_width
    projections += batch * tokens * memory.width * (2 * inner + memory.heads)
    reading = float(batch * tokens * _reading(memory))
    writing = whole = 0.0
    if chosen is not None:
        finished = chosen.tiling.tokens
        used = float(chosen.channels(memory.d_state).double().mean())
        writing = batch * finished * used * _per_channel(memory)
        writing += _of_tiles(memory, chosen)
        whole = batch * finished * memory.d_state * _per_channel(memory)
        most = min(memory.tiles.max_size, memory.tiles.super_block)
        whole += batch * finished / most * _per_tile(memory, memory.d_state)
    full = projections + all_rows * each + reading + whole
    return ComputeCost(projections, rows * each, writing, reading, full)


def _projections(part: ProjectionConfig) -> int:
    queries = part.heads * part.key_width
    keys = part.groups * (part.key_width + part.value_width)
    out = part.heads * part.value_width * (2 if part.output_gate else 1)
    return part.width * (queries + keys + out)


def _rows_read(
    batch: int,
    tokens: int,
    attention: AdaptiveTiledAttentionConfig,
    report: TiledAttentionReport | None,
) -> tuple[float, float]:
    """Rows of keys that all queries of a head read, and all that they see; one sequence after
    the other, mean over heads."""
    layout = attention.layout
    every = batch * tokens * (tokens + 1) / 2
    if attention.control().reads_all:
        return every, every
    position = torch.arange(tokens, dtype=torch.float64)
    first = ((position // layout.super_block - layout.neighbours) * layout.super_block).clamp(min=0)
    near = position + 1 - first + torch.minimum(first, torch.tensor(float(layout.sinks)))
    rows = batch * float(near.sum())
    if report is not None and report.resolution.numel():
        by_block = report.resolution.nan_to_num(0.0).sum(-1).mean(1) * layout.tile  # [B, blocks]
        index = torch.arange(tokens, device=by_block.device) // layout.super_block
        rows += float(by_block[:, index].double().sum())
    return rows, every


def _reading(memory: FarMemoryConfig) -> int:
    """Of a token: its C, how far each channel has faded, and the product with the state."""
    channels = memory.heads * memory.d_state
    return channels * (memory.width + 2 + memory.head_width)


def _per_channel(memory: FarMemoryConfig) -> int:
    """Of a token written in one channel of every head: its B, weight, and outer product."""
    return memory.heads * (memory.width + 3 + memory.head_width)


def _per_tile(memory: FarMemoryConfig, used: int) -> int:
    """Extending what it adds from n to N channels, fading it, and adding it to the state."""
    number = memory.d_state
    return memory.heads * memory.head_width * (used * (number - used) + 2 * number)


def _of_tiles(memory: FarMemoryConfig, chosen: Chosen) -> float:
    there = chosen.tiling.length > 0
    used = channels_used(chosen.tiling.resolution[there], memory.d_state)
    counts = used.bincount(minlength=memory.d_state + 1).tolist()
    return float(sum(count * _per_tile(memory, n) for n, count in enumerate(counts) if count))
