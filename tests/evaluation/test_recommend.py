"""Which option each head gets, against an exact optimum, and the file that says so."""

import copy
import functools
import itertools
import json
import math
import pickle
import random

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.recommendation import (
    HeadOption,
    OptionTrial,
    Recommendation,
)
from adaptive_attention_tiling.evaluation.recommendation import recommend as recommend_by_default

OPTIONS = (
    HeadOption("exact", "exact"),
    HeadOption("window 64", "window", {"window": 64, "sinks": 4}),
    HeadOption("tiled 0.3", "tiled", {"tolerance": 0.3, "block": 64}),
    HeadOption("splat 8", "splat", {"splats": 8, "window": 64, "sinks": 4}),
)
# Errors that add up alike, whatever made them.
ALIKE = dict.fromkeys(("exact", "window", "tiled", "splat", "fidelity"), 1.0)
recommend = functools.partial(recommend_by_default, compounding=ALIKE)


def head(*pairs):
    """Trials of (cost, error), exact added first."""
    every = [(1.0, 0.0), *pairs]
    return [OptionTrial(o, c, e) for o, (c, e) in zip(OPTIONS, every, strict=False)]


GOLDEN = [[head((0.1, 0.5), (0.4, 0.1)), head((0.1, 0.01), (0.4, 0.001))]]


@pytest.mark.parametrize(
    ("budget", "sensitivity", "places"),
    [
        (1.0, [[1.0, 1.0]], [[0, 0]]),
        (0.55, [[1.0, 1.0]], [[0, 1]]),
        (0.25, [[1.0, 1.0]], [[2, 1]]),
        (0.25, [[1.0, 1e6]], [[1, 2]]),
        (0.1, [[1.0, 1.0]], [[1, 1]]),
        # The price alone would leave the second head at its window: what is left buys tiles.
        (0.4, [[1.0, 1.0]], [[2, 2]]),
        (0.5, [[0.0, 0.0]], [[1, 1]]),
    ],
)
def test_budgets_go_where_harm_is(budget, sensitivity, places):
    found = recommend(GOLDEN, sensitivity, budget)
    assert found.indices == places
    picked = [t[n] for t, n in zip(GOLDEN[0], places[0], strict=True)]
    assert found.cost == pytest.approx(sum(t.cost for t in picked) / 2)
    harms = [s * t.error**2 for s, t in zip(sensitivity[0], picked, strict=True)]
    assert found.harm == pytest.approx(sum(harms))
    assert found.cost <= budget + 1e-12


@pytest.mark.parametrize(
    ("tolerance", "places"), [(0, [[0, 0]]), (0.01, [[0, 1]]), (0.1, [[2, 1]]), (9, [[1, 1]])]
)
def test_a_tolerance_takes_the_cheapest_within_it(tolerance, places):
    assert recommend(GOLDEN, [[1.0, 1.0]], tolerance=tolerance).indices == places


def optimum(heads, budget):
    """Least harm at each whole cost up to `budget`, head by head (dynamic programming)."""
    least = [0.0] * (budget + 1)
    for options in heads:
        least = [
            min((least[c - cost] + harm for cost, harm in options if cost <= c), default=math.inf)
            for c in range(budget + 1)
        ]
    return least[budget]


def drawn(rng):
    """Six heads of four options; costs are whole numbers of 1 / 20."""
    heads = []
    for _ in range(6):
        costs = rng.sample(range(1, 20), 3)
        heads.append([(20, 0.0), *((c, rng.random() ** 2 / c) for c in costs)])
    trials = [
        [OptionTrial(o, c / 20, math.sqrt(h)) for o, (c, h) in zip(OPTIONS, own, strict=True)]
        for own in heads
    ]
    return heads, [trials]


