"""Densities follow their definition, never look ahead, and come the same in pieces."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close
from adaptive_attention_tiling.tiling import (
    DiagonalMetric,
    FisherMetric,
    InformationDensityAnalyzer,
    LowRankMetric,
)

B, T, C = 2, 45, 7
DTYPES = [torch.float32, torch.float64]


def make_states(*, length: int = T, width: int = C, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(B, length, width, dtype=torch.float64).to(dtype)


def make_positions(*, length: int = T, dtype: torch.dtype = torch.float64) -> Tensor:
    return (torch.rand(B, length, dtype=torch.float64) + 0.1).cumsum(-1).to(dtype)


def metric_for(kind: str | None) -> object:
    generator = torch.Generator().manual_seed(3)
    if kind is None:
        return None
    if kind == "diagonal":
        return DiagonalMetric(torch.rand(C, generator=generator, dtype=torch.float64))
    weight = torch.randn(11, C, generator=generator, dtype=torch.float64)
    return LowRankMetric(weight[:3].T) if kind == "low_rank" else FisherMetric(weight)


METRICS = [None, "diagonal", "low_rank", "fisher"]


def reference_density(states: Tensor, positions: Tensor, window: int, metric) -> Tensor:
    """Token by token, as the docstring says."""
    raw = torch.zeros(states.shape[:-1], dtype=states.dtype)
    for b in range(states.shape[0]):
        for t in range(1, states.shape[1]):
            rate = (states[b, t] - states[b, t - 1]) / (positions[b, t] - positions[b, t - 1])
            raw[b, t] = rate @ rate if metric is None else metric.squared_norm(states[b, t], rate)
    density = torch.zeros_like(raw)
    for t in range(1, states.shape[1]):
        density[:, t] = raw[:, max(1, t - window + 1) : t + 1].mean(-1)
    return density


def curve(positions: Tensor) -> Tensor:
    """A smooth s(p) of three channels, of which the first two sum to a constant."""
    p = positions
    return torch.stack([p.sin().square(), p.cos().square(), (0.3 * p).exp()], -1)


def squared_speed(p: Tensor) -> Tensor:
    return 2 * (2 * p).sin().square() + (0.3 * (0.3 * p).exp()).square()


def order_of(errors: list[float]) -> list[float]:
    return [math.log2(a / b) for a, b in pairwise(errors)]


def test_hand_worked():
    states = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [3.0, 6.0]])
    positions = torch.tensor([0, 1, 2, 4])
    raw = InformationDensityAnalyzer(1).compute_density(states, positions)
    assert raw.tolist() == [0, 25, 0, 1]
    smooth = InformationDensityAnalyzer(2).compute_density(states, positions)
    assert smooth.tolist() == [0, 25, 12.5, 0.5]


@pytest.mark.parametrize("window", [1, 2, 5, 32, 100])
@pytest.mark.parametrize("kind", METRICS)
def test_densities_are_the_reference_ones(window, kind):
    states, positions = make_states(), make_positions()
    metric = metric_for(kind)
    density = InformationDensityAnalyzer(window, metric=metric).compute_density(states, positions)
    assert_close(density, reference_density(states, positions, window, metric))


def test_an_even_motion_is_evenly_dense_from_the_second_token_on():
    states = torch.arange(T, dtype=torch.float64)[:, None] * torch.tensor([1.0, -2.0]).double()
    density = InformationDensityAnalyzer(8).compute_density(states)
    assert density[0] == 0
    assert_bit_equal(density[1:], torch.full((T - 1,), 5.0, dtype=torch.float64))


def test_positions_too_large_to_count_single_steps_are_fine():
    positions = 2.0**25 + 4 * torch.arange(T, dtype=torch.float32).expand(B, T)
    states = make_states(dtype=torch.float32)
    analyzer = InformationDensityAnalyzer(4)
    density = analyzer.compute_density(states, positions)
    assert_bit_equal(density, analyzer.compute_density(states) / 16)


def test_stretched_positions_thin_the_density():
    states, positions = make_states(), make_positions()
    analyzer = InformationDensityAnalyzer(4)
    density = analyzer.compute_density(states, positions)
    assert_close(analyzer.compute_density(states, 2 * positions), density / 4)
    assert_close(analyzer.compute_density(-3 * states, positions), density * 9)


@pytest.mark.parametrize("position", [1, 2, 17, T - 1])
@pytest.mark.parametrize("kind", METRICS)
def test_no_token_looks_ahead(position, kind):
    analyzer = InformationDensityAnalyzer(5, metric=metric_for(kind))
    positions = make_positions()
    assert_causal(
        lambda s: analyzer.compute_density(s, positions)[..., None], [make_states()], position
    )


def test_positions_ahead_do_not_matter_either():
    states, positions = make_states(), make_positions()
    moved = positions.clone()
    moved[:, 20:] += 7.25
    analyzer = InformationDensityAnalyzer(5)
    before, after = (analyzer.compute_density(states, p) for p in (positions, moved))
    assert_bit_equal(after[:, :20], before[:, :20])
    assert (after[:, 20] != before[:, 20]).all()


def test_the_spec_s_pooling_looks_ahead_and_ours_does_not():
    window = 8
    states = torch.zeros(1, 32, 1)
    states[:, 20:] = 1
    raw = InformationDensityAnalyzer(1).compute_density(states)
    pooled = torch.nn.functional.avg_pool1d(raw[:, None], window, 1, window // 2)[0, 0]
    assert pooled[17:20].all()
    density = InformationDensityAnalyzer(window).compute_density(states)[0]
    assert not density[:20].any()
    assert density[20] == 1 / window


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [[1] * T, [1, 2, 30, 12], [40, 5], [44, 1]])
@pytest.mark.parametrize(("window", "width"), [(1, 7), (6, 1), (32, 64), (33, 577)])
def test_pieces_get_the_densities_of_the_whole_bit_for_bit(dtype, sizes, window, width):
    states, positions = make_states(width=width, dtype=dtype), make_positions(dtype=dtype)
    analyzer = InformationDensityAnalyzer(window)
    past, parts = None, []
    for s, p in zip(states.split(sizes, 1), positions.split(sizes, 1), strict=True):
        density, past = analyzer.extend(past, s, p)
        parts.append(density)
    assert_bit_equal(torch.cat(parts, 1), analyzer.compute_density(states, positions))
    assert past.recent.shape == (B, window - 1)
    assert past.seen == T


def test_pieces_in_the_fisher_metric_and_counted_positions():
    states = make_states()
    analyzer = InformationDensityAnalyzer(6, metric=metric_for("fisher"))
    past, parts = None, []
    for s in states.split([1, 1, 20, 23], 1):
        density, past = analyzer.extend(past, s)
        parts.append(density)
    assert_close(torch.cat(parts, 1), analyzer.compute_density(states))


def test_gradients_are_those_of_the_reference():
    states, positions = make_states().requires_grad_(), make_positions().requires_grad_()
    weights = torch.randn(B, T, dtype=torch.float64)
    metric = metric_for("fisher")
    analyzer = InformationDensityAnalyzer(5, metric=metric)
    fast = (analyzer.compute_density(states, positions) * weights).sum()
    slow = (reference_density(states, positions, 5, metric) * weights).sum()
    pairs = zip(
        torch.autograd.grad(fast, [states, positions]),
        torch.autograd.grad(slow, [states, positions]),
        strict=True,
    )
    for got, wanted in pairs:
        assert_close(got, wanted, gradient=True)


def test_half_precision_states_are_measured_in_single():
    states = make_states(dtype=torch.bfloat16)
    density = InformationDensityAnalyzer(4).compute_density(states)
    assert density.dtype == torch.float32
    assert_bit_equal(density, InformationDensityAnalyzer(4).compute_density(states.float()))


@pytest.mark.parametrize("by", ["function", "graph"])
@pytest.mark.parametrize("pointwise", [True, False])
def test_the_autograd_form_is_the_speed_of_the_curve(by, pointwise):
    positions = make_positions(length=9).requires_grad_()
    states = curve if by == "function" else curve(positions)
    analyzer = InformationDensityAnalyzer(1, form="autograd", pointwise=pointwise)
    density = analyzer.compute_density(states, positions)
    assert_close(density, squared_speed(positions))
    wanted = torch.autograd.grad(squared_speed(positions).sum(), positions)[0]
    assert_close(torch.autograd.grad(density.sum(), positions)[0], wanted, gradient=True)


def test_a_graph_comes_along_only_where_something_asks_for_it():
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    analyzer, positions = InformationDensityAnalyzer(1, form="autograd"), make_positions(length=9)
    assert not analyzer.compute_density(curve, positions).requires_grad
    density = analyzer.compute_density(lambda p: scale * curve(p), positions)
    assert_close(torch.autograd.grad(density.sum(), scale)[0], 2 * squared_speed(positions).sum())
    with torch.no_grad():
        assert_close(
            analyzer.compute_density(lambda p: scale * curve(p), positions), density.detach()
        )


def test_the_spec_s_sum_over_channels_misses_motion_that_cancels():
    positions = make_positions(length=9).requires_grad_()
    states = curve(positions)[..., :2]
    (spec,) = torch.autograd.grad(states.sum(), positions, retain_graph=True)
    assert spec.abs().max() < 1e-12
    density = InformationDensityAnalyzer(1, form="autograd").compute_density(states, positions)
    assert_close(density, 2 * (2 * positions).sin().square())


@pytest.mark.parametrize("kind", ["diagonal", "fisher"])
def test_the_autograd_form_takes_a_metric(kind):
    channels = torch.randn(C, dtype=torch.float64)

    def states(p: Tensor) -> Tensor:
        return (p[..., None] * channels).sin()

    positions, metric = make_positions(), metric_for(kind)
    rates = channels * (positions[..., None] * channels).cos()
    analyzer = InformationDensityAnalyzer(1, form="autograd", metric=metric)
    assert_close(
        analyzer.compute_density(states, positions), metric.squared_norm(states(positions), rates)
    )


def test_only_the_diagonal_derivative_is_meant():
    def states(p: Tensor) -> Tensor:
        """s_t = p_t sum_{j<=t} p_j, whose derivative by p_t alone is p_t + sum_{j<=t} p_j."""
        return (p * p.cumsum(-1))[..., None]

    positions = make_positions(length=6).requires_grad_()
    wanted = (positions + positions.cumsum(-1)).square()
    for given in (states, states(positions)):
        exact = InformationDensityAnalyzer(1, form="autograd", pointwise=False)
        assert_close(exact.compute_density(given, positions), wanted)
        promised = InformationDensityAnalyzer(1, form="autograd")
        with pytest.raises(ArgumentError, match="other positions move"):
            promised.compute_density(given, positions)


def test_the_autograd_form_smooths_from_its_first_token_on_and_comes_in_pieces():
    positions = make_positions()
    analyzer = InformationDensityAnalyzer(4, form="autograd")
    density = analyzer.compute_density(curve, positions)
    raw = squared_speed(positions)
    wanted = [raw[:, max(0, t - 3) : t + 1].mean(-1) for t in range(T)]
    assert_close(density, torch.stack(wanted, -1))
    past, parts = None, []
    for p in positions.split([1, 3, 41], 1):
        part, past = analyzer.extend(past, curve, p)
        parts.append(part)
    assert_close(torch.cat(parts, 1), density)


@pytest.mark.parametrize(
    ("at", "order", "in_fisher"),
    # The Fisher metric is taken at the end of a step, so that the middle is no better there.
    [("end", 1, False), ("middle", 2, False), ("end", 1, True), ("middle", 1, True)],
)
def test_the_discrete_form_converges_to_the_autograd_form(at, order, in_fisher):
    metric = FisherMetric(torch.randn(5, 3, dtype=torch.float64)) if in_fisher else None
    speed = InformationDensityAnalyzer(1, form="autograd", metric=metric)
    points = torch.tensor([1.2, 1.3], dtype=torch.float64)
    wanted = speed.compute_density(curve, points)[1]
    errors = []
    for h in (0.04, 0.02, 0.01, 0.005):
        ends = 1.3 + h * torch.tensor([-1, 0] if at == "end" else [-0.5, 0.5], dtype=torch.float64)
        step = InformationDensityAnalyzer(1, metric=metric).compute_density(curve(ends), ends)
        errors.append((step[1] - wanted).abs().item())
    assert all(abs(measured - order) < 0.1 for measured in order_of(errors)), order_of(errors)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("window_size", lambda: InformationDensityAnalyzer(0)),
        ("window_size", lambda: InformationDensityAnalyzer(2.5)),
        ("form", lambda: InformationDensityAnalyzer(form="smooth")),
        ("states", lambda: InformationDensityAnalyzer().compute_density(torch.zeros(3))),
        ("states", lambda: InformationDensityAnalyzer().compute_density(torch.zeros(0, 3))),
        ("states", lambda: InformationDensityAnalyzer().compute_density(torch.zeros(2, 3).int())),
        ("states", lambda: InformationDensityAnalyzer().compute_density(curve, torch.arange(3.0))),
        ("positions", lambda: density_of(3, [[0.0, 1.0, 2.0]])),
        ("positions", lambda: density_of(3, [0.0, 1.0, 1.0])),
        ("positions", lambda: density_of(3, [0.0, math.nan, 1.0])),
        ("positions", lambda: density_of(3, [2.0, 1.0, 0.0])),
        ("positions", lambda: autograd_density(curve, None)),
        ("positions", lambda: autograd_density(curve, torch.arange(3))),
        ("states", lambda: autograd_density(torch.zeros(3, 2), torch.arange(3.0))),
        ("states", lambda: autograd_density(lambda p: p, torch.arange(3.0))),
        ("states", lambda: autograd_density(unrelated(), torch.arange(3.0).requires_grad_())),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.name == name


def test_pieces_must_follow_on():
    analyzer = InformationDensityAnalyzer()
    _, past = analyzer.extend(None, make_states(), make_positions())
    with pytest.raises(ArgumentError, match="strictly increase"):
        analyzer.extend(past, make_states(), make_positions())
    with pytest.raises(ArgumentError, match="as before"):
        analyzer.extend(past, make_states(width=C + 1))


def density_of(length: int, positions: list) -> Tensor:
    return InformationDensityAnalyzer().compute_density(
        torch.zeros(length, 2), torch.tensor(positions)
    )


def autograd_density(states: object, positions: Tensor | None) -> Tensor:
    return InformationDensityAnalyzer(form="autograd").compute_density(states, positions)


def unrelated() -> Tensor:
    return torch.zeros(3, 2, requires_grad=True) * 2
