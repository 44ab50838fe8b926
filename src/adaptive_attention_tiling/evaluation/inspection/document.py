"""An inspection as one JSON document: what pages show, programs read and conversion goes by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...errors import ArgumentError
from ..diagnostics import FIGURES, matching_heads
from ..recommendation import HeadChoice, Recommendation
from .head import HeadInspection

if TYPE_CHECKING:
    from .inspection import Inspection

SCHEMA = 1
# Heads are said to match a pattern at this rate of false ones among them.
FALSE_SHARE = 0.05


def document_of(
    inspection: Inspection,
    *,
    command: str,
    model: str,
    text: str,
    pieces: Sequence[str],
    machine: Mapping[str, Any],
    versions: Mapping[str, Any],
) -> dict[str, Any]:
    """What `Inspection.document` gives."""
    if len(pieces) != inspection.tokens:
        raise ArgumentError(
            "pieces", len(pieces), f"{inspection.tokens}, one a token", "pass token_pieces"
        )
    return {
        "schema": SCHEMA,
        "command": command,
        "model": model,
        "text": text,
        "kind": inspection.kind,
        "tokens": inspection.tokens,
        "layers": inspection.layers,
        "heads": inspection.heads,
        "key_value_heads": inspection.key_value_heads,
        "machine": dict(machine),
        "versions": dict(versions),
        "seconds": _short(inspection.seconds),
        "processor_seconds": {k: _short(v) for k, v in inspection.processor_seconds.items()},
        "pieces": list(pieces),
        "figures": _figures(inspection),
        "violations": list(inspection.violations),
        "patterns": _patterns(inspection),
        "options": [
            {"name": o.name, "kind": o.kind, "parameters": dict(o.parameters)}
            for o in inspection.options
        ],
        "tolerance": inspection.plan.tolerance,
        "sensitivity_unit": inspection.unit,
        "budgets": [_budget(asked, told) for asked, told in inspection.by_budget],
        "by_head": [[_head(inspection, head) for head in row] for row in inspection.found],
    }


def _figures(inspection: Inspection) -> list[dict[str, Any]]:
    figures = []
    for figure in FIGURES:
        low, high = figure.limits(inspection.tokens)
        figures.append(
            {
                "name": figure.name,
                "title": figure.title,
                "group": figure.group,
                "unit": figure.unit,
                "low": _short(low),
                "high": _short(high),
                "explanation": figure.explanation,
                "values": [
                    [_short(head.values[figure.name]) for head in row] for row in inspection.found
                ],
            }
        )
    return figures


def _patterns(inspection: Inspection) -> list[dict[str, Any]]:
    told = []
    for place, (name, text) in enumerate(inspection.plan.patterns):
        matches = [[head.matches[place] for head in row] for row in inspection.found]
        told.append(
            {
                "name": name,
                "description": text,
                **{
                    part: [[_short(getattr(match, part)) for match in row] for row in matches]
                    for part in ("score", "z", "p_value")
                },
                "matching": [
                    {"layer": one.layer, "head": one.head, "adjusted": _short(one.adjusted)}
                    for one in matching_heads(matches)
                    if one.adjusted <= FALSE_SHARE
                ],
            }
        )
    return told


def _budget(asked: float, told: Recommendation) -> dict[str, Any]:
    return {
        "budget": asked,
        "cost": _short(told.cost),
        "harm": _short(told.harm),
        "choice": told.indices,
    }


def _head(inspection: Inspection, head: HeadInspection) -> dict[str, Any]:
    choice: HeadChoice = inspection.chosen.choices[head.layer][head.head]
    tiles, splats = head.tiles, head.splats
    return {
        "queries": list(head.strongest.queries),
        "keys": [list(keys) for keys in head.strongest.keys],
        "weights": [_row(weights) for weights in head.strongest.weights],
        "profile": {"offsets": list(head.profile[0]), "mass": _row(head.profile[1])},
        "stationary": _row(head.stationary),
        "tiles": tiles
        and {
            "ends": list(tiles.ends),
            "resolution": _row(tiles.resolution),
            "query": tiles.query,
        },
        "splats": splats
        and {
            "axes": _row(splats.axes),
            "queries": _points(splats.queries),
            "keys": _points(splats.keys),
            "centres": _points(splats.centres),
        },
        "bottlenecks": [list(pair) for pair in head.bottlenecks],
        "period": head.period and {**head.period, "chance": _short(head.period["chance"])},
        "trials": [
            {"option": place, "cost": _short(cost), "error": _short(error)}
            for place, (cost, error) in enumerate(head.trials)
        ],
        "sensitivity": _short(inspection.sensitivity[head.layer][head.head]),
        "recommendation": {
            "option": choice.option,
            "cost": _short(choice.cost),
            "error": _short(choice.error),
            "reason": choice.reason,
        },
    }


def _short(number: float | None, digits: int = 5) -> float | int | None:
    """Rounded to so many digits; None for what is no number."""
    if number is None or not math.isfinite(number):
        return None
    return float(f"{number:.{digits}g}") if isinstance(number, float) else number


def _row(numbers: Sequence[float]) -> list[float | int | None]:
    return [_short(number, 3) for number in numbers]


def _points(points: Tensor) -> list[list[float | int | None]]:
    return [_row(point) for point in points.tolist()]
