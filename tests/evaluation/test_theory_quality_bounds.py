import math

import pytest

from adaptive_attention_tiling.evaluation.theory.quality_bounds import (
    PARTS,
    attack,
    excess,
    exchanged_keys,
    uniform_attention,
)


def test_golden_extremes_of_each_part():
    assert excess("pattern_stability", 10).part_raw == pytest.approx(1 - math.sqrt(9))
    # 10 keys of which two are borders, and one border takes everything: half of 10 / 1.
    assert excess("edge_utilization", 10).part_raw == pytest.approx(5)
    assert excess("information_density", 10).part_raw == pytest.approx(10)
    p = math.exp(-10)
    assert excess("cross_tile_flow", 10).part_raw == pytest.approx(10 * (1 - 2 * p), rel=1e-4)


@pytest.mark.parametrize("part", PARTS)
def test_one_part_alone_takes_the_raw_figure_out_of_its_bounds(part):
    small, large = excess(part, 4), excess(part, 400)
    below = part == "pattern_stability"
    assert large.raw < 0 if below else large.raw > 1
    assert (large.raw < small.raw) is below
    assert 0 <= small.bounded <= 1
    assert 0 <= large.bounded <= 0.75


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_search_leaves_the_bounds_of_the_raw_figure_only(direction):
    raw, bounded = (attack(figure, direction, steps=60) for figure in ("raw", "bounded"))
    assert raw.high > 10 if direction == "up" else raw.low < -0.1
    assert bounded.low >= 0
    assert bounded.high < 1
    far = bounded.values[-1] - bounded.values[0]
    assert far > 0.15 if direction == "up" else far < -0.15


def test_the_figure_does_not_see_which_key_was_read():
    found = exchanged_keys()
    assert found.after == pytest.approx(found.before, abs=1e-12)
    assert found.output_error > 0.3


def test_uniform_attention_attains_one_where_flow_and_density_have_no_weight():
    found = uniform_attention()
    assert found.stability_and_edges == 1
    assert found.quarters == pytest.approx(0.5)
