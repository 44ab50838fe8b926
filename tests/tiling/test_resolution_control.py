"""Resolutions meet the compute target, lose least, and keep their order."""

import itertools

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close
from adaptive_attention_tiling.tiling.resolution import (
    adapt_resolution,
    compute_share,
    expected_loss,
    segment_loss,
)

LEVELS = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
LOW = 1 / 16


def dense(*shape: int, spread: float = 2.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return (spread * torch.randn(*shape, dtype=dtype)).exp()


def tiles(*shape: int) -> Tensor:
    return 16 * 2.0 ** torch.randint(0, 6, shape).double()


def adapt(density: Tensor, target, current=0.5, **options) -> Tensor:
    return adapt_resolution({"gradient_density": density}, current, target, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [0.0, 1.0, 6.0])
def test_the_target_is_met(dtype, spread):
    """Exactly, beside rounding, where resolutions are continuous."""
    density, lengths = dense(200, 40, spread=spread, dtype=dtype), tiles(200, 40)
    density[::7, ::3] = 0
    target = LOW + (1 - LOW) * torch.rand(200, dtype=torch.float64)
    target[:2] = torch.tensor([LOW, 1.0])
    found = adapt(density, target, lengths=lengths)
    assert found.dtype == dtype
    assert ((found >= LOW) & (found <= 1)).all()
    share = compute_share(found.double(), lengths)
    assert ((share - target).abs() <= 10 * torch.finfo(dtype).eps * target).all()


@pytest.mark.parametrize("equal", [True, False])
def test_levels_meet_the_target_as_near_as_a_purchase(equal):
    """Half the largest purchase away at most; so within 2 % from 12.5 / target equal tiles on."""
    for count in (1, 3, 30, 200):
        density = dense(100, count)
        lengths = torch.full_like(density, 32) if equal else tiles(100, count)
        target = LOW + (1 - LOW) * torch.rand(100, dtype=torch.float64)
        found = adapt(density, target, lengths=lengths, levels=LEVELS)
        assert torch.isin(found, torch.tensor(LEVELS, dtype=found.dtype)).all()
        wrong = (compute_share(found, lengths) - target).abs()
        assert (wrong <= lengths.amax(-1) / (4 * lengths.sum(-1)) + 1e-12).all()
        if equal:
            enough = target >= 12.5 / count
            assert (wrong <= 0.02 * target)[enough].all()
            assert enough.any() == (count >= 30)


def test_no_continuous_allocation_loses_less():
    """Against random neighbours on the same budget."""
    density, lengths = dense(20, 6, spread=1.5), tiles(20, 6)
    target = torch.linspace(0.15, 0.9, 20, dtype=torch.float64)
    found = adapt(density, target, lengths=lengths)
    least = expected_loss(density, found, lengths)
    for _ in range(2000):
        noise = found * (1 + 0.1 * torch.randn_like(found))
        other = _on_budget(noise.clamp(LOW, 1), target, lengths)
        assert (expected_loss(density, other, lengths) >= least * (1 - 1e-12)).all()
    uniform = target[:, None].expand_as(found)
    assert (expected_loss(density, uniform, lengths) > least).all()


def _on_budget(resolution: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """Shrink or stretch towards the bounds until the share is the target."""
    share = compute_share(resolution, lengths)
    down = (target - LOW) / (share - LOW)
    up = (1 - target) / (1 - share)
    lower = LOW + down[:, None] * (resolution - LOW)
    return torch.where((share > target)[:, None], lower, 1 - up[:, None] * (1 - resolution))


def test_golden_two_tiles_at_one_price():
    """Densities 3 and 3/17 at price 1/2: (6/6 - 1)^-1/2 is beyond 1, (17 - 1)^-1/2 = 1/4."""
    density = torch.tensor([3.0, 3 / 17], dtype=torch.float64)
    found = adapt(density, 0.625)
    assert_close(found, torch.tensor([1.0, 0.25], dtype=torch.float64))


def test_no_choice_of_levels_with_that_share_loses_less():
    """By brute force over all of them."""
    levels = torch.tensor(sorted(LEVELS), dtype=torch.float64)
    choices = torch.tensor(list(itertools.product(levels.tolist(), repeat=4))).double()
    for seed in range(40):
        torch.manual_seed(seed)
        density, lengths = dense(4), tiles(4)
        target = 0.1 + 0.8 * torch.rand(()).item()
        found = adapt(density, target, lengths=lengths, levels=LEVELS)
        share = compute_share(found, lengths)
        cheaper = compute_share(choices, lengths) <= share + 1e-12
        least = expected_loss(density, choices[cheaper], lengths).min()
        assert_close(expected_loss(density, found, lengths), least)


@pytest.mark.parametrize("levels", [None, LEVELS])
def test_a_denser_tile_never_gets_less(levels):
    density, lengths = dense(200, 25), tiles(200, 25)
    density, order = density.sort(-1)
    lengths = lengths.gather(-1, order)
    for target in (0.1, 0.4, 0.8):
        found = adapt(density, target, lengths=lengths, levels=levels)
        assert (found.diff(dim=-1) >= 0).all()
        assert (found[:, -1] > found[:, 0]).all()


@pytest.mark.parametrize("levels", [None, LEVELS])
@pytest.mark.parametrize("given", [True, False])
def test_a_higher_target_lowers_no_tile(levels, given):
    density, lengths = dense(100, 25), tiles(100, 25)
    options = {"lengths": lengths, "levels": levels}
    current = torch.full((100,), 0.4, dtype=torch.float64)
    if given:  # one that this function would not have chosen
        index = torch.randint(0, 5, (100, 25))
        options["resolution"] = torch.tensor(LEVELS, dtype=torch.float64)[index]
        current = compute_share(options["resolution"], lengths)
    targets = torch.linspace(LOW, 1, 23, dtype=torch.float64)
    found = torch.stack([adapt(density, t, current, **options) for t in targets])
    assert (found.diff(dim=0) >= -1e-12).all()
    assert_close(found[0], torch.full_like(found[0], LOW))
    assert_close(found[-1], torch.ones_like(found[0]))


@pytest.mark.parametrize("levels", [None, LEVELS])
def test_the_current_share_changes_nothing(levels):
    density, lengths = dense(50, 25), tiles(50, 25)
    options = {"lengths": lengths, "levels": levels}
    now = adapt(density, 0.37, **options)
    assert_bit_equal(adapt(density, 0.37, 0.37, resolution=now, **options), now)
    index = torch.randint(0, 5, (50, 25))
    other = torch.tensor(LEVELS, dtype=torch.float64)[index]
    share = compute_share(other, lengths)
    assert_bit_equal(adapt(density, share, share, resolution=other, **options), other)
    near = 0.99 * share  # as a measured compute may be
    assert_bit_equal(adapt(density, near, near, resolution=other, **options), other)
    higher = adapt(density, 1.1 * share.clamp(max=0.9), share, resolution=other, **options)
    lower = adapt(density, 0.8 * share, share, resolution=other, **options)
    assert (higher >= other).all()
    assert (lower <= other).all()
    assert (lower < higher).any()


@pytest.mark.parametrize("levels", [None, LEVELS])
def test_coming_from_an_optimum_is_going_to_one(levels):
    """Down and up again: the current resolutions are no burden when they were chosen well."""
    density, lengths = dense(50, 25), tiles(50, 25)
    options = {"lengths": lengths, "levels": levels}
    now = adapt(density, 0.5, **options)
    share = compute_share(now, lengths)
    for target in (0.2, 0.9):
        assert_close(
            adapt(density, target, share, resolution=now, **options),
            adapt(density, target, **options),
        )


def test_the_densest_keep_what_they_have_when_compute_falls():
    density = torch.tensor([1e4, 1.0, 1.0, 1e-4], dtype=torch.float64)
    now = torch.full((4,), 0.5, dtype=torch.float64)
    less = adapt(density, 0.35, 0.5, resolution=now)
    assert less[0] == 0.5
    assert less[3] == LOW
    assert_close(less[1:3], torch.full((2,), (1.4 - 0.5 - LOW) / 2, dtype=torch.float64))
    more = adapt(density, 0.6, 0.5, resolution=now)
    assert more[0] > 0.89
    assert more[3] == 0.5


def test_scale_of_the_densities_does_not_matter_nor_does_their_order():
    density, lengths = dense(30, 12), tiles(30, 12)
    plain = adapt(density, 0.3, lengths=lengths)
    assert_close(adapt(1e6 * density, 0.3, lengths=lengths), plain)
    order = torch.randperm(12)
    assert_close(adapt(density[:, order], 0.3, lengths=lengths[:, order]), plain[:, order])
    halves = density.repeat_interleave(2, -1), (lengths / 2).repeat_interleave(2, -1)
    assert_close(adapt(halves[0], 0.3, lengths=halves[1])[:, ::2], plain)


def test_without_density_all_tiles_are_alike():
    assert_close(adapt(torch.zeros(7), 0.3), torch.full((7,), 0.3))


def test_gradients_are_those_of_the_optimum():
    density, lengths = dense(2, 5, spread=1.0), tiles(2, 5)
    target = torch.tensor([0.3, 0.6], dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (density, lengths, target)]

    def run(density, lengths, target):
        return adapt(density, target, lengths=lengths)

    found = run(*inputs)
    assert ((found > LOW) & (found < 1)).sum() > 5
    assert torch.autograd.gradcheck(run, inputs)


def test_gradients_reach_the_current_resolutions():
    """A tile that keeps its resolution passes its gradient on."""
    density = torch.tensor([1e4, 1.0, 2.0, 1.5], dtype=torch.float64)
    now = torch.full((4,), 0.5, dtype=torch.float64, requires_grad=True)

    def run(now):
        return adapt(density, 0.4, 0.5, resolution=now)

    assert torch.autograd.gradcheck(run, now)


def test_expected_loss_is_written_out():
    density, resolution = torch.tensor([2.0, 5.0]), torch.tensor([0.5, 0.25])
    expected = 3 * 2 * segment_loss(resolution[0]) + 7 * 5 * segment_loss(resolution[1])
    assert_close(expected_loss(density, resolution, torch.tensor([3.0, 7.0])), expected)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("features", lambda: adapt_resolution({"entropy": torch.ones(3)}, 0.5, 0.5)),
        ("features['gradient_density']", lambda: adapt(-torch.ones(3), 0.5)),
        ("features['gradient_density']", lambda: adapt(torch.full((3,), torch.nan), 0.5)),
        ("target_compute", lambda: adapt(torch.ones(3), 1.1)),
        ("target_compute", lambda: adapt(torch.ones(3), 0.01)),
        ("current_compute", lambda: adapt(torch.ones(3), 0.5, 0.0)),
        ("current_compute", lambda: adapt(torch.ones(3), 0.5, 0.4, resolution=torch.ones(3))),
        ("resolution", lambda: adapt(torch.ones(3), 0.5, 1.0, resolution=2 * torch.ones(3))),
        (
            "resolution",
            lambda: adapt(
                torch.ones(3), 0.5, 0.3, resolution=torch.full((3,), 0.3), levels=(1, 0.25)
            ),
        ),
        ("minimum or levels", lambda: adapt(torch.ones(3), 0.5, levels=(0.5,))),
        ("minimum or levels", lambda: adapt(torch.ones(3), 0.5, minimum=0.0)),
        ("lengths", lambda: adapt(torch.ones(3), 0.5, lengths=torch.zeros(3))),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.name == name
