import doctest
import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import laws
from adaptive_attention_tiling.testing.laws.report import LawReport, at_place, judged, summarised

NAN, INF = math.nan, math.inf
WORDS = {"law": "x = 0", "quantity": "x", "where": "here", "cases": 1, "not_shown": "y"}


def report(measured, lower=-INF, upper=INF, **options):
    return LawReport(measured=measured, lower=lower, upper=upper, **(WORDS | options))


@pytest.mark.parametrize(
    ("measured", "lower", "upper", "holds"),
    [
        (1.0, 1.0, INF, True),
        (math.nextafter(1.0, 0), 1.0, INF, False),
        (2.0, -INF, 2.0, True),
        (math.nextafter(2.0, 3), -INF, 2.0, False),
        (1.5, 1.0, 2.0, True),
        (0.5, 1.0, 2.0, False),
        (2.5, 1.0, 2.0, False),
        (NAN, 1.0, INF, False),
        (INF, 1.0, INF, False),
        (-INF, -INF, 2.0, False),
    ],
)
def test_the_verdict_is_what_the_numbers_say(measured, lower, upper, holds):
    found = report(measured, lower, upper)
    assert bool(found) is found.holds is holds
    assert str(found).startswith("holds: " if holds else "FAILS: ")
    assert "\n" not in str(found)
    if holds:
        found.require()
    else:
        with pytest.raises(AssertionError, match=r"FAILS: x = 0; x is .* not shown: y"):
            found.require()


def test_a_sentence_tells_all():
    wanted = "holds: x = 0; x is 1.5, allowed {}, at worst here, of 3 looked at; not shown: y"
    assert str(report(1.5, 1, 2, cases=3)) == wanted.format("from 1 to 2")
    assert str(report(1.5, 1, cases=3)) == wanted.format("from 1")
    assert str(report(1.5, upper=2, cases=3)) == wanted.format("up to 2")


@pytest.mark.parametrize(
    "options",
    [{"cases": 0}, {"lower": 1.0, "upper": 0.0}, {"lower": NAN}, {}, {"upper": NAN}],
    ids=str,
)
def test_a_law_that_saw_nothing_or_allows_anything_is_an_error(options):
    with pytest.raises(ArgumentError):
        report(0.5, **options)


@pytest.mark.parametrize(
    ("values", "worst"),
    [
        ([1.0, 5.0, 2.0], 1),
        ([1.0, -3.0, 2.0], 1),
        ([1.0, 3.0, NAN, 99.0], 2),
        ([INF, 3.0], 0),
        ([0.5, 1.0, 1.9], 2),
    ],
)
def test_the_worst_case_is_found(values, worst):
    found = judged(
        torch.tensor(values), law="x", quantity="x", lower=0.0, upper=2.0,
        where=at_place("entry", (len(values),)), not_shown="y",
    )  # fmt: skip
    assert found.where == f"entry {worst}"
    assert found.cases == len(values)
    assert bool(found) == (worst == 2 and values[2] == 1.9)


def test_bounds_may_differ_by_case_and_places_have_indices():
    values, upper = torch.zeros(2, 3), torch.ones(2, 3)
    upper[1, 2] = -1.0
    found = judged(
        values, law="x", quantity="x", upper=upper, where=at_place("entry", (2, 3)), not_shown="y"
    )
    assert not found
    assert (found.where, found.upper) == ("entry (1, 2)", -1.0)
    with pytest.raises(ArgumentError, match="cases: got 0"):
        judged(values[:0], law="x", quantity="x", upper=1.0, where=str, not_shown="y")


def test_of_parts_the_first_that_fails_is_told():
    good, bad, worse = report(0.0, upper=1.0), report(2.0, upper=1.0), report(3.0, upper=1.0)
    assert summarised(good, bad, worse) is bad
    assert summarised(good, report(0.5, upper=1.0)) is good


def test_the_example_of_the_module_runs():
    assert doctest.testmod(laws).attempted == 8
    assert doctest.testmod(laws).failed == 0
