"""The detector raises false alarms at the rate it states, and finds shifts."""

import math

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.splats import ShiftDetector, energy_test
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

R, W, D = 64, 32, 8


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(runs: int, seed: int) -> Tensor:
    return torch.randn(runs, R + W, D, generator=generator(seed))


def alarms(x: Tensor, rate: float, permutations: int) -> float:
    """The share of runs [runs, R + W, D] in which the window differs from the reference."""
    statistic, threshold = energy_test(
        x[:, :R],
        x[:, R:],
        false_alarm_rate=rate,
        permutations=permutations,
        generator=generator(99),
    )
    return (statistic > threshold).double().mean().item()


@pytest.mark.parametrize(("rate", "permutations"), [(0.05, 99), (0.2, 49)])
@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_false_alarms_come_at_the_stated_rate(rate, permutations, tails):
    runs = 1500
    x = same(runs, 1)
    if tails == "heavy":  # and with coordinates of very different sizes
        x = x**3 * torch.logspace(-3, 3, D)
    error = math.sqrt(rate * (1 - rate) / runs)
    assert abs(alarms(x, rate, permutations) - rate) < 3.5 * error


@pytest.mark.parametrize(
    ("change", "power"),
    [
        (lambda x: x + 0.5, 0.95),
        (lambda x: 1.5 * x, 0.6),
        (lambda x: torch.where(torch.rand((*x.shape[:-1], 1)) < 0.3, x + 4, x), 0.95),
    ],
    ids=["mean", "scale", "cluster"],
)
def test_shifts_are_found_with_the_stated_power(change, power):
    """At one false alarm in a hundred, from 32 vectors in 8 dimensions against 64."""
    x = same(200, 2)
    x = torch.cat([x[:, :R], change(x[:, R:])], 1)
    assert alarms(x, 0.01, 499) >= power


def test_correlated_tokens_raise_false_alarms_and_thinned_ones_do_not():
    runs, keep = 200, 40
    noise = torch.randn(runs, (R + W) * keep, D, generator=generator(3))
    x, state = [], noise[:, 0]
    for step in noise.unbind(1):
        state = 0.9 * state + math.sqrt(1 - 0.81) * step
        x.append(state)
    stream = torch.stack(x, 1)
    assert alarms(stream[:, -(R + W) :], 0.05, 99) > 0.9
    error = math.sqrt(0.05 * 0.95 / runs)
    assert alarms(stream[:, keep - 1 :: keep], 0.05, 99) < 0.05 + 3.5 * error


def test_golden_energy_distance_of_two_points_and_one():
    """Vectors -1 and 1 against 0, over their deviation of 1: 2 * 1 - (0 + 2 + 2 + 0) / 4 = 1."""
    reference, recent = torch.tensor([[-1.0], [1.0]]), torch.tensor([[0.0]])
    statistic, _ = energy_test(
        reference, recent, false_alarm_rate=0.5, permutations=9, generator=generator()
    )
    assert_close(statistic, torch.tensor(1.0))


def test_the_statistic_knows_no_order_and_no_units():
    x = same(1, 4)[0]
    x[R:] += 1
    options = {"false_alarm_rate": 0.05, "permutations": 19}
    plain = energy_test(x[:R], x[R:], **options, generator=generator())[0]
    shuffled = energy_test(x[:R].flip(0), x[R:].flip(0), **options, generator=generator())[0]
    units = torch.logspace(-2, 2, D)
    scaled = energy_test(x[:R] * units, x[R:] * units, **options, generator=generator())[0]
    assert_close(shuffled, plain)
    assert_close(scaled, plain)
    assert energy_test(x[:R], x[:R], **options, generator=generator())[0].abs() < 1e-4


def test_windows_are_compared_as_they_fill():
    detector = ShiftDetector(D, reference=R, window=W, false_alarm_rate=0.01)
    x = same(3, 5).flatten(0, 1)
    reports = [detector.update(part) for part in x.split(16)]
    assert reports[0] == (0.0, math.inf, False, 0)
    # 288 vectors: a reference of 64, and a full window of 32 seven times
    assert [r.checks for r in reports[:7]] == [0, 0, 0, 0, 0, 1, 1]
    assert reports[-1].checks == 7
    assert not any(r.shifted for r in reports)
    assert detector.update(x[:W] + 1).shifted
    assert detector.vectors.shape == (R + W, D)


def test_one_update_compares_all_windows_in_it_and_tells_the_first_shift():
    x = same(3, 6).flatten(0, 1)
    x[R + 2 * W : R + 3 * W] += 1
    detector = ShiftDetector(D, reference=R, window=W)
    report = detector.update(x)
    assert report.shifted
    assert report.checks == 3
    assert int(detector.checked) == 7


def test_after_a_reset_the_new_distribution_is_the_reference():
    x = same(1, 7)[0]
    detector = ShiftDetector(D, reference=R, window=W)
    detector.update(x)
    assert detector.update(x[:W] + 2).shifted
    detector.reset()
    assert not detector.update(same(1, 8)[0] + 2).shifted
    assert detector.update(x[:W]).shifted


def test_the_rate_of_a_run_is_divided_among_its_comparisons():
    one = ShiftDetector(D, false_alarm_rate=0.05)
    ten = ShiftDetector(D, false_alarm_rate=0.05, checks=10)
    assert ten.rate == pytest.approx(one.rate / 10)
    assert ten.permutations == 999
    runs, found = 60, 0
    for run in range(runs):
        detector = ShiftDetector(
            2, reference=12, window=8, false_alarm_rate=0.2, checks=4, seed=10 * run
        )
        stream = torch.randn(12 + 4 * 8, 2, generator=generator(run))
        found += detector.update(stream).shifted
    assert found / runs < 0.2 + 3 * math.sqrt(0.2 * 0.8 / runs)


def test_it_goes_on_where_it_was_saved():
    x = same(4, 9).flatten(0, 1)
    one, two = (ShiftDetector(D, reference=R, window=W, seed=3) for _ in range(2))
    one.update(x[:150])
    two.load_state_dict(one.state_dict())
    assert one.update(x[150:]) == two.update(x[150:])
    for name, buffer in one.state_dict().items():
        assert_bit_equal(two.state_dict()[name], buffer)


def test_each_comparison_draws_its_own_permutations():
    x = same(1, 10)[0]
    detector = ShiftDetector(D, reference=R, window=W)
    first, second = detector.update(x), detector.update(x[R:])
    assert second.checks == 2
    assert second.statistic == first.statistic
    assert second.threshold != first.threshold


def test_vectors_that_are_all_the_same_are_no_shift():
    detector = ShiftDetector(D, reference=R, window=W)
    assert not detector.update(torch.full((R + 3 * W, D), 0.1)).shifted


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("width", lambda: ShiftDetector(0)),
        ("reference", lambda: ShiftDetector(D, reference=1)),
        ("window", lambda: ShiftDetector(D, window=1)),
        ("checks", lambda: ShiftDetector(D, checks=0)),
        ("false_alarm_rate", lambda: ShiftDetector(D, false_alarm_rate=1.0)),
        ("permutations", lambda: ShiftDetector(D, false_alarm_rate=0.01, permutations=50)),
        ("x", lambda: ShiftDetector(D).update(torch.zeros(3, D + 1))),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.name == name
