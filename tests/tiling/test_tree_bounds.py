"""Bounds of what moments miss: rigorous on all tiles, attained by stated ones, safe in numbers."""

import math
from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.testing import assert_close, assert_monotone
from adaptive_attention_tiling.tiling.tree import (
    LogitSpread,
    bennett,
    growth_bound,
    guarded,
    hoeffding,
    log_misread,
    logit_spread,
    moments_of_tokens,
)

TILES, L, D = 50, 8, 4
KINDS = ("gaussian", "heavy", "outlier_up", "outlier_down", "halves", "equal")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def tiles(kind: str, scale: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Keys [TILES, L, D] whose logits with queries of length about 2 have this scale."""
    keys = torch.randn(TILES, L, D, dtype=torch.float64)
    if kind == "heavy":
        keys = keys / torch.rand(TILES, L, 1, dtype=torch.float64)
    elif kind.startswith("outlier"):
        keys = keys * 1e-3
        keys[:, 0] += (1 if kind == "outlier_up" else -1) * 3
    elif kind == "halves":
        keys = torch.ones_like(keys)
        keys[:, : L // 2] = -1
    elif kind == "equal":
        keys = keys[:, :1].expand_as(keys)
    return (keys * scale).to(dtype)


def cases(kind: str, scale: float, rank: int | None) -> tuple[Tensor, LogitSpread, Tensor]:
    """x_j of each tile and query, their spread, and those of which the moments hold the axes."""
    keys = tiles(kind, scale)
    query = torch.randn(TILES, D, dtype=torch.float64).abs()
    moments = moments_of_tokens(keys, keys, torch.ones(TILES, L, dtype=torch.bool))
    away = keys - keys.mean(1, keepdim=True)
    x = held = (away @ query[..., None])[..., 0]
    if rank is not None:
        moments = moments.low_rank(rank)
        held = (away @ (moments.axes.mT @ (moments.axes @ query[..., None])))[..., 0]
    return x, logit_spread(moments, query), held


def log_mean_exp(x: Tensor) -> Tensor:
    return x.logsumexp(-1) - math.log(x.shape[-1])


def spread(variance: Tensor, largest: Tensor, count: float = 1e9) -> LogitSpread:
    return LogitSpread(torch.full_like(variance, count), variance, variance, largest)


@pytest.mark.parametrize("rank", [None, 0, 2])
@pytest.mark.parametrize("scale", [1e-6, 1e-2, 0.3, 2.0, 30.0])
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold_and_the_estimate_lies_between(kind, scale, rank):
    x, of, held = cases(kind, scale, rank)
    slack = 1e-12 * max(1.0, x.abs().max().item())
    assert (x.abs().amax(-1) <= of.largest + slack).all()
    assert (x.square().mean(-1) <= of.variance * (1 + 1e-12) + slack).all()
    assert (held.square().mean(-1) >= of.held * (1 - 1e-12) - slack).all()
    true, bound, estimate = log_mean_exp(x), growth_bound(of), guarded(of)
    assert (true >= -slack).all()
    assert (true <= bound + slack).all()
    assert (estimate.growth >= 0).all()
    assert (estimate.growth <= bound).all()
    assert ((estimate.tilt >= 0) & (estimate.tilt <= 1)).all()


@pytest.mark.parametrize("rank", [None, 0, 2])
@pytest.mark.parametrize("scale", [1e-6, 1e-2, 0.3, 2.0, 30.0])
@pytest.mark.parametrize("kind", KINDS)
def test_no_reading_is_further_off_than_bounded(kind, scale, rank):
    x, of, held = cases(kind, scale, rank)
    estimate = guarded(of)
    tilted = 1 + estimate.tilt[:, None] * held
    none = torch.zeros_like(of.held)
    for order, log_weights, weights in (
        (1, none, torch.ones_like(x)),
        (2, estimate.growth, tilted),
    ):
        # All in units of the bound, which may be too large for a number.
        shift = log_misread(of, order).clamp_min(-50)[:, None]
        read = log_weights[:, None] - shift
        missed = ((x - shift).exp() - read.exp() * weights).abs().mean(-1)
        assert (missed <= 1 + 1e-9 + 1e-15 * (read.exp() + (-shift).exp())[:, 0]).all()


def test_bennett_is_attained_by_a_single_outlier():
    """One of 8 logits 2, the others -2/7: log((e^2 + 7 e^(-2/7)) / 8) = 0.4437."""
    x = torch.full((8,), -2 / 7, dtype=torch.float64)
    x[0] = 2
    variance, largest = x.square().mean(), x.max()
    assert_close(7**0.5 * variance.sqrt(), largest, row="special_case", what="Samuelson")
    exact = log_mean_exp(x)
    assert_close(bennett(variance, largest), exact, row="special_case")
    assert exact.item() == pytest.approx(math.log((math.e**2 + 7 * math.e ** (-2 / 7)) / 8))
    worse = (variance / largest**2 * (largest.exp() - 1 - largest)).log1p()
    assert worse > exact + 0.02


@pytest.mark.parametrize("half", [1e-3, 0.5, 20.0])
def test_two_equal_halves(half):
    """log cosh: what Bennett says, and nearly what Hoeffding does where they are close."""
    at = torch.tensor(half, dtype=torch.float64)
    exact = log_mean_exp(torch.stack([at, -at]))
    assert_close(bennett(at**2, at), exact, row="special_case")
    assert hoeffding(at**2, at, torch.tensor(2.0)) >= exact
    if half < 1e-2:
        assert hoeffding(at**2, at, torch.tensor(2.0)) <= exact * (1 + half)


def test_hoeffding_is_the_tighter_where_little_is_known_of_the_variance():
    a = torch.tensor(1.0, dtype=torch.float64)
    halves = LogitSpread(torch.tensor(2.0).double(), a**2 / 2, a**2 / 2, a)
    assert hoeffding(halves.variance, a, halves.count) < bennett(halves.variance, a)
    assert growth_bound(halves) == hoeffding(halves.variance, a, halves.count)


def test_first_order_misreading_is_nearly_attained_by_two_close_halves():
    """mean |e^x - 1| = sinh s against (cosh s - 1) + s."""
    s = torch.tensor(1e-3, dtype=torch.float64)
    bound = log_misread(spread(s**2, s), 1).exp()
    assert s.sinh() <= bound <= s.sinh() * 1.001


def test_second_order_misreading_is_nearly_attained_by_a_small_outlier_among_many():
    """mean |x^2 - s^2| / 2 is nearly s^2 where one of many logits has all of the variance."""
    n, a = 10_000, 1e-2
    x = torch.full((n,), -a / (n - 1), dtype=torch.float64)
    x[0] = a
    of = spread(x.square().mean(), x.max(), n)
    estimate = guarded(of)
    missed = (x.exp() - estimate.growth.exp() * (1 + estimate.tilt * x)).abs().mean()
    assert missed <= log_misread(of, 2).exp() <= missed * 1.01


def test_equal_keys_attain_zero():
    _, of, _ = cases("equal", 1.0, None)
    assert growth_bound(of).max() < 1e-30
    one = logit_spread(
        moments_of_tokens(*[torch.randn(1, D)] * 2, torch.ones(1).bool()), torch.randn(D)
    )
    assert growth_bound(one) == 0
    assert log_misread(one, 1) == log_misread(one, 2) == -torch.inf


def test_bounds_grow_with_radius_and_variance():
    a = torch.logspace(-12, 4, 200, dtype=torch.float64)
    for share in (1e-6, 0.1, 1.0):
        for order in (1, 2):
            along = log_misread(spread(share * a**2, a), order)
            assert_monotone(along, slack=1e-12, what="both")
        assert_monotone(growth_bound(spread(share * a**2, a)), slack=0.0)
    wide = a[a >= 0.1]
    fixed = torch.full_like(wide, 1e-2)
    assert_monotone(growth_bound(spread(fixed, wide)), slack=1e-15, what="radius")
    for largest in (1e-3, 1.0, 50.0):
        top = torch.tensor(largest, dtype=torch.float64)
        variance = torch.linspace(0, 1, 200, dtype=torch.float64) * top**2
        assert_monotone(growth_bound(spread(variance, top.expand(200))), slack=1e-15)


@pytest.mark.parametrize("share", [1e-6, 0.1, 1.0])
def test_safe_from_tiny_to_huge_logits(share):
    """Against 60 digits: relative error of log G below 1e-12, from a = 1e-12 to 1e4."""
    for exponent in range(-12, 5):
        a = torch.tensor(10.0**exponent, dtype=torch.float64)
        got = bennett(share * a**2, a).item()
        with localcontext() as context:
            context.prec = 60
            t, top = Decimal(share), Decimal(10.0**exponent)
            exact = (((-t * top).exp() + t * top.exp()) / (1 + t)).ln()
        assert got == pytest.approx(float(exact), rel=1e-12)
        assert log_misread(spread(share * a**2, a), 2).isfinite()
    single = torch.logspace(-12, 4, 50)
    for order in (1, 2):
        assert log_misread(spread(share * single**2, single), order).isfinite().all()


@pytest.mark.parametrize("share", [1e-3, 1.0])
def test_gradients_of_the_guard_are_its_slopes(share):
    """Central differences, from where the Gaussian is read to where it is cut."""
    a = torch.tensor([1e-3, 0.3, 0.499, 0.501, 2.0, 9.0], dtype=torch.float64, requires_grad=True)

    def read(x: Tensor) -> Tensor:
        estimate = guarded(spread(share * x**2, x))
        return torch.stack([estimate.growth, estimate.tilt])

    assert torch.autograd.gradcheck(read, a)
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(read(zero).sum(), zero)
    assert slope.item() == 0
