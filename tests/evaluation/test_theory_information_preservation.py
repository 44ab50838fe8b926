import math

import pytest
import torch

from adaptive_attention_tiling.evaluation.theory.information_preservation import (
    drift,
    max_density,
    moving_states,
    query_errors,
    repeated_text,
    tolerance_check,
    unit_of_states,
)
from adaptive_attention_tiling.evaluation.theory.planted import (
    KINDS,
    TOPIC_TOKENS,
    hidden_key,
    structureless,
    topics,
)
from adaptive_attention_tiling.evaluation.theory.power_law import fitted_exponent


def test_resolution_one_is_a_tiling_without_error():
    inputs = [x.double() for x in structureless(512, seed=1)]
    assert float(query_errors(inputs, 1).max()) < 1e-12
    assert float(query_errors(inputs, 8).max()) > 0.1


def test_another_unit_of_states_needs_any_eps_for_the_same_error():
    metre, kilometre = unit_of_states(1.0, tokens=512), unit_of_states(1e-3, tokens=512)
    assert kilometre.error == pytest.approx(metre.error, rel=1e-6)
    assert metre.error > 0.1
    assert kilometre.density == pytest.approx(1e-6 * metre.density, rel=1e-6)
    assert kilometre.needed_eps == pytest.approx(1e6 * metre.needed_eps, rel=1e-5)


def test_the_whole_error_grows_with_length_and_no_query_s_does():
    lengths = (1024, 4096)
    short, long = (repeated_text(tokens) for tokens in lengths)
    assert long.query_error == pytest.approx(short.query_error, rel=1e-6)
    assert long.density == pytest.approx(short.density, rel=1e-6)
    grown = fitted_exponent(lengths, [short.whole_error, long.whole_error])
    assert 0.45 < grown < 0.65


def test_the_error_of_a_slow_text_is_quadratic_in_tile_and_speed():
    tiles, speeds = (4, 16), (0.005, 0.02)
    by_tile = [drift(tile, 0.01, tokens=1024) for tile in tiles]
    by_speed = [drift(8, speed, tokens=1024) for speed in speeds]
    assert 1.8 < fitted_exponent(tiles, [one.error for one in by_tile]) < 2.3
    assert 1.8 < fitted_exponent(speeds, [one.error for one in by_speed]) < 2.3
    for one in (*by_tile, *by_speed):
        assert 0 < one.error <= one.bound
    # And so is the bound, where a is small.
    slowest = [drift(8, speed, tokens=512).bound for speed in (1e-5, 2e-5)]
    assert slowest[1] / slowest[0] == pytest.approx(4, rel=0.01)


def test_golden_density_of_moving_states():
    # Each circle is cut by a chord of 2 sin(half of the angle).
    states = moving_states(64, 0.01)
    number = torch.arange(1, 9, dtype=torch.float64)
    turn = 0.01 * number / number.square().sum().sqrt()
    assert max_density(states) == pytest.approx(float((2 * (turn / 2).sin()).square().sum()))
    again = moving_states(513, 0.0, repeat=True)
    assert torch.allclose(again[:257], again[256:], atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_no_certified_query_is_over_the_tolerance(kind):
    found = tolerance_check(kind, 0.3, certified=True, tokens=1024)
    assert found.worst_ratio <= 1
    assert found.within == 1


def test_an_estimate_can_be_far_off_where_a_certificate_is_not():
    estimated, certified = (
        tolerance_check("disguised keys", 0.1, certified=rigorous) for rigorous in (False, True)
    )
    assert estimated.worst_ratio > 3
    assert estimated.within < 0.5
    assert certified.worst_ratio <= 1


def test_what_is_compressible_is_read_through_means():
    loose = tolerance_check("topics", 0.3, certified=False, tokens=1536)
    assert loose.fraction_read < 0.05
    assert loose.within == 1
    dense = tolerance_check("structureless", 0.03, certified=False, tokens=1536)
    assert dense.fraction_read > 0.9


def test_topics_have_the_logits_they_tell_of():
    tokens = 3 * TOPIC_TOKENS
    query, key, _ = topics(tokens)
    logits = (query @ key.mT)[0, 0] / math.sqrt(query.shape[-1])
    best = logits.unflatten(1, (3, TOPIC_TOKENS)).mean(-1).max(1)
    assert best.values.mean() == pytest.approx(10, abs=0.5)
    begun = torch.arange(tokens) // TOPIC_TOKENS
    assert bool((best.indices <= begun).all())
    assert best.indices.unique().tolist() == [0, 1, 2]


def test_a_hidden_key_stands_out_for_the_query_that_asks_for_it():
    query, key, _ = hidden_key(2000)
    logits = (query @ key.mT)[0, 0] / math.sqrt(query.shape[-1])
    assert logits.max() == pytest.approx(18, abs=0.1)
    assert int((logits > 10).sum()) == 2
