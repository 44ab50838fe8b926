"""Every law of the figures of a head is seen to fail on values that break it."""

import math

import pytest

from adaptive_attention_tiling.evaluation.diagnostics import FIGURES, check_laws

TOKENS = 300

LAWFUL = {
    "shannon_entropy": 2.0,
    "shannon_share": 0.5,
    "von_neumann_entropy": 1.0,
    "von_neumann_share": 0.4,
    "effective_rank": 5.0,
    "rank_share": 0.1,
    "sink_mass": 0.3,
    "own_mass": 0.1,
    "previous_mass": 0.1,
    "window_16_mass": 0.3,
    "window_64_mass": 0.4,
    "window_256_mass": 0.6,
    "mean_distance": 50.0,
    "median_distance": 30.0,
    "mixing_time": 7.0,
    "law_entropy": 3.0,
    "entropy_rate": 2.0,
    "law_residual": 1e-16,
    "ifq": 0.5,
    "pattern_stability": 0.2,
    "cross_tile_flow": 0.4,
    "edge_utilization": 0.6,
    "information_density": 0.8,
    "key_bits": 8,
    "key_error": 0.008,
    "key_integer_bits": 3.0,
    "key_fraction_bits": 4.0,
    "period": 9,
    "period_chance": 0.5,
    "period_explained": 0.1,
    "stride_gain": -0.2,
    "curvature_mean": -0.5,
    "curvature_least": -1.5,
    "negative_curvature_share": 0.7,
    "components": 2,
    "loops": 20,
    "endless_loops": 5,
    "joining_persistence": 90.0,
    "loop_entropy": 2.0,
    "cycle_entropy": 2.0,
    "spectral_gap": 0.3,
    "ramanujan_margin": -1.0,
    "keys_dropped": 0.2,
    "keys_opened": 0.5,
    "keys_summarised": 0.3,
    "window_error": 1.2,
    "mean_error": 0.8,
    **{f"{name}_error": 0.5 for name in ("linear", "exponential", "fidelity", "splat")},
    **{f"{name}_explained": 0.4 for name in ("linear", "exponential", "fidelity", "splat")},
    "response_gain": 1.5,
    "response_growth": 0.2,
    "response_wavelength": 64.0,
}


def broken(**values):
    return check_laws({**LAWFUL, **values}, TOKENS)


def test_lawful_values_break_nothing():
    assert check_laws(LAWFUL, TOKENS) == []
    nothing = {figure.name: math.nan for figure in FIGURES if figure.may_lack}
    assert broken(**nothing) == []


def test_each_figure_has_one_name_and_sensible_bounds():
    assert sorted(LAWFUL) == sorted(figure.name for figure in FIGURES)
    for figure in FIGURES:
        low, high = figure.limits(TOKENS)
        assert low is None or high is None or low < high
        assert figure.title
        assert figure.explanation.endswith(".")


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_figure_out_of_bounds_is_named(figure):
    low, high = figure.limits(TOKENS)
    name = figure.name
    if low is not None:
        found = broken(**{name: low - 1e-6})
        assert any(line.startswith(f"{name}: ") and "is below" in line for line in found)
        assert not any("is below" in line for line in broken(**{name: low - 1e-10}))
    if high is not None:
        found = broken(**{name: high * (1 + 1e-5) + 1e-8})
        assert any(line.startswith(f"{name}: ") and "is above" in line for line in found)
    assert f"{name}: inf" in broken(**{name: math.inf})
    assert f"{name}: -inf" in broken(**{name: -math.inf})
    assert (f"{name}: NaN" in broken(**{name: math.nan})) is not figure.may_lack


@pytest.mark.parametrize(
    ("name", "high"),
    [
        ("shannon_entropy", math.log(30)),
        ("von_neumann_entropy", math.log(30)),
        ("effective_rank", 30),
        ("mean_distance", 29),
        ("median_distance", 29),
        ("law_entropy", math.log(30)),
        ("entropy_rate", math.log(30)),
        ("components", 30),
        ("period", 32),
    ],
)
def test_bounds_shrink_with_the_text(name, high):
    figure = next(figure for figure in FIGURES if figure.name == name)
    assert figure.limits(30)[1] == pytest.approx(high)


def test_bounds_of_long_texts_are_those_of_what_was_looked_at():
    limits = {figure.name: figure.limits(10**5)[1] for figure in FIGURES}
    assert limits["law_entropy"] == limits["entropy_rate"] == pytest.approx(math.log(64))
    assert limits["components"] == 128
    assert limits["mean_distance"] == 10**5 - 1


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"entropy_rate": 3.1}, "entropy_rate: 3.1 is above law_entropy, 3"),
        ({"window_16_mass": 0.45}, "window_16_mass: 0.45 is above window_64_mass, 0.4"),
        ({"window_64_mass": 0.65}, "window_64_mass: 0.65 is above window_256_mass, 0.6"),
        ({"own_mass": 0.25}, "own_mass + previous_mass: 0.35 is above window_16_mass, 0.3"),
        ({"endless_loops": 21}, "endless_loops: 21 is above loops, 20"),
        ({"curvature_mean": -1.6}, "curvature_least: -1.5 is above curvature_mean, -1.6"),
        ({"loop_entropy": 3.0}, "loop_entropy: 3 is above log of 20 loops"),
        ({"response_growth": 0.6}, "response_growth: 0.6 is above response_gain - 1, 0.5"),
        ({"loops": 0, "endless_loops": 0}, "loop_entropy: 2 is above log of 0 loops"),
        ({"ifq": 0.6}, "ifq: 0.6 is not the mean of its parts, 0.5"),
        ({"cross_tile_flow": 0.8}, "ifq: 0.5 is not the mean of its parts, 0.6"),
    ],
)
def test_figures_that_do_not_go_together_are_named(values, line):
    assert broken(**values) == [line]


def test_missing_and_unknown_figures_are_named():
    fewer = {name: value for name, value in LAWFUL.items() if name != "law_entropy"}
    assert check_laws({**fewer, "weight": 1.0}, TOKENS) == [
        "law_entropy: missing",
        "weight: no such figure",
    ]
    assert len(check_laws({}, TOKENS)) == len(FIGURES)
