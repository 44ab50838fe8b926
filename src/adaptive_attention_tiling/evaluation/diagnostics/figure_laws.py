"""The laws that the figures of a head keep, one by one and together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from .figure import Figure
from .figures import FIGURES

_ROUNDING = 1e-9
_PARTS = ("pattern_stability", "cross_tile_flow", "edge_utilization", "information_density")


class _AtMost(NamedTuple):
    """The sum of the lesser figures is at most the larger one."""

    lesser: tuple[str, ...]
    larger: str


_ORDERS = (
    _AtMost(("entropy_rate",), "law_entropy"),
    _AtMost(("window_16_mass",), "window_64_mass"),
    _AtMost(("window_64_mass",), "window_256_mass"),
    _AtMost(("own_mass", "previous_mass"), "window_16_mass"),
    _AtMost(("endless_loops",), "loops"),
    _AtMost(("curvature_least",), "curvature_mean"),
)


def check_laws(values: Mapping[str, float], tokens: int) -> list[str]:
    """What is wrong with the figures of a head; nothing if all is as laws have it.

    Each figure is there, has a name, is within its bounds for the tokens of the text, and is a
    number, or NaN where it may lack. Together: the entropy rate of a walk is at most the entropy of
    its law; wider windows hold more; a head's own token and the one before lie in every window;
    information-flow quality is the mean of its parts; loops without end are loops; no entropy of
    loops is above the logarithm of their number; the least curvature is at most the mean; no wave
    grows faster than the largest gain less 1.

    Args:
        values: name -> number, as `head_figures` gives them.
        tokens: T, of the text.
    """
    names = {figure.name for figure in FIGURES}
    missing = [f"{name}: missing" for name in sorted(names - values.keys())]
    unknown = [f"{name}: no such figure" for name in sorted(values.keys() - names)]
    broken = [
        wrong
        for figure in FIGURES
        if figure.name in values
        for wrong in _out_of_bounds(figure, values[figure.name], tokens)
    ]
    return missing + unknown + broken + _out_of_order(values) + _not_a_mean(values)


def _out_of_bounds(figure: Figure, value: float, tokens: int) -> list[str]:
    if math.isnan(value):
        return [] if figure.may_lack else [f"{figure.name}: NaN"]
    if math.isinf(value):
        return [f"{figure.name}: {value}"]
    low, high = figure.limits(tokens)
    if low is not None and value < low - _allowed(low):
        return [f"{figure.name}: {value:.6g} is below {low:.6g}"]
    if high is not None and value > high + _allowed(high):
        return [f"{figure.name}: {value:.6g} is above {high:.6g}"]
    return []


def _out_of_order(values: Mapping[str, float]) -> list[str]:
    broken = []
    for lesser, larger in _ORDERS:
        total, most = sum(values.get(name, math.nan) for name in lesser), values.get(larger)
        if most is not None and total > most + _allowed(most):
            broken.append(f"{' + '.join(lesser)}: {total:.6g} is above {larger}, {most:.6g}")
    loops, entropy = values.get("loops", math.nan), values.get("loop_entropy", math.nan)
    if entropy > math.log(max(loops, 1)) + _ROUNDING:
        broken.append(f"loop_entropy: {entropy:.6g} is above log of {loops:.6g} loops")
    rate, gain = (values.get(f"response_{name}", math.nan) for name in ("growth", "gain"))
    if rate > gain - 1 + _allowed(gain):
        broken.append(f"response_growth: {rate:.6g} is above response_gain - 1, {gain - 1:.6g}")
    return broken


def _not_a_mean(values: Mapping[str, float]) -> list[str]:
    mean = sum(values.get(name, math.nan) for name in _PARTS) / len(_PARTS)
    quality = values.get("ifq", math.nan)
    if abs(quality - mean) > _ROUNDING:
        return [f"ifq: {quality:.6g} is not the mean of its parts, {mean:.6g}"]
    return []


def _allowed(bound: float) -> float:
    """What rounding may add to a bound."""
    return _ROUNDING * max(1.0, abs(bound))
