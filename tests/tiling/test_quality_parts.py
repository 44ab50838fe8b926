"""Each part of the quality of a tiling: its formula, its bound, and what moves it."""

import math

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close, assert_monotone
from adaptive_attention_tiling.tiling.quality import (
    adaptation_efficiency,
    compute_to_efficiency_ratio,
    cross_tile_flow,
    edge_utilization,
    information_density,
    load_imbalance,
    pattern_stability,
    tile_distributions,
)

B, H, T, S = 2, 3, 6, 8
SPANS = torch.tensor([[0, 3], [3, 4], [5, 8]])


def attention(*, rows: int = T, columns: int = S, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(B, H, rows, columns, dtype=torch.float64).softmax(-1).to(dtype)


def tensor(*values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class TestPatternStability:
    def test_hand_worked(self):
        raw, bounded = pattern_stability(tensor([0, 1], [0, 0]), tensor([0, 0.5], [0, 0]))
        assert (raw.item(), bounded.item()) == (0, 0)
        raw, bounded = pattern_stability(tensor([3, 0], [0, 0]), tensor([3, 1], [0, 2]))
        assert_close(raw, tensor(1 - math.sqrt(5 / 14))[0])
        assert_bit_equal(bounded, raw)

    def test_the_raw_figure_turns_negative(self):
        raw, bounded = pattern_stability(tensor([0, 1]), tensor([1, 0]))
        assert_close(raw, tensor(1 - math.sqrt(2))[0])
        assert bounded == 0

    def test_it_is_the_formula_in_every_row_of_a_batch(self):
        previous, other = attention(), attention()
        current = 0.7 * previous + 0.3 * other
        change = (current - previous).square().sum((-2, -1)).sqrt()
        wanted = 1 - change / current.square().sum((-2, -1)).sqrt()
        assert wanted.min() > 0
        raw, bounded = pattern_stability(previous, current)
        assert_close(raw, wanted)
        assert_close(bounded, wanted)

    def test_a_larger_change_is_less_stable(self):
        current, other = attention(), attention()
        mixes = [current + share * (other - current) for share in (0, 0.1, 0.3, 1, 1000)]
        figures = [pattern_stability(mix.clamp(min=0), current) for mix in mixes]
        assert_bit_equal(figures[0].bounded, torch.ones(B, H, dtype=torch.float64))
        for part in (0, 1):
            assert_monotone(torch.stack([f[part].amin() for f in figures]), decreasing=True)

    def test_patterns_that_vanish_or_never_were(self):
        none, some = torch.zeros(T, S), torch.ones(T, S)
        assert pattern_stability(none, none) == (1, 1)
        assert pattern_stability(some, none) == (-math.inf, 0)
        assert pattern_stability(none, some) == (0, 0)

    @pytest.mark.parametrize("unit", [1e-30, 1e30])
    def test_it_has_no_unit_even_where_squares_overflow(self, unit):
        previous, current = attention(dtype=torch.float32), attention(dtype=torch.float32)
        wanted = pattern_stability(previous, current)
        assert_close(pattern_stability(previous * unit, current * unit).raw, wanted.raw)


class TestCrossTileFlow:
    def test_hand_worked(self):
        uneven = tensor([0.5, 0.5], [0.25, 0.75])
        there = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
        back = 0.25 * math.log(1 / 2) + 0.75 * math.log(3 / 2)
        raw, bounded = cross_tile_flow(uneven)
        assert_close(raw, tensor((there + back) / 2)[0])
        assert_close(bounded, tensor(1 - math.exp(-(there + back) / 2))[0])
        weighted = cross_tile_flow(uneven, tensor([7, 2], [3, 11]))
        assert_close(weighted.raw, tensor(2 * there + 3 * back)[0])

    def test_it_is_torch_s_divergence_of_every_pair(self):
        p = attention()
        weights = torch.rand(H, T, T, dtype=torch.float64)
        wanted = torch.zeros(B, H, dtype=torch.float64)
        for i in range(T):
            for j in range(T):
                kl = torch.nn.functional.kl_div(
                    p[..., j, :].log(), p[..., i, :], reduction="none"
                ).sum(-1)
                wanted += weights[:, i, j] * kl
        assert_close(cross_tile_flow(p, weights).raw, wanted)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_equal_tiles_and_single_tiles_do_not_flow(self, dtype):
        p = attention(rows=1, dtype=dtype)
        zero = torch.zeros(B, H, dtype=dtype)
        for tiles in (p, p.expand(B, H, 5, S)):
            raw, bounded = cross_tile_flow(tiles)
            assert_bit_equal(raw, zero)
            assert_bit_equal(bounded, zero)

    def test_sums_that_are_one_only_nearly_do_not_flow_backwards(self):
        p = tensor([0.5, 0.5], [0.50004, 0.50004])
        assert cross_tile_flow(p, torch.ones(2, 2).triu(1)) == (0, 0)

    def test_tiles_that_rule_each_other_out_are_infinitely_far_apart(self):
        p = tensor([1, 0], [0.5, 0.5])
        assert cross_tile_flow(p) == (math.inf, 1)
        # A weight of 0 asks for one direction, which is finite.
        one_way = cross_tile_flow(p, torch.ones(2, 2).triu(1))
        assert_close(one_way.raw, tensor(math.log(2))[0])

    def test_causal_tiles_are_compared_with_later_ones(self):
        rows = torch.ones(S, S, dtype=torch.float64).tril()
        spans = torch.tensor([[0, 2], [2, 6], [6, 8]])
        p = tile_distributions(rows / rows.sum(-1, keepdim=True), spans)
        assert cross_tile_flow(p).raw == math.inf
        raw, bounded = cross_tile_flow(p, torch.ones(3, 3).triu(1))
        assert 0 < raw < math.inf
        assert 0 < bounded < 1

    def test_sharper_differences_flow_more(self):
        logits = torch.randn(T, S, dtype=torch.float64)
        figures = [cross_tile_flow((c * logits).softmax(-1)) for c in (0, 0.5, 1, 2, 4, 8)]
        for part in (0, 1):
            assert_monotone(torch.stack([f[part] for f in figures]))
        assert figures[-1].raw > 1 > figures[-1].bounded

    def test_gradients_stay_finite_beside_infinite_divergence(self):
        logits = torch.zeros(2, 3, dtype=torch.float64).requires_grad_()
        hidden = torch.tensor([[False, False, True], [False, False, False]])
        weights = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
        p = logits.masked_fill(hidden, -torch.inf).softmax(-1)
        bounded = cross_tile_flow(p, weights).bounded
        assert bounded == 1
        for gradient in torch.autograd.grad(bounded, [logits, weights]):
            assert torch.isfinite(gradient).all()


class TestEdgeUtilization:
    def test_hand_worked(self):
        """Borders of SPANS are keys 0, 2, 3, 5 and 7: five of eight, with 0.5 + 0.1 of the mass."""
        rows = tensor([0.5, 0.2, 0, 0, 0.2, 0, 0, 0.1])
        raw, bounded = edge_utilization(rows, SPANS)
        assert_close(raw, tensor(0.6 / (5 / 8))[0])
        assert_close(bounded, raw)

    def test_it_is_the_ratio_of_means(self):
        a, borders = attention(), [0, 2, 3, 5, 7]
        wanted = a[..., borders].mean((-2, -1)) / a.mean((-2, -1))
        raw, bounded = edge_utilization(a, SPANS)
        assert_close(raw, wanted)
        assert_close(bounded, wanted.clamp(max=1))
        assert (wanted > 1).any()
        assert (wanted < 1).any()

    def test_uniform_attention_uses_edges_as_all_else(self):
        assert_close(edge_utilization(torch.full((T, S), 1 / S), SPANS).raw, torch.tensor(1.0))

    def test_borders_alone_read_the_most_that_the_raw_figure_can_be(self):
        rows = torch.zeros(T, S)
        rows[:, 0] = 1
        raw, bounded = edge_utilization(rows, torch.tensor([[0, 1]]))
        assert (raw.item(), bounded.item()) == (S, 1)

    def test_more_mass_at_borders_is_more_use(self):
        inside, border = torch.zeros(T, S), torch.zeros(T, S)
        inside[:, 1], border[:, 2] = 1, 1
        figures = [
            edge_utilization((1 - share) * inside + share * border, SPANS)
            for share in (0, 0.2, 0.5, 0.7, 1)
        ]
        assert figures[0] == (0, 0)
        for part in (0, 1):
            assert_monotone(torch.stack([f[part] for f in figures]))
        assert figures[1].raw < figures[2].raw

    def test_without_attention_or_tiles_there_is_no_use(self):
        assert edge_utilization(torch.zeros(T, S), SPANS) == (0, 0)
        empty = torch.tensor([[0, 0], [4, 4], [8, 8]])
        assert edge_utilization(torch.ones(T, S), empty) == (0, 0)
        none = torch.zeros(0, 2, dtype=torch.int64)
        assert edge_utilization(torch.ones(T, S), none) == (0, 0)

    def test_every_text_may_have_its_own_tiles(self):
        a = attention()
        other = torch.tensor([[0, 8], [8, 8], [8, 8]])
        both = edge_utilization(a, torch.stack([SPANS, other])[:, None])
        assert_close(both.raw[0], edge_utilization(a[0], SPANS).raw)
        assert_close(both.raw[1], edge_utilization(a[1], other[:1]).raw)

    def test_single_precision_does_not_overflow(self):
        a = attention(dtype=torch.float32)
        wanted = edge_utilization(a, SPANS).raw
        assert_close(edge_utilization(a * 1e38, SPANS).raw, wanted)


def test_the_distribution_of_a_tile_is_the_mean_row_of_its_queries():
    a = attention(rows=S)
    p = tile_distributions(a, SPANS)
    wanted = [a[..., start:end, :].mean(-2) for start, end in SPANS.tolist()]
    assert_close(p, torch.stack(wanted, -2))
    assert_close(p.sum(-1), torch.ones(B, H, 3, dtype=torch.float64))


class TestInformationDensity:
    def test_hand_worked(self):
        raw, bounded = information_density(tensor([3, 4], [0, 1]))
        assert (raw.item(), bounded.item()) == (6.5, 6.5 / 7.5)

    def test_faster_states_are_denser_and_never_reach_one(self):
        step = torch.randn(B, T, 5, dtype=torch.float64)
        figures = [information_density(c * step) for c in (0, 0.1, 1, 10, 1e3)]
        assert figures[0].raw.tolist() == [0, 0]
        for part in (0, 1):
            assert_monotone(torch.stack([f[part][0] for f in figures]))
        assert figures[-1].bounded.max() < 1

    def test_squares_that_overflow_are_dense(self):
        step = torch.full((T, 5), 1e30, requires_grad=True)
        raw, bounded = information_density(step)
        assert (raw.item(), bounded.item()) == (math.inf, 1)
        (gradient,) = torch.autograd.grad(bounded, step, allow_unused=True)
        assert torch.isfinite(gradient).all()


class TestEfficiency:
    def test_quality_is_divided_by_what_it_costs(self):
        ratio = compute_to_efficiency_ratio(tensor(0.5), tensor(0.25), tensor(0.5), tensor(0.8))
        assert_close(ratio, tensor(5.0))

    def test_hand_worked_adaptation(self):
        changes = tensor([0.4, -0.2])
        assert_close(adaptation_efficiency(changes, tensor([0, 0])), tensor(0.05))
        uneven = adaptation_efficiency(changes, tensor([math.log(3), 0]))
        assert_close(uneven, tensor((0.4 / 4 - 0.2 / 2) / 2))

    def test_adaptation_is_at_most_half_of_the_mean_change(self):
        changes = torch.randn(50, T, dtype=torch.float64)
        loads = torch.rand(50, T, dtype=torch.float64)
        efficiency = adaptation_efficiency(changes, 100 * loads)
        assert (efficiency.abs() <= changes.abs().mean(-1) / 2).all()

    def test_hand_worked_imbalance(self):
        loads = tensor([2, 2, 2, 2], [1, 2, 3, 2], [0, 0, 5, 0], [0, 0, 0, 0])
        assert load_imbalance(loads).tolist() == [0, 0.5, 3, 0]

    def test_imbalance_has_no_unit_and_stays_in_its_bounds(self):
        loads = torch.rand(200, 5) + 0.01
        figures = load_imbalance(loads)
        assert ((figures >= 0) & (figures <= 4)).all()
        assert_close(load_imbalance(loads * 1e38), figures)


A, P, G = torch.ones(T, S), torch.full((3, 4), 0.25), torch.ones(T, 5)
ONE = torch.ones(())


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("previous", lambda: pattern_stability(A[:3], A)),
        ("previous", lambda: pattern_stability(A[0], A)),
        ("current", lambda: pattern_stability(A, -A)),
        ("current", lambda: pattern_stability(A, A * math.nan)),
        ("current", lambda: pattern_stability(A, A.int())),
        ("distributions", lambda: cross_tile_flow(P * 1.001)),
        ("distributions", lambda: cross_tile_flow(P * tensor(-1, 3, 1, 1))),
        ("distributions", lambda: cross_tile_flow(P[0])),
        ("distributions", lambda: cross_tile_flow(P[:0])),
        ("weights", lambda: cross_tile_flow(P, torch.ones(2, 2))),
        ("weights", lambda: cross_tile_flow(P, torch.ones(2, 3, 3))),
        ("weights", lambda: cross_tile_flow(P, -torch.ones(3, 3))),
        ("attention", lambda: edge_utilization(-A, SPANS)),
        ("spans", lambda: edge_utilization(A, torch.tensor([0, 3]))),
        ("spans", lambda: edge_utilization(A, SPANS.float())),
        ("spans", lambda: edge_utilization(A, SPANS.expand(2, 3, 2))),
        ("spans", lambda: edge_utilization(A, torch.tensor([[0, 9]]))),
        ("spans", lambda: edge_utilization(A, torch.tensor([[-1, 3]]))),
        ("spans", lambda: edge_utilization(A, torch.tensor([[3, 2]]))),
        ("spans", lambda: edge_utilization(A, torch.tensor([[0, 3], [2, 4]]))),
        ("spans", lambda: tile_distributions(A, torch.tensor([[0, 3], [3, 3]]))),
        ("spans", lambda: tile_distributions(A, torch.tensor([[0, T + 1]]))),
        ("gradient", lambda: information_density(G * math.inf)),
        ("gradient", lambda: information_density(G[0])),
        ("ifq", lambda: compute_to_efficiency_ratio(2 * ONE, ONE, ONE, ONE)),
        ("compute", lambda: compute_to_efficiency_ratio(ONE, 0 * ONE, ONE, ONE)),
        ("memory", lambda: compute_to_efficiency_ratio(ONE, ONE, -ONE, ONE)),
        ("resolution", lambda: compute_to_efficiency_ratio(ONE, ONE, ONE, 2 * ONE)),
        ("load_imbalance", lambda: adaptation_efficiency(torch.ones(3), torch.ones(4))),
        ("load_imbalance", lambda: adaptation_efficiency(torch.ones(3), -torch.ones(3))),
        ("loads", lambda: load_imbalance(torch.ones(0))),
        ("loads", lambda: load_imbalance(-torch.ones(3))),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.name == name
