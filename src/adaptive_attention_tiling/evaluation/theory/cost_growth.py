"""Theorem 3.4, "the cost is O(n R log n) for n tokens at mean resolution R": what is true.

1. False of attention as written. At R = 1, plain attention, it promises n log n where n^2 / 2 rows
   are read. A query reads R times the tokens before it, so that n of them read R n^2 / 2 rows:
   the sum in the proof counts each tile once, as if it were read by one query. That holds where
   tiles pass a state on instead (state-space path, tiler): there the cost is linear in n.
2. R is no constant. What is read at a fixed error depends on the text: O(log n) rows a query,
   R = O(log n / n), where the far field is compressible (`planted.topics`) and summaries exist at
   every size; R near 1 where it is not (`planted.structureless`). See `summary_cut`.
3. Summaries have to be looked at, read or not. With two sizes of summaries that alone is n / 32 to
   n / 8 a query, and the exponent of the far field stays 2 on any text; `LAYOUTS` compares them
   with the pyramid.
4. An optimal tiling is found in time linear in n (`tiler_growth`).
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ...ops.tiled_attention import TiledAttentionReport, TileLayout, tiled_attention
from ...tiling.tiles import TileManager
from .planted import KINDS, WIDTH
from .power_law import fitted_exponent

SIZES = (2048, 4096, 8192, 16384)
TEXTS = ("topics", "structureless")
LAYOUTS = {"pyramid": TileLayout(), "two sizes of summaries": TileLayout(heights=2)}
TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One causal call of one head, at the tolerance `TOLERANCE`; rows are key-value pairs.

    near, far_rows      rows of all queries together; `TiledAttentionReport.rows_per_query` says
                        what counts as one, plan and looks included
    far_tokens          far tokens, over all queries: what R = 1 would read
    fraction_read       of them, read exactly
    cpu_s, dense_cpu_s  processor time, and that of torch's exact attention
    """

    tokens: int
    near: float
    far_rows: float
    far_tokens: float
    fraction_read: float
    cpu_s: float
    dense_cpu_s: float

    @property
    def rows(self) -> float:
        """All rows."""
        return self.near + self.far_rows

    @property
    def resolution(self) -> float:
        """R: far rows over far tokens."""
        return self.far_rows / self.far_tokens

    @property
    def multiply_adds(self) -> float:
        """A row takes its key's product and its value's."""
        return 2 * WIDTH * self.rows


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Costs of one kind of text at several lengths, and their exponents.

    far_exponent    of far_rows in sqrt(2 far_tokens), which is about the length less what is near:
                    2 where every query reads the same share of its far field
    rows_exponent, cpu_exponent, dense_exponent   of rows, cpu_s and dense_cpu_s in the length
    """

    text: str
    layout: str
    costs: tuple[Cost, ...]
    far_exponent: float
    rows_exponent: float
    cpu_exponent: float
    dense_exponent: float


@dataclass(frozen=True, kw_only=True)
class TilerGrowth:
    """Processor time of the optimal tiling at several lengths."""

    tokens: tuple[int, ...]
    cpu_s: tuple[float, ...]
    exponent: float


def cost_growth(
    text: str,
    *,
    sizes: Sequence[int] = SIZES,
    layout: str = "pyramid",
    rounds: int = 3,
) -> Growth:
    """Costs of `planted.KINDS[text]` under `LAYOUTS[layout]`; times are the least of `rounds`."""
    costs = tuple(_cost(text, tokens, LAYOUTS[layout], rounds) for tokens in sizes)
    lengths = [math.sqrt(2 * cost.far_tokens) for cost in costs]
    return Growth(
        text=text,
        layout=layout,
        costs=costs,
        far_exponent=fitted_exponent(lengths, [cost.far_rows for cost in costs]),
        rows_exponent=fitted_exponent(sizes, [cost.rows for cost in costs]),
        cpu_exponent=fitted_exponent(sizes, [cost.cpu_s for cost in costs]),
        dense_exponent=fitted_exponent(sizes, [cost.dense_cpu_s for cost in costs]),
    )


def _cost(text: str, tokens: int, layout: TileLayout, rounds: int) -> Cost:
    inputs = KINDS[text](tokens)

    def tiled() -> Tensor:
        return tiled_attention(*inputs, is_causal=True, tolerance=TOLERANCE, layout=layout)

    def dense() -> Tensor:
        return scaled_dot_product_attention(*inputs, is_causal=True)

    _, report = tiled_attention(
        *inputs, is_causal=True, tolerance=TOLERANCE, layout=layout, return_report=True
    )
    queries = block_queries(tokens, layout)
    near = near_rows(tokens, layout)
    return Cost(
        tokens=tokens,
        near=near,
        far_rows=all_rows(report, queries) - near,
        far_tokens=far_tokens(report, queries, layout),
        fraction_read=report.fraction_read,
        cpu_s=least_cpu_s(tiled, rounds),
        dense_cpu_s=least_cpu_s(dense, rounds),
    )


def block_queries(tokens: int, layout: TileLayout) -> list[int]:
    """How many queries each block has."""
    whole, rest = divmod(tokens, layout.super_block)
    return [layout.super_block] * whole + [rest] * (rest > 0)


def near_rows(tokens: int, layout: TileLayout) -> float:
    """Rows that queries read of their own super-block, its neighbours before, and the sinks."""
    query = torch.arange(tokens)
    first = (query // layout.super_block - layout.neighbours).clamp(min=0) * layout.super_block
    sinks = torch.minimum(first, torch.tensor(layout.sinks))
    return float((query - first + 1 + sinks).sum())


def all_rows(report: TiledAttentionReport, queries: Sequence[int]) -> float:
    """Rows of all queries of a call of one head."""
    return float((report.rows_per_query[0, 0].double() * torch.tensor(queries)).sum())


def far_tokens(report: TiledAttentionReport, queries: Sequence[int], layout: TileLayout) -> float:
    """Far tokens over all queries of a call of one head; sinks are not far."""
    far = ~report.resolution[0, 0].isnan()
    tokens = far.sum(-1) * layout.tile - layout.sinks * far.any(-1)
    return float((tokens * torch.tensor(queries)).sum())


def least_cpu_s(run: Callable[[], object], rounds: int) -> float:
    """The least processor time of `rounds` calls: what others at work disturb least."""
    times = []
    with torch.inference_mode():
        for _ in range(rounds):
            gc.collect()
            started = time.process_time()
            run()
            times.append(time.process_time() - started)
    return min(times)


def tiler_growth(
    sizes: Sequence[int] = (2**17, 2**18, 2**19, 2**20), *, rounds: int = 3
) -> TilerGrowth:
    """Optimal tilings of random densities at a budget of a quarter, super-block by super-block."""
    manager = TileManager()
    generator = torch.Generator().manual_seed(0)
    density = torch.rand(max(sizes), generator=generator).square()
    times = []
    for tokens in sizes:
        text = density[:tokens]
        times.append(least_cpu_s(partial(manager.optimize_tiling, text, 0.25), rounds))
    return TilerGrowth(
        tokens=tuple(sizes), cpu_s=tuple(times), exponent=fitted_exponent(sizes, times)
    )
