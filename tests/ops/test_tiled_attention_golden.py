"""Cases small enough for pen and paper: one head, keys and values of width one, tiles of two.

Block 0 is the one far tile for the queries 2 and 3 of block 1:

    key    0     log 4        value  1   3        so  n = 2, mean key = log 2, mean value = 2
    key    0     log(3) / 2   value  7   1

Query 2 is 1:  far mass 2 exp(log 2) = 4,      own mass 1 (value 7)
Query 3 is 2:  far mass 2 exp(2 log 2) = 8,    own masses 1 (value 7) and exp(log 3) = 3 (value 1)
"""

import math

import pytest
import torch

from adaptive_attention_tiling.ops.tiled_attention import TileLayout, tiled_attention

PAIRS = TileLayout(super_block=2, tile=2, group=1, window=0, sinks=0, scouts=2)
SCOUT = 1.5  # the queries of block 0, which plan for block 1

both = pytest.mark.parametrize("implementation", ["eager", "reference"])


def column(*entries):
    return torch.tensor(entries, dtype=torch.float64).view(1, 1, -1, 1)


def attend(layout=PAIRS, **settings):
    query = column(SCOUT, SCOUT, 1, 2)
    key = column(0, math.log(4), 0, math.log(3) / 2)
    value = column(1, 3, 7, 1)
    out, report = tiled_attention(
        query, key, value, is_causal=True, scale=1.0, layout=layout, return_report=True, **settings
    )
    return out.flatten().tolist(), report


def exactly(*expected):
    return pytest.approx(list(expected), rel=1e-12)


@both
def test_a_tile_weighs_as_its_count_times_the_weight_of_its_mean(implementation):
    out, report = attend(resolution=0.5, implementation=implementation)
    # (4 * 2 + 1 * 7) / 5, and (8 * 2 + 1 * 7 + 3 * 1) / 12
    assert out[2:] == exactly(3, 26 / 12)
    assert report.fraction_read == 0.0
    assert report.resolution[0, 0, 1].tolist() == [0.5]


@both
def test_an_exact_tile_weighs_as_its_tokens(implementation):
    out, report = attend(resolution=1.0, implementation=implementation)
    # masses 1, 4, 1 and 1, 16, 1, 3
    assert out[2:] == exactly(20 / 6, 59 / 21)
    assert report.fraction_read == 1.0
    assert report.error_bound.flatten().tolist() == [0, 0, 0, 0]


@both
def test_a_dropped_tile_weighs_nothing(implementation):
    out, report = attend(resolution=0.0, implementation=implementation)
    # 7 alone, and (1 * 7 + 3 * 1) / 4
    assert out[2:] == exactly(7, 2.5)
    assert report.resolution[0, 0, 1].tolist() == [0.0]


@both
def test_the_first_block_is_exact(implementation):
    out, report = attend(resolution=0.0, implementation=implementation)
    heavy = math.exp(SCOUT * math.log(4))
    assert out[:2] == exactly(1, (1 + 3 * heavy) / (1 + heavy))
    assert report.error_bound[0, 0, :2].tolist() == [0, 0]


@both
def test_the_estimate_is_share_times_deviation_and_tail(implementation):
    _, report = attend(tolerance=100.0, implementation=implementation)
    # Both keys lie log 2 from their mean, so x = (q log 2)^2, and sqrt(7 x) allows for logits of
    # sqrt(7) q log 2. Shares are 4 / 5 (q = 1) and 8 / 12 (q = 2).
    root, log2 = math.sqrt(7), math.log(2)
    assert report.error_bound[0, 0, 2:].tolist() == exactly(
        4 / 5 * math.hypot(log2, (2**root - 1 - root * log2) / 7),
        8 / 12 * math.hypot(2 * log2, (4**root - 1 - 2 * root * log2) / 7),
    )
    assert not report.certified


@both
def test_the_certificate_is_two_shares_of_bennett_and_spread(implementation):
    _, report = attend(tolerance=100.0, certified=True, implementation=implementation)
    # Both keys lie log 2 from their mean: a = s = |q| log 2, so the bound is 2 p (exp(a) - 1):
    # 2 * 4/5 * (2 - 1) and 2 * 8/12 * (4 - 1).
    assert report.error_bound[0, 0, 2:].tolist() == exactly(1.6, 4.0)
    assert report.certified


@both
def test_a_sink_is_exact_and_leaves_its_tile(implementation):
    layout = TileLayout(super_block=2, tile=2, group=1, window=0, sinks=1, scouts=2)
    out, _ = attend(layout, resolution=0.5, implementation=implementation)
    # Key 1 is alone in its tile, so nothing is lost: as if all were read.
    assert out[2:] == exactly(20 / 6, 59 / 21)


@both
def test_two_tiles_are_read_through_their_group(implementation):
    layout = TileLayout(super_block=4, tile=2, group=2, cells=1, window=0, sinks=0, scouts=4)
    key = column(0, 0, math.log(4), math.log(4), 0)
    value = column(1, 3, 5, 7, 9)
    out, report = tiled_attention(
        torch.ones_like(key),
        key,
        value,
        is_causal=True,
        scale=1.0,
        layout=layout,
        resolution=0.25,
        implementation=implementation,
        return_report=True,
    )
    # n = 4, mean key log 2, mean value 4: mass 8; own mass 1 (value 9)
    assert out[0, 0, 4].tolist() == exactly((8 * 4 + 9) / 9)
    assert report.resolution[0, 0, 1].tolist() == [0.25, 0.25]
    # One tile at a time: 2 * 1 of value 2 and 2 * 4 of value 6.
    finer = tiled_attention(
        torch.ones_like(key),
        key,
        value,
        is_causal=True,
        scale=1.0,
        layout=layout,
        resolution=0.5,
        implementation=implementation,
    )
    assert finer[0, 0, 4].tolist() == exactly((2 * 2 + 8 * 6 + 9) / 11)
