"""Which option each head should take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

from ...errors import ArgumentError
from .judge import OptionTrial
from .recommendation import HeadChoice, Recommendation

Trials = Sequence[Sequence[Sequence[OptionTrial]]]

COMPOUNDING: Mapping[str, float] = MappingProxyType(
    {"exact": 1.0, "tiled": 1.0, "window": 4.0, "splat": 8.0, "fidelity": 4.0}
)
"""What errors of each kind come to where many heads have them, beside those of tiles: windows lose
the same far text in every head, and far kernels meet other texts than they were fitted to. Set by
trial on SmolLM2; see experiments/head_recommendation.py."""


def recommend(
    trials: Trials,
    sensitivity: Sequence[Sequence[float]],
    budget: float | None = None,
    tolerance: float | None = None,
    *,
    tokens: int | None = None,
    compounding: Mapping[str, float] = COMPOUNDING,
) -> Recommendation:
    """One option for each head: least harm within a budget, or least cost within a tolerance.

    The harm of an option in a head is c s e^2, s its sensitivity, e the error of the trial and c
    what errors of its kind come to where many heads have them; harms add up.

    With a budget, the mean cost of all heads is at most that and the sum of harms small: each head
    takes the option of least harm + p cost, at the least price p that keeps the budget (bisection
    over the prices at which a head changes its mind; Everett 1963, doi 10.1287/opre.11.3.399);
    what is left goes to single heads, most harm saved for its cost first. The price gives the
    least harm at its own cost; so the sum is above the optimum by at most what the part of the
    budget that stays unspent could save. With a tolerance, each head takes its cheapest option of
    e <= tolerance.

    Args:
        trials: [L][H], the same options in every head; the first is exact.
        sensitivity: [L][H], >= 0; see `head_sensitivity`.
        budget: of the mean cost; at least what the cheapest options cost.
        tolerance: >= 0. Exactly one of both is given.
        tokens: length of the text that costs are of; kept in the recommendation.
        compounding: c > 0 of each kind of option.

    Raises:
        ArgumentError: a budget that the cheapest options exceed; what is not rectangular, not
            finite or negative, by name.
    """
    _check(trials, sensitivity, budget, tolerance)
    _check_compounding(trials, compounding)
    heads = [
        [(t.cost, harm_of(t, s, compounding)) for t in row]
        for layer, weights in zip(trials, sensitivity, strict=True)
        for row, s in zip(layer, weights, strict=True)
    ]
    if budget is not None:
        chosen = cheapest_harm(heads, budget * len(heads))
    else:
        assert tolerance is not None
        flat = [row for layer in trials for row in layer]
        chosen = [_within(row, tolerance) for row in flat]
    options = tuple(trial.option for trial in trials[0][0])
    place = iter(chosen)
    choices = tuple(
        tuple(
            _choice(row, n := next(place), harm_of(row[n], weight, compounding), tolerance)
            for row, weight in zip(layer, weights, strict=True)
        )
        for layer, weights in zip(trials, sensitivity, strict=True)
    )
    return Recommendation(options, choices, budget=budget, tolerance=tolerance, tokens=tokens)


def cheapest_harm(heads: Sequence[Sequence[tuple[float, float]]], budget: float) -> list[int]:
    """For (cost, harm) of each option of each head: little total harm at total cost <= budget."""
    prices = sorted({0.0, *(p for head in heads for p in _prices(head)), math.inf})
    low, high = 0, len(prices) - 1
    while low < high:
        middle = (low + high) // 2
        if _total(heads, _at(heads, prices[middle])) <= budget:
            high = middle
        else:
            low = middle + 1
    chosen = _at(heads, prices[low])
    if _total(heads, chosen) > budget:
        raise ArgumentError(
            "budget",
            f"{budget / len(heads):.6g}",
            f"at least {_total(heads, chosen) / len(heads):.6g}, what the cheapest options cost",
            "raise the budget, or offer cheaper options",
        )
    return _filled(heads, chosen, budget - _total(heads, chosen))


def _prices(head: Sequence[tuple[float, float]]) -> list[float]:
    """Harm saved for cost between neighbours on the lower hull: where a head changes its mind."""
    hull: list[tuple[float, float]] = []
    for cost, harm in sorted(head):
        if hull and harm >= hull[-1][1]:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], (cost, harm)):
            hull.pop()
        hull.append((cost, harm))
    return [_slope(a, b) for a, b in pairwise(hull)]


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (a[1] - b[1]) / (b[0] - a[0]) if b[0] > a[0] else math.inf


def _at(heads: Sequence[Sequence[tuple[float, float]]], price: float) -> list[int]:
    """The option of least harm + price x cost in each head; of equals the cheaper."""
    return [
        min(range(len(head)), key=lambda n: (_priced(head[n], price), head[n])) for head in heads
    ]


def _priced(option: tuple[float, float], price: float) -> float:
    cost, harm = option
    return harm + price * cost if price < math.inf else cost


def _total(heads: Sequence[Sequence[tuple[float, float]]], chosen: Sequence[int]) -> float:
    return math.fsum(head[n][0] for head, n in zip(heads, chosen, strict=True))


def _filled(
    heads: Sequence[Sequence[tuple[float, float]]], chosen: list[int], left: float
) -> list[int]:
    """Spend what is left: again and again the change that fits and saves most for its cost."""
    chosen = list(chosen)
    while True:
        best: tuple[float, int, int] | None = None
        for number, head in enumerate(heads):
            cost, harm = head[chosen[number]]
            for n, (other_cost, other_harm) in enumerate(head):
                more, saved = other_cost - cost, harm - other_harm
                if more <= left and saved > 0:
                    worth = saved / more if more > 0 else math.inf
                    if best is None or worth > best[0]:
                        best = worth, number, n
        if best is None:
            return chosen
        _, number, n = best
        left -= heads[number][n][0] - heads[number][chosen[number]][0]
        chosen[number] = n


def _within(row: Sequence[OptionTrial], tolerance: float) -> int:
    fits = [n for n, trial in enumerate(row) if trial.error <= tolerance]
    return min(fits, key=lambda n: (row[n].cost, row[n].error))


def harm_of(
    trial: OptionTrial, sensitivity: float, compounding: Mapping[str, float] = COMPOUNDING
) -> float:
    """c s e^2, what a head's option is predicted to add to the loss; see `recommend`."""
    return compounding[trial.option.kind] * sensitivity * trial.error**2