def test_it_is_near_the_exact_optimum_and_at_its_own_cost_it_is_it():
    rng, excess, best_sum = random.Random(1), 0.0, 0.0
    for _ in range(40):
        heads, trials = drawn(rng)
        least = sum(min(c for c, _ in own) for own in heads)
        for budget in range(least, 121, 7):
            found = recommend(trials, [[1.0] * 6], budget / 120 + 1e-9)
            spent = round(found.cost * 120)
            assert spent <= budget
            best = optimum(heads, budget)
            assert found.harm >= best - 1e-12
            # No single change that still fits would lower the harm.
            for own, n in zip(heads, found.indices[0], strict=True):
                for cost, harm in own:
                    assert cost - own[n][0] > budget - spent or harm >= own[n][1] - 1e-12
            excess, best_sum = excess + found.harm - best, best_sum + best
    assert excess < 0.03 * best_sum


def test_at_a_price_it_is_the_optimum_of_what_it_spends():
    rng = random.Random(2)
    for _ in range(40):
        heads, trials = drawn(rng)
        # Budgets that some price spends to the last are met exactly.
        for price in (0.0005, 0.002, 0.01):
            at = [min(own, key=lambda o: (o[1] + price * o[0], o)) for own in heads]
            spent = sum(c for c, _ in at)
            found = recommend(trials, [[1.0] * 6], spent / 120 + 1e-9)
            assert found.harm == pytest.approx(optimum(heads, spent))


def test_errors_that_add_up_over_heads_weigh_more():
    windows_or_tiles = [[head((0.3, 0.1), (0.3, 0.15))]]
    assert recommend(windows_or_tiles, [[3.0]], 0.3).indices == [[1]]
    found = recommend_by_default(windows_or_tiles, [[3.0]], 0.3)
    assert found.indices == [[2]]
    assert found.harm == pytest.approx(3 * 0.15**2)
    twice = recommend_by_default(windows_or_tiles, [[3.0]], 0.3, compounding=ALIKE | {"tiled": 7.0})
    assert twice.harm == pytest.approx(3 * 0.1**2)
    assert recommend_by_default(windows_or_tiles, [[3.0]], tolerance=0.2).indices == [[1]]


@pytest.mark.parametrize("number", [0.0, -1.0, math.nan, math.inf, None])
def test_a_kind_without_a_number_is_told(number):
    given = {"exact": 1.0, "tiled": 1.0} | ({} if number is None else {"window": number})
    with pytest.raises(ArgumentError, match=r"compounding: .* for window"):
        recommend_by_default([[head((0.3, 0.1), (0.3, 0.2))]], [[1.0]], 0.5, compounding=given)


def test_what_no_head_gains_from_is_not_bought():
    worse = [[head((0.5, 0.3), (0.6, 0.4))]]
    assert recommend(worse, [[1.0]], 0.7).indices == [[1]]
    dear = [[head((1.5, 0.0), (0.6, 0.4))]]
    assert recommend(dear, [[1.0]], 2.0).indices == [[0]]
    assert recommend(dear, [[1.0]], tolerance=0.0).indices == [[0]]


def test_reasons_tell_what_was_weighed():
    first, second = recommend(GOLDEN, [[1.0, 1.0]], 0.25, tokens=512).choices[0]
    assert first.reason == (
        "tiled 0.3: changes what the head gives by 10 % at 40 % of the multiply-adds; of what is "
        "cheaper, window 64 errs least, by 50 %; the cheapest that errs less, exact, would take "
        "100 % for 0 %. Chosen for the total budget."
    )
    assert "window 64: changes what the head gives by 1 % at 10 %" in second.reason
    exact = recommend(GOLDEN, [[1.0, 1.0]], tolerance=0.05).choices[0][0].reason
    assert exact == (
        "exact: all keys are read; of what is cheaper, tiled 0.3 errs least, by 10 %. "
        "Chosen for a tolerance of 5 %."
    )


