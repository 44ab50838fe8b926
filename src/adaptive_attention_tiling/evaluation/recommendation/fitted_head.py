"""A head that reads its keys by an option: what it gives and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ...errors import UnsupportedError
from ...ops.tiled_attention import TiledAttentionReport, TileLayout, tiled_attention
from .far_kernels import FarKernel
from .near import mean_near_keys, mean_visible_keys, near_keys
from .options import HeadOption

_ROWS = 512


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
        self, rows: Int[Tensor, " r"], query: Float[Tensor, "T D"], key: Float[Tensor, "T D"]
    ) -> Float[Tensor, "r T"]:
        """log w_ij of some queries, not normalised; -inf where a key is not read."""
        if self.option.kind == "tiled":
            raise UnsupportedError(
                "option: tiled reads means of keys, which have no weights of their own. "
                "Fix: use `read`."
            )
        tokens, asking = len(key), query[rows]
        logits = self.scale * (asking @ key.mT)
        if self.option.kind == "exact":
            columns = torch.arange(tokens, device=rows.device)
            hidden = columns > rows[:, None]
            return logits.masked_fill(hidden, -torch.inf) if self.is_causal else logits
        window, sinks = self.option["window"], self.option["sinks"]
        near = near_keys(rows, tokens, window, sinks, is_causal=self.is_causal)
        if self.far is None:
            return logits.masked_fill(~near, -torch.inf)
        far = self.far.log_weights(asking, key).to(logits)
        if self.is_causal:
            far = far.masked_fill(torch.arange(tokens) > rows[:, None], -torch.inf)
        return torch.where(near, logits, far)

    def read(
        self,
        query: Float[Tensor, "T D"],
        key: Float[Tensor, "T D"],
        value: Float[Tensor, "T E"],
        rows: Int[Tensor, " r"] | None = None,
    ) -> Float[Tensor, "r E"]:
        """o_i = sum_j w_ij v_j / sum_j w_ij of some queries, by default all; no gradients."""
        with torch.no_grad():
            if self.option.kind == "exact" and rows is None:
                return _exact(query, key, value, self)
            if self.option.kind == "tiled":
                out = tiled_reading(query, key, value, self.option, self.is_causal, self.scale)[0]
                return out if rows is None else out[rows]
            every = torch.arange(len(query)) if rows is None else rows
            parts = [
                self.logits(part, query, key).softmax(-1) @ value for part in every.split(_ROWS)
            ]
            return torch.cat(parts)

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
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    option: HeadOption,
    is_causal: bool,
    scale: float,
) -> tuple[Float[Tensor, "T E"], float]:
    """The output of `tiled_attention`, and the share of far rows that it has read."""
    out, report = tiled_attention(
        query[None, None],
        key[None, None],
        value[None, None],
        is_causal=is_causal,
        scale=scale,
        tolerance=float(option.parameters["tolerance"]),
        layout=tiled_layout(option),
        return_report=True,
    )
    return out[0, 0], _far_read(report, len(query), option, is_causal)


def _far_read(
    report: TiledAttentionReport, tokens: int, option: HeadOption, is_causal: bool
) -> float:
    near = tiled_near_keys(tokens, option, is_causal=is_causal)
    far = mean_visible_keys(tokens, is_causal=is_causal) - near
    blocks = torch.arange(tokens) // option["block"]
    rows = float(report.rows_per_query[0, 0][blocks].double().mean())
    return (rows - near) / far if far > 0 else 1.0


def _exact(query: Tensor, key: Tensor, value: Tensor, head: FittedHead) -> Tensor:
    q, k, v = (x[None, None] for x in (query, key, value))
    return scaled_dot_product_attention(q, k, v, is_causal=head.is_causal, scale=head.scale)[0, 0]
