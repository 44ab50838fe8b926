"""Everything an inspection finds out about one head, in a form that goes between processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..diagnostics import (
    HeadFigures,
    MatrixPattern,
    PatternMatch,
    attention_rows,
    head_figures,
    match_pattern,
    parse_pattern,
)
from ..recommendation import HeadOption, judge_head
from .plan import InspectionPlan
from .splat_map import SplatMap, splat_map
from .strongest_keys import StrongestKeys, strongest_keys
from .tile_cut import TileCut, tile_cut

# Rows of a head that a row of a matrix pattern needs, and those that a pattern gets at least.
_ROWS_OF_A_PHASE, _PATTERN_ROWS = 4, 128

Options = tuple[tuple[str, str, dict[str, float]], ...]


@dataclass(frozen=True, kw_only=True)
class HeadTask:
    """One head on one text.

    layer, head  where it is
    number       of the head in the model, from 0: its draws depend on nothing else
    query, key, value  [T, D], [T, D] and [T, E] in float32
    metric       [E, E], what an error of its output does; None for the plain error
    options      name, kind and parameters of each
    """

    layer: int
    head: int
    number: int
    query: np.ndarray[Any, Any]
    key: np.ndarray[Any, Any]
    value: np.ndarray[Any, Any]
    scale: float
    is_causal: bool
    metric: np.ndarray[Any, Any] | None
    options: Options
    plan: InspectionPlan


@dataclass(frozen=True, kw_only=True)
class HeadInspection:
    """What was found.

    values       of `FIGURES`, NaN where a figure has no meaning
    trials       cost and error of each option
    matches      of each pattern
    seconds      of one processor, by kind of work
    The rest is for the head's page.
    """

    layer: int
    head: int
    values: dict[str, float]
    trials: tuple[tuple[float, float], ...]
    matches: tuple[PatternMatch, ...]
    strongest: StrongestKeys
    profile: tuple[tuple[int, ...], tuple[float, ...]]
    stationary: tuple[float, ...]
    bottlenecks: tuple[tuple[int, int], ...]
    period: dict[str, Any] | None
    tiles: TileCut | None
    splats: SplatMap | None
    seconds: dict[str, float] = field(compare=False)


def inspect_head(task: HeadTask) -> HeadInspection:
    """All figures, trials and pictures of one head."""
    query, key, value = (torch.from_numpy(x) for x in (task.query, task.key, task.value))
    plan, seconds = task.plan, dict[str, float]()
    head: dict[str, Any] = {"is_causal": task.is_causal, "scale": task.scale}

    def draws(part: int) -> torch.Generator:
        return torch.Generator().manual_seed(plan.seed + 4 * task.number + part)

    with _timed(seconds, "figures"):
        found = head_figures(query, key, value, **head, rows=plan.rows, generator=draws(0))
    with _timed(seconds, "options"):
        options = [HeadOption(*parts) for parts in task.options]
        metric = None if task.metric is None else torch.from_numpy(task.metric)
        trials = judge_head(
            query, key, value, **head,
            options=options, rows=plan.judged_rows, metric=metric, generator=draws(1),
        )  # fmt: skip
    with _timed(seconds, "patterns"):
        matches = tuple(_matches(query, key, head, plan, draws(2)))
    with _timed(seconds, "pictures"):
        strongest = strongest_keys(found.rows, queries=plan.shown_queries, keys=plan.shown_keys)
        tiles = tile_cut(query, key, value, scale=task.scale, tolerance=plan.cut_tolerance)
        splats = splat_map(query, key, scale=task.scale, generator=draws(3))
    return HeadInspection(
        layer=task.layer,
        head=task.head,
        values=found.values,
        trials=tuple((trial.cost, trial.error) for trial in trials),
        matches=matches,
        strongest=strongest,
        profile=(tuple(found.profile.offsets.tolist()), tuple(found.profile.mass.tolist())),
        stationary=() if found.stationary is None else tuple(found.stationary.tolist()),
        bottlenecks=found.bottlenecks,
        period=_period(found),
        tiles=tiles,
        splats=splats,
        seconds=seconds,
    )


def _matches(
    query: Tensor,
    key: Tensor,
    head: dict[str, Any],
    plan: InspectionPlan,
    generator: torch.Generator,
) -> Iterator[PatternMatch]:
    patterns = [parse_pattern(text) for _, text in plan.patterns]
    if not patterns:
        return
    phases = [len(p.matrix) for p in patterns if isinstance(p, MatrixPattern)]
    rows = max(_PATTERN_ROWS, plan.rows, *(_ROWS_OF_A_PHASE * n for n in phases))
    sampled = attention_rows(query, key, **head, rows=rows, generator=generator)
    for pattern in patterns:
        yield match_pattern(sampled, pattern)


def _period(found: HeadFigures) -> dict[str, Any] | None:
    period = found.period
    if period is None or not period.period:
        return None
    return {
        "kind": period.kind,
        "period": period.period,
        "chance": period.chance,
        "phases": list(period.phases),
    }


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    before = time.process_time()
    yield
    seconds[name] = time.process_time() - before
