import pytest
import torch

from adaptive_attention_tiling.evaluation.theory.cost_growth import (
    all_rows,
    block_queries,
    cost_growth,
    far_tokens,
    least_cpu_s,
    near_rows,
    tiler_growth,
)
from adaptive_attention_tiling.evaluation.theory.planted import topics
from adaptive_attention_tiling.ops.tiled_attention import TileLayout, tiled_attention

SMALL = TileLayout(super_block=16, tile=4, group=2, window=16, sinks=2, scouts=8)


def report_of(tokens, **control):
    return tiled_attention(
        *topics(tokens), is_causal=True, layout=SMALL, return_report=True, **control
    )[1]


def test_golden_near_rows():
    # Blocks 0 and 1 read all tokens up to themselves: 1 + ... + 32. Block 2 starts at token 16 and
    # reads 17 to 32 rows and the two sinks before.
    assert near_rows(32, SMALL) == 32 * 33 / 2
    assert near_rows(48, SMALL) == 32 * 33 / 2 + sum(range(17, 33)) + 16 * 2
    # Without sinks and window a query reads its own block alone.
    bare = TileLayout(super_block=16, tile=4, group=2, window=0, sinks=0)
    assert near_rows(20, bare) == 16 * 17 / 2 + 4 * 5 / 2


def test_golden_blocks():
    assert block_queries(40, SMALL) == [16, 16, 8]
    assert block_queries(32, SMALL) == [16, 16]


def test_golden_far_tokens():
    report = report_of(72, resolution=torch.tensor(1.0))
    # Block 2 sees block 0 as far, block 3 two, block 4 three with its 8 queries; sinks are not far.
    expected = 16 * (16 - 2) + 16 * (32 - 2) + 8 * (48 - 2)
    assert far_tokens(report, block_queries(72, SMALL), SMALL) == expected


def test_all_rows_of_a_full_reading_are_those_of_plain_attention():
    report, queries = report_of(72, budget=1.0), block_queries(72, SMALL)
    assert near_rows(72, SMALL) + far_tokens(report, queries, SMALL) == 72 * 73 / 2
    assert all_rows(report, queries) >= 72 * 73 / 2
    summaries = report_of(72, budget=0.0)
    assert near_rows(72, SMALL) < all_rows(summaries, queries)


def test_two_sizes_of_summaries_grow_with_the_square_on_any_text():
    compressible, random = (
        cost_growth(text, sizes=(1024, 1536), layout="two sizes of summaries", rounds=1)
        for text in ("topics", "structureless")
    )
    assert compressible.far_exponent == pytest.approx(2, abs=0.15)
    assert random.far_exponent == pytest.approx(2, abs=0.15)
    assert compressible.costs[-1].fraction_read < 0.05
    assert random.costs[-1].resolution > 0.7
    for cost in (*compressible.costs, *random.costs):
        assert cost.rows == cost.near + cost.far_rows
        assert cost.cpu_s > 0


def test_a_pyramid_grows_slower_on_a_compressible_text():
    pyramid, flat = (
        cost_growth("topics", sizes=(2048, 4096), layout=layout, rounds=1)
        for layout in ("pyramid", "two sizes of summaries")
    )
    assert pyramid.far_exponent < flat.far_exponent - 0.2
    assert pyramid.costs[-1].far_rows < flat.costs[-1].far_rows


def test_the_optimal_tiling_takes_linear_time():
    assert 0.3 < tiler_growth((2**15, 2**18), rounds=2).exponent < 1.5


def test_the_least_time_is_taken():
    work = iter((1_000_000, 0, 1_000_000))
    quick = least_cpu_s(lambda: sum(range(next(work))), 3)
    slow = least_cpu_s(lambda: sum(range(1_000_000)), 1)
    assert 0 <= quick < 0.5 * slow