def _choice(
    row: Sequence[OptionTrial], chosen: int, harm: float, tolerance: float | None
) -> HeadChoice:
    trial = row[chosen]
    return HeadChoice(chosen, trial.cost, trial.error, harm, _reason(row, chosen, tolerance))


def _reason(row: Sequence[OptionTrial], chosen: int, tolerance: float | None) -> str:
    trial = row[chosen]
    aim = "the total budget" if tolerance is None else f"a tolerance of {_percent(tolerance)}"
    cheaper = [t for t in row if t.cost < trial.cost]
    better = [t for t in row if t.error < trial.error]
    words = [
        f"{trial.option.name}: changes what the head gives by {_percent(trial.error)}"
        f" at {_percent(trial.cost)} of the multiply-adds"
        if chosen
        else "exact: all keys are read"
    ]
    if cheaper:
        best = min(cheaper, key=lambda t: t.error)
        words.append(
            f"of what is cheaper, {best.option.name} errs least, by {_percent(best.error)}"
        )
    if better:
        least = min(better, key=lambda t: t.cost)
        words.append(
            f"the cheapest that errs less, {least.option.name}, would take {_percent(least.cost)}"
            f" for {_percent(least.error)}"
        )
    return f"{'; '.join(words)}. Chosen for {aim}."


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"


def _check(
    trials: Trials,
    sensitivity: Sequence[Sequence[float]],
    budget: float | None,
    tolerance: float | None,
) -> None:
    if (budget is None) == (tolerance is None):
        raise ArgumentError(
            "budget", (budget, tolerance), "a budget or a tolerance", "pass budget=0.25 alone"
        )
    for name, number in (("budget", budget), ("tolerance", tolerance)):
        if number is not None and not 0 <= number < math.inf:
            raise ArgumentError(name, number, "a finite number >= 0", f"pass {name}=0.25")
    if not trials or not trials[0]:
        raise ArgumentError("trials", "none", "[L][H] lists of trials", "judge every head")
    options = [trial.option for trial in trials[0][0]]
    if not options or options[0].kind != "exact":
        raise ArgumentError(
            "trials", [o.name for o in options], "exact first", "use default_options"
        )
    for layer, row in enumerate(trials):
        for head, own in enumerate(row):
            place = f"trials[{layer}][{head}]"
            if [trial.option for trial in own] != options:
                names = [trial.option.name for trial in own]
                raise ArgumentError(
                    place, names, "the options of every head", "judge all heads alike"
                )
            for trial in own:
                if not (0 <= trial.cost < math.inf and 0 <= trial.error < math.inf):
                    got = f"cost {trial.cost}, error {trial.error} of {trial.option.name}"
                    raise ArgumentError(place, got, "finite numbers >= 0", "leave such heads out")
    shapes = [len(row) for row in trials], [len(row) for row in sensitivity]
    if shapes[0] != shapes[1]:
        raise ArgumentError(
            "sensitivity", f"rows of {shapes[1]}", f"rows of {shapes[0]}", "give one a head"
        )
    if not all(0 <= s < math.inf for row in sensitivity for s in row):
        raise ArgumentError("sensitivity", sensitivity, "finite numbers >= 0", "pass 1 if unknown")


def _check_compounding(trials: Trials, compounding: Mapping[str, float]) -> None:
    for kind in {trial.option.kind for trial in trials[0][0]}:
        if not 0 < compounding.get(kind, 0) < math.inf:
            raise ArgumentError(
                "compounding",
                f"{compounding.get(kind)} for {kind}",
                "a finite number > 0 for each kind of option",
                f"add {kind}=1.0",
            )
