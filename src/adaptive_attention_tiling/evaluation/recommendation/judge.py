"""How well each option serves a head, on queries that no fit has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ..diagnostics.head_tensors import check_head
from .fit import fit_option
from .fitted_head import FittedHead, tiled_reading
from .options import HeadOption, default_options


@dataclass(frozen=True)
class OptionTrial:
    """What an option costs a head, and what it gets wrong.

    Args:
        option: what was tried.
        cost: multiply-adds a query as a share of exact attention; see `FittedHead.cost`.
        error: relative error of the head's output on held-out queries, see `judge_head`.
    """

    option: HeadOption
    cost: float
    error: float


def judge_head(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    *,
    is_causal: bool = True,
    scale: float | None = None,
    options: Sequence[HeadOption] | None = None,
    rows: int = 256,
    metric: Float[Tensor, "E E"] | None = None,
    generator: torch.Generator | None = None,
) -> list[OptionTrial]:
    """Every option fitted to the head, and its error on queries that the fit has not seen.

        error = sqrt(sum_i (o'_i - o_i)^T M (o'_i - o_i) / sum_i o_i^T M o_i)

    over the held-out queries, one from each of `rows` equal stretches of the text. Keys of the
    whole text are seen by the fits.

    Args:
        query, key, value: of one head, rotated if the model rotates them.
        options: by default `default_options(T)`.
        rows: queries held out; at most half of the text.
        metric: M, positive semi-definite: I by default; W_O^T W_O of the head measures what it
            adds to the residual stream, a Fisher matrix what that does to the loss.
        generator: of all draws; by default a new one with seed 0.

    Returns:
        A trial for each option, in order; see `fit_and_judge` for the fitted heads too.
    """
    found = fit_and_judge(
        query,
        key,
        value,
        is_causal=is_causal,
        scale=scale,
        options=options,
        rows=rows,
        metric=metric,
        generator=generator,
    )
    return [trial for trial, _ in found]


def fit_and_judge(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    *,
    is_causal: bool = True,
    scale: float | None = None,
    options: Sequence[HeadOption] | None = None,
    rows: int = 256,
    metric: Float[Tensor, "E E"] | None = None,
    generator: torch.Generator | None = None,
) -> list[tuple[OptionTrial, FittedHead]]:
    """As `judge_head`, with the head that was fitted to all other queries beside each trial."""
    check_head(query, key, value)
    if isinstance(rows, bool) or rows < 1:
        raise ArgumentError("rows", rows, "an integer >= 1", "pass rows=256")
    tensors = query.detach(), key.detach(), value.detach()
    options = default_options(len(query)) if options is None else options
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    held_out, rest = (x.to(query.device) for x in split_rows(len(query), rows, generator))
    settings: dict[str, Any] = {"is_causal": is_causal, "scale": scale}
    whole = fit_option(HeadOption("exact", "exact"), *tensors, **settings)
    exact = whole.read(*tensors, held_out).double()
    metric = torch.eye(exact.shape[1]).to(exact) if metric is None else metric.to(exact)
    size = ((exact @ metric) * exact).sum().clamp_min(1e-300)
    found = []
    for option in options:
        if option.kind == "tiled":
            # One call tells both what tiles give and what they take.
            out, head = tiled_reading(replace(whole, option=option), *tensors)
            out = out[held_out]
        else:
            head = fit_option(option, *tensors, **settings, rows=rest, generator=generator)
            out = head.read(*tensors, held_out)
        miss = out.double() - exact
        square = ((miss @ metric) * miss).sum().clamp_min(0)
        error = float((square / size).sqrt())
        found.append((OptionTrial(option, head.cost(len(query)), error), head))
    return found


def split_rows(
    tokens: int, rows: int, generator: torch.Generator
) -> tuple[Int[Tensor, " r"], Int[Tensor, " s"]]:
    """One token of each of `rows` equal stretches, drawn at random, and all other tokens.

    At most half of the tokens are drawn, so that something is left, except from a text of one.
    """
    rows = min(rows, max(1, tokens // 2))
    ends = torch.arange(rows + 1) * tokens // rows
    share = torch.rand(rows, generator=generator, dtype=torch.float64)
    held_out = ends[:-1] + (share * ends.diff()).long()
    rest = torch.ones(tokens, dtype=torch.bool)
    rest[held_out] = False
    return held_out, rest.nonzero()[:, 0]
