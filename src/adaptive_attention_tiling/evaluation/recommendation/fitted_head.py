"""A head that reads its keys by an option: what it gives and what it costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import UnsupportedError
from ...ops.tiled_attention import TileLayout, tiled_attention
from .far_kernels import FarKernel
from .near import mean_near_keys, mean_visible_keys, near_keys
from .options import HeadOption

_ROWS = 256


@dataclass(frozen=True)
class FittedHead:
    """One head with one option, ready to read texts of any length.

    Args:
        option: what is read how.
        is_causal, scale: of the head.
        width, value_width: D and E.
        far: weights of the keys outside of the window, for splat and fidelity.
        far_read: multiply-adds for far keys as a share of reading them all, for tiled.
    """

    option: HeadOption
    is_causal: bool
    scale: float
    width: int
    value_width: int
    far: FarKernel | None = None
    far_read: float = 1.0

    def logits(
        self,
        rows: Int[Tensor, " r"],
        columns: Int[Tensor, " s"],
        query: Float[Tensor, "T D"],
        key: Float[Tensor, "T D"],
    ) -> Float[Tensor, "r s"]:
        """log w_ij of some queries and keys, not normalised; -inf where a key is not read.

        Raises UnsupportedError for tiled, which reads means of keys that have no weights.
        """
        if self.option.kind == "tiled":
            raise UnsupportedError("option: tiled has no weights of its own. Fix: use `read`.")
        asking, answering = query[rows], key[columns]
        logits = self.scale * (asking @ answering.mT)
        if self.option.kind != "exact":
            window, sinks = self.option["window"], self.option["sinks"]
            near = near_keys(rows, columns, window, sinks, is_causal=self.is_causal)
            if self.far is None:
                return logits.masked_fill(~near, -torch.inf)
            far = self.far.log_weights(asking, answering).to(logits)
            logits = torch.where(near, logits, far)
        if self.is_causal:
            logits = logits.masked_fill(columns > rows[:, None], -torch.inf)
        return logits

    def read(
        self,
        query: Float[Tensor, "T D"],
        key: Float[Tensor, "T D"],
        value: Float[Tensor, "T E"],
        rows: Int[Tensor, " r"] | None = None,
    ) -> Float[Tensor, "r E"]:
        """o_i = sum_j w_ij v_j / sum_j w_ij of some queries, by default all; no gradients.

        Rows are in order; so many at a time, with the keys that any of them reads, are multiplied
        out. Tiled calls `tiled_attention`.
        """
        with torch.no_grad():
            if self.option.kind == "tiled":
                out: Tensor = tiled_attention(
                    *(x[None, None] for x in (query, key, value)), **_of_tiles(self)
                )[0, 0]
                return out if rows is None else out[rows]
            every = torch.arange(len(query), device=query.device) if rows is None else rows
            dtype = value.dtype
            query, key, value = (
                x.to(torch.promote_types(dtype, torch.float32)) for x in (query, key, value)
            )
            found = []
            for part in every.split(_ROWS):
                columns = self._columns(part, len(query))
                weights = self.logits(part, columns, query, key).softmax(-1)
                found.append(weights @ value[columns])
            return torch.cat(found).to(dtype)

    def _columns(self, rows: Int[Tensor, " r"], tokens: int) -> Int[Tensor, " s"]:
        """The keys that one of these queries reads, or some more."""
        first, last = 0, int(rows[-1]) + 1 if self.is_causal else tokens
        if self.option.kind == "window":
            window = self.option["window"]
            first = max(0, int(rows[0]) - window + 1)
            last = min(last, int(rows[-1]) + window)
            sinks = min(first, self.option["sinks"])
            return torch.cat([torch.arange(sinks), torch.arange(first, last)]).to(rows.device)
        return torch.arange(first, last, device=rows.device)

    def cost(self, tokens: int) -> float:
        """Multiply-adds a query as a share of exact attention's, V (D + E) for V visible keys.

            exact     1
            window    N / V, N near keys on average over the text
            tiled     (N + r (V - N)) / V, N those of the super-blocks beside a query and of sinks,
                      r the share of far rows that the fit has read, summaries and plan included
            splat,    N / V + c / (V (D + E)), c the `multiply_adds` a token of the kernel
            fidelity

        It may exceed 1 in short texts.
        """
        visible = mean_visible_keys(tokens, is_causal=self.is_causal)
        if self.option.kind == "exact":
            return 1.0
        if self.option.kind == "tiled":
            near = tiled_near_keys(tokens, self.option, is_causal=self.is_causal)
            return (near + self.far_read * (visible - near)) / visible
        window, sinks = self.option["window"], self.option["sinks"]
        near = mean_near_keys(tokens, window, sinks, is_causal=self.is_causal)
        both = self.width + self.value_width
        far = 0.0 if self.far is None else self.far.multiply_adds(self.width, self.value_width)
        return (near + far / both) / visible


def tiled_layout(option: HeadOption) -> TileLayout:
    """Super-blocks of `block` tokens, one of them as the window, half as many scouts."""
    block = option["block"]
    return TileLayout(super_block=block, window=block, scouts=block // 2)


def tiled_near_keys(tokens: int, option: HeadOption, *, is_causal: bool) -> float:
    """Keys that a query reads before any tile, on average over all queries."""
    layout = tiled_layout(option)
    block, rows = layout.super_block, torch.arange(tokens)
    first = (rows // block - layout.neighbours).clamp_min(0) * block
    beyond = ((rows // block + layout.neighbours + 1) * block).clamp_max(tokens)
    last = rows + 1 if is_causal else beyond
    return float((last - first + first.clamp_max(layout.sinks)).double().mean())


def tiled_reading(
    head: FittedHead,
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
) -> tuple[Float[Tensor, "T E"], FittedHead]:
    """What tiles give, and the head that knows which share of far rows that took."""
    with torch.no_grad():
        out, report = tiled_attention(
            *(x[None, None] for x in (query, key, value)), **_of_tiles(head), return_report=True
        )
    tokens = len(query)
    near = tiled_near_keys(tokens, head.option, is_causal=head.is_causal)
    far = mean_visible_keys(tokens, is_causal=head.is_causal) - near
    blocks = torch.arange(tokens, device=query.device) // head.option["block"]
    rows = float(report.rows_per_query[0, 0][blocks].double().mean())
    return out[0, 0], replace(head, far_read=(rows - near) / far if far > 0 else 1.0)


def _of_tiles(head: FittedHead) -> dict[str, Any]:
    return {
        "is_causal": head.is_causal,
        "scale": head.scale,
        "tolerance": float(head.option.parameters["tolerance"]),
        "layout": tiled_layout(head.option),
    }