TWO = [*itertools.repeat(head((0.1, 0.5)), 2)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("budget", (GOLDEN, [[1.0, 1.0]])),
        ("budget", (GOLDEN, [[1.0, 1.0]], 0.5, 0.1)),
        ("budget", (GOLDEN, [[1.0, 1.0]], 0.0999)),
        ("budget", (GOLDEN, [[1.0, 1.0]], math.nan)),
        ("tolerance", (GOLDEN, [[1.0, 1.0]], None, -1.0)),
        ("sensitivity", (GOLDEN, [[1.0]], 0.5)),
        ("sensitivity", (GOLDEN, [[1.0, -1.0]], 0.5)),
        ("sensitivity", (GOLDEN, [[1.0, math.nan]], 0.5)),
        ("trials", ([], [], 0.5)),
        ("trials", ([[head((0.1, 0.5))[1:]]], [[1.0]], 0.5)),
        ("trials[0][1]", ([[TWO[0], GOLDEN[0][0]]], [[1.0, 1.0]], 0.5)),
        ("trials[0][0]", ([[head((0.1, math.nan))]], [[1.0]], 0.5)),
        ("trials[0][0]", ([[head((-0.1, 0.0))]], [[1.0]], 0.5)),
    ],
)
def test_what_cannot_be_weighed_is_refused_by_name(name, arguments):
    with pytest.raises(ArgumentError) as caught:
        recommend(*arguments)
    assert caught.value.name == name


def test_the_least_budget_is_told():
    with pytest.raises(ArgumentError, match=r"at least 0\.1, what the cheapest options cost"):
        recommend(GOLDEN, [[1.0, 1.0]], 0.05)


@pytest.fixture
def whole():
    return recommend(GOLDEN, [[0.5, 2.0]], 0.25, tokens=512)


def test_a_file_brings_back_the_same_recommendation(whole):
    assert Recommendation.from_json(whole.to_json()) == whole
    other = recommend(GOLDEN, [[0.5, 2.0]], tolerance=0.05)
    assert Recommendation.from_json(other.to_json()) == other
    assert pickle.loads(pickle.dumps(whole)) == copy.deepcopy(whole) == whole
    document = json.loads(whole.to_json())
    assert (document["budget"], document["tolerance"], document["tokens"]) == (0.25, None, 512)
    assert document["cost"] == whole.cost
    assert document["harm"] == whole.harm
    assert document["options"][1] == {
        "name": "window 64",
        "kind": "window",
        "parameters": {"window": 64, "sinks": 4},
    }
    assert whole.option(0, 1) == OPTIONS[1]
    with pytest.raises(TypeError):
        whole.options[1].parameters["window"] = 3


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda d: d.update(format="other"), "format"),
        (lambda d: d.update(version=2), "version"),
        (lambda d: d.update(more=1), "text"),
        (lambda d: d.pop("options"), "options"),
        (lambda d: d.update(choices=[]), "choices"),
        (lambda d: d.update(choices=[{}]), "choices[0]"),
        (lambda d: d["choices"][0][1].update(option=9), "choices[0][1].option"),
        (lambda d: d["choices"][0][1].update(option=-1), "choices[0][1].option"),
        (lambda d: d["choices"][0][1].update(option=True), "choices[0][1].option"),
        (lambda d: d["choices"][0][0].update(cost=-1.0), "choices[0][0].cost"),
        (lambda d: d["choices"][0][0].update(error="much"), "choices[0][0].error"),
        (lambda d: d["choices"][0][0].update(harm=None), "choices[0][0].harm"),
        (lambda d: d["choices"][0][0].update(reason=3), "choices[0][0].reason"),
        (lambda d: d["choices"][0][0].update(more=3), "choices[0][0]"),
        (lambda d: d["choices"][0][0].pop("cost"), "choices[0][0]"),
        (lambda d: d["options"][1].pop("kind"), "options[1]"),
        (lambda d: d["options"][1].update(kind="magic"), "options[1].kind"),
        (lambda d: d["options"][1].update(parameters=[]), "options[1].parameters"),
        (lambda d: d["options"][1]["parameters"].update(window=0), "options[1].window"),
        (lambda d: d.update(budget="all"), "budget"),
        (lambda d: d.update(tokens=0), "tokens"),
        (lambda d: d.update(tolerance=math.nan), "text"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_the_place(whole, change, name):
    document = json.loads(whole.to_json())
    change(document)
    with pytest.raises(ArgumentError) as caught:
        Recommendation.from_json(json.dumps(document))
    assert caught.value.name == name


@pytest.mark.parametrize("text", ["", "[1, 2]", "{"])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(ArgumentError) as caught:
        Recommendation.from_json(text)
    assert caught.value.name == "text"
