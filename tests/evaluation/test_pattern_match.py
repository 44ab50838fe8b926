"""Heads that match what a user describes."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import (
    MatrixPattern,
    OffsetPattern,
    PatternMatch,
    attention_rows,
    match_pattern,
    matching_heads,
    parse_pattern,
)
from adaptive_attention_tiling.evaluation.diagnostics.placement_null import (
    local_spread,
    non_increasing,
    tail_chance,
)

T = 256
PLACE = torch.arange(T)
OFFSET = (PLACE[:, None] - PLACE).double()


def rows_of(logits, **settings):
    """Rows of a head with these logits [T, T]."""
    key = torch.eye(len(logits), dtype=torch.float64)
    return attention_rows(logits.double(), key, scale=1.0, **settings)


def noise(seed, deviation=1.0):
    return deviation * torch.randn(T, T, generator=torch.Generator().manual_seed(seed))


def decay(length=40.0):
    return -OFFSET.abs() / length


def at(*offsets):
    return torch.isin(OFFSET, torch.tensor(offsets).double()).double()


@pytest.mark.parametrize(
    ("planted", "pattern"),
    [
        (1.5 * at(1, 7, 14), parse_pattern("1,7,14")),
        (1.5 * at(1) + at(14) / 2 - at(5), parse_pattern("1:1, 14:0.4, 5:-0.7")),
        (
            (OFFSET % 11 == 3).double(),
            OffsetPattern(lambda o: (2 * torch.pi * (o - 3) / 11).cos().clamp_min(0)),
        ),
    ],
)
def test_planted_offsets_are_found_under_decay_and_noise(planted, pattern):
    for seed in range(5):
        hidden = match_pattern(rows_of(noise(seed) + decay() + planted), pattern)
        assert hidden.p_value <= 0.01
        assert hidden.score > 0.3
        assert hidden.z > 4
        shifted = planted.roll(3, 1).tril()
        assert match_pattern(rows_of(noise(seed) + decay() + shifted), pattern).p_value > 0.03


@pytest.mark.parametrize("length", [10.0, 1e9])
def test_the_chance_is_honest_for_noise_with_decay(length):
    rows = [rows_of(noise(seed) + decay(length)) for seed in range(40)]

    def share(text, level):
        chances = [match_pattern(head, parse_pattern(text)).p_value for head in rows]
        return sum(p <= level for p in chances)

    # 4 and 20 are meant, with deviations of 1.9 and 3.2; fewer where keys are out of reach.
    assert share("1,7,14", 0.1) <= 10
    assert share("18,23", 0.1) <= 10
    assert share("18,23", 0.5) <= 30
    assert length == 10 or share("18,23", 0.1) >= 1


@pytest.mark.parametrize("length", [1.0, 3.0, 30.0])
@pytest.mark.parametrize("pattern", ["0", "1", "1,2", "0:1,7:1,14:0.5"])
def test_no_head_matches_for_being_local(length, pattern):
    for seed in range(3):
        found = match_pattern(rows_of(noise(seed, 0.3) + decay(length)), parse_pattern(pattern))
        assert found.p_value > 0.01
        assert found.score < 0.25


def test_the_token_before_is_found_in_a_steep_head():
    logits = noise(0, 0.3) + decay(3.0) + 3 * at(1)
    found = match_pattern(rows_of(logits), parse_pattern("1"))
    assert found.p_value <= 0.01
    assert found.score > 0.8


def test_ripples_and_outliers_elsewhere_widen_the_null():
    ripple = 1.5 * (2 * torch.pi * OFFSET / 9).cos()
    assert match_pattern(rows_of(noise(0, 0.3) + ripple), parse_pattern("18")).p_value > 0.01
    spikes = at(18) + 2 * at(40) + 3 * at(47) + at(53) + 2 * at(71) + 2 * at(90)
    crowd = match_pattern(rows_of(noise(0, 0.3) + spikes), parse_pattern("18"))
    alone = match_pattern(rows_of(noise(0, 0.3) + at(18)), parse_pattern("18"))
    assert alone.p_value < 0.003 < crowd.p_value
    assert crowd.score < alone.score


def test_what_a_decay_is_fitted_to_closely_is_still_as_noisy_as_rows():
    """Where a profile falls at each step the fit leaves little of it, and rows still differ."""
    rows = [rows_of(noise(seed) + decay(5.0)) for seed in range(40)]
    for text in ("5", "9"):
        found = [match_pattern(head, parse_pattern(text)) for head in rows]
        assert max(match.z for match in found) < 6
        assert sum(match.p_value <= 0.01 for match in found) <= 2


def test_a_wide_stretch_is_weighed_against_a_decay_through_it():
    """At the last offsets a fit is low by chance: as a bound of the stretch it would find noise."""
    last = OffsetPattern(lambda o: (o >= 244).double())
    found = []
    for seed in range(12):
        logits = torch.randn(512, 512, generator=torch.Generator().manual_seed(seed))
        found.append(match_pattern(rows_of(logits), last))
    assert sum(match.p_value <= 0.1 for match in found) <= 6
    assert max(match.z for match in found) < 4


def test_what_all_rows_give_a_key_is_no_matter_of_offsets():
    columns = 6.0 * torch.isin(PLACE, torch.tensor([20, 27, 34, 90])).double()
    pattern = OffsetPattern(lambda o: (o % 7 == 2).double())
    found = match_pattern(rows_of(noise(0, 0.3) + columns), pattern)
    assert found.p_value > 0.01
    first = 20.0 * (PLACE < 4).double()
    far = OffsetPattern(lambda o: (o % 50 == 49).double())
    assert match_pattern(rows_of(noise(0, 0.3) + first), far).p_value > 0.01


def test_a_matrix_is_found_with_its_phase():
    matrix = torch.tensor([[0, 0, 1.0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]])
    for start in range(3):
        weight = matrix[(PLACE + start) % 3][PLACE[:, None], OFFSET.clamp(0, 5).long()]
        logits = noise(start) + decay() + 2 * weight * (OFFSET < 6)
        found = match_pattern(rows_of(logits), MatrixPattern(matrix))
        assert found.phase == start
        assert found.p_value <= 0.01
    chances = [
        match_pattern(rows_of(noise(seed) + decay()), MatrixPattern(matrix)).p_value
        for seed in range(30)
    ]
    assert sum(p <= 0.1 for p in chances) <= 8


def test_one_row_of_a_matrix_is_a_pattern_of_offsets():
    rows = rows_of(noise(0) + at(3))
    row = torch.tensor([[0, 0, 0, 1.0]])
    assert match_pattern(rows, MatrixPattern(row)) == match_pattern(rows, parse_pattern("3"))


def test_keys_ahead_count_in_bidirectional_heads():
    rows = rows_of(noise(0) + decay() + 2 * at(-6), is_causal=False)
    ahead, behind = (match_pattern(rows, parse_pattern(text)) for text in ("-6", "6"))
    assert ahead.p_value <= 0.01 < behind.p_value
    assert match_pattern(rows_of(noise(0) + at(-6)), parse_pattern("6")).p_value > 0.01


@pytest.mark.parametrize("tokens", [1, 2, 40])
def test_short_texts_give_no_chance(tokens):
    rows = attention_rows(torch.randn(tokens, 4), torch.randn(tokens, 4))
    found = match_pattern(rows, parse_pattern("1"))
    assert all(math.isnan(x) for x in found[:3])
    assert matching_heads([[found]]) == []


def test_equal_attention_matches_nothing():
    assert match_pattern(rows_of(torch.zeros(T, T)), parse_pattern("1")) == (0.0, 0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("function", "span"),
    [(lambda o: (o > 100).double(), 512), (lambda o: (o % 2).double(), 32)],
    ids=["wide", "few places"],
)
def test_a_pattern_without_other_places_has_a_score_but_no_chance(function, span):
    found = match_pattern(rows_of(noise(0)), OffsetPattern(function), span=span)
    assert -1 <= found.score <= 1
    assert math.isnan(found.z)
    assert math.isnan(found.p_value)


def test_chances_are_adjusted_for_all_heads():
    chances = [[0.032, 0.001], [0.03, 0.8], [math.nan, 0.005]]
    matches = [[PatternMatch(0.5, 1.0, p, 0) for p in row] for row in chances]
    found = matching_heads(matches)
    assert [(x.layer, x.head) for x in found] == [(0, 1), (2, 1), (1, 0), (0, 0), (1, 1)]
    assert [x.adjusted for x in found] == pytest.approx([0.005, 0.0125, 0.04, 0.04, 0.8])
    assert found[0].match is matches[0][1]


def test_the_decay_is_the_nearest_that_never_rises():
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(12, generator=generator).double()
        counts = torch.randint(1, 5, (12,), generator=generator).double()
        decays = non_increasing(values * counts, counts, torch.zeros(12).long())
        for place, decay_there in enumerate(decays.tolist()):
            means = [
                [
                    float((values * counts)[a:b].sum() / counts[a:b].sum())
                    for b in range(place + 1, 13)
                ]
                for a in range(place + 1)
            ]
            assert decay_there == pytest.approx(min(map(max, means)))


def test_the_decay_is_bounded_where_a_pattern_is():
    values = torch.tensor([9.0, 5, 7, 4, 3, 3])
    side = torch.tensor([1, 0, 1, 0, -1, -1])
    ones = torch.ones(6)
    assert non_increasing(values, ones, side).tolist() == [9, 5, 5, 4, 3, 3]
    side = torch.tensor([0, -1, 0, 0, 1, 0])
    assert non_increasing(values, ones, side).tolist() == [9, 7, 7, 4, 4, 3]
    assert torch.equal(non_increasing(values, ones, torch.ones(6)), values)


def test_the_spread_is_that_of_distances_nearby():
    squares = torch.rand(100, generator=torch.Generator().manual_seed(0)).double()
    found = local_spread(squares, torch.arange(100)).square() - 1e-6 * squares.mean()
    for place in (0, 20, 70):
        near = squares[max(place // 2 - 8, 0) : 2 * place + 9]
        assert float(found[place]) == pytest.approx(float(near.mean()))


def test_the_tail_goes_on_as_a_power():
    uniform = (torch.arange(4000) + 0.5).double() / 4000
    pareto = uniform ** (-1 / 3)
    for far in (30.0, 300.0):
        # From the median on a tail looks heavier than it is: the side of caution.
        assert 1 <= tail_chance(torch.tensor(far), pareto) * far**3 < 100
    assert tail_chance(torch.tensor(2.0), pareto) == pytest.approx(0.125, rel=0.01)
    normal = torch.special.ndtri(uniform)
    assert tail_chance(torch.tensor(6.0).double(), normal) > 1e-9
    assert tail_chance(torch.tensor(1.0), torch.zeros(50)) == pytest.approx(1 / 51)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pattern: got '' in ''"),
        ("1;2", "got '1;2'"),
        ("1:x", "expected offset or offset:weight"),
        ("1:inf", "a finite weight"),
        ("1:0,2:0", "all 0"),
        ("3,3:2", "offset 3 twice"),
        ("/nowhere/none.csv", "No such file"),
    ],
)
def test_bad_patterns_are_told(text, message):
    with pytest.raises(ArgumentError, match=message):
        parse_pattern(text)


def test_files_of_rows_are_read(tmp_path):
    path = tmp_path / "records.csv"
    path.write_text("0,1,0.5\n\n0,0,-2\n")
    pattern = parse_pattern(str(path))
    assert pattern.name == "records"
    weights = pattern.weights(torch.tensor([-1, 0, 1, 2, 3]))
    assert weights.tolist() == [[0, 0, 1, 0.5, 0], [0, 0, 0, -2, 0]]
    assert parse_pattern(" 0:2, 5 ").weights(torch.arange(6)).tolist() == [[2, 0, 0, 0, 0, 1]]
    for content, message in (
        ("1,2\n3\n", r"rows of \[1, 2\] cells"),
        ("1,a\n", "could not convert"),
        ("", r"rows of \[\] cells"),
        ("1,nan\n", "finite numbers"),
    ):
        path.write_text(content)
        with pytest.raises(ArgumentError, match=message):
            parse_pattern(str(path))


@pytest.mark.parametrize(
    ("pattern", "settings", "message"),
    [
        (OffsetPattern(lambda o: 1), {}, "a function that gives int"),
        (OffsetPattern(lambda o: o[1:]), {}, r"gives \[127\]"),
        (OffsetPattern(lambda o: o / 0), {}, "NaN or infinity"),
        (OffsetPattern(torch.ones_like), {}, "the same weight at offsets 0 to 127"),
        (MatrixPattern(torch.eye(17)), {}, "17 rows for 64"),
        (OffsetPattern(lambda o: o), {"span": 31}, "span: got 31"),
        (OffsetPattern(lambda o: o), {"skip": -1}, "skip: got -1"),
    ],
)
def test_bad_input_is_told(pattern, settings, message):
    with pytest.raises(ArgumentError, match=message):
        match_pattern(rows_of(noise(0)), pattern, **settings)


@pytest.mark.parametrize("matrix", [torch.ones(3), torch.ones(0, 2), torch.tensor([[math.nan]])])
def test_bad_matrices_are_told(matrix):
    with pytest.raises(ArgumentError, match="matrix: got"):
        MatrixPattern(matrix)
