"""Distances, densities and overlaps are those of the dense Gaussians."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.splats import (
    KINDS,
    Splats,
    measure_coverage,
    redundancy,
    squared_distances,
    typical_radius,
    uncovered,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

H, K, D, N = 2, 5, 3, 40


def make(kind: str, *, dead: tuple[int, ...] = (3,)) -> Splats:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64)

    alive = torch.ones(H, K, dtype=torch.bool)
    alive[:, list(dead)] = False
    rank = {"low_rank": 2, "full": D}.get(kind)
    return Splats(
        kind=kind,
        mean=normal(H, K, D),
        scale=(0.3 * normal(H, K, *(() if kind == "scalar" else (D,)))).exp(),
        log_amplitude=normal(H, K),
        alive=alive,
        factor=None if rank is None else 0.7 * normal(H, K, D, rank),
    )


def sample() -> Tensor:
    return 2 * torch.randn(H, N, D, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_and_densities_are_the_dense_ones(kind):
    splats, x = make(kind), sample()
    delta = x[:, :, None] - splats.mean[:, None]
    dense = torch.einsum("hnkd,hkde,hnke->hnk", delta, splats.covariance.inverse(), delta)
    dense[..., 3] = math.inf
    assert_close(squared_distances(splats, x), dense)
    radius = 1.5
    result = measure_coverage(splats, x, radius=radius)
    assert_close(result.share, (dense.amin(-1) <= radius**2).double().mean(-1))
    assert ((result.share > 0) & (result.share < 1)).all()
    mass = splats.log_amplitude.exp() * torch.linalg.det(2 * math.pi * splats.covariance).sqrt()
    mass = mass * splats.alive
    normal = MultivariateNormal(splats.mean[:, None], splats.covariance[:, None])
    density = (mass[:, None] * normal.log_prob(x[:, :, None]).exp()).sum(-1)
    density = density / mass.sum(-1)[:, None]
    assert_close(result.log_density, density.log().mean(-1))


def test_a_wider_radius_covers_more():
    splats, x = make("low_rank"), sample()
    shares = torch.stack(
        [measure_coverage(splats, x, radius=r).share for r in (0.3, 1.0, 2.0, 4.0, 50.0)]
    )
    assert (shares.diff(dim=0) >= 0).all()
    assert (shares[0] < shares[2]).all()
    assert_close(shares[-1], torch.ones(H, dtype=torch.float64))


def test_a_head_without_splats_covers_nothing():
    splats = make("diagonal")
    splats.alive[0] = False
    result = measure_coverage(splats, sample())
    assert result.share[0] == 0
    assert result.log_density[0] == -math.inf
    assert result.share[1] > 0
    assert math.isfinite(result.log_density[1])


@pytest.mark.parametrize(
    ("width", "expected"), [(1, 1.959964), (2, 2.447747), (16, 5.127963), (64, 9.147404)]
)
def test_the_usual_radius_is_that_of_a_chi_square_quantile(width, expected):
    assert typical_radius(width) == pytest.approx(expected, rel=0.02)
    share = torch.randn(100_000, width).norm(dim=-1) <= typical_radius(width)
    assert share.double().mean() == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_overlap_is_the_integral_of_the_geometric_mean(kind):
    """Against quadrature on a grid, in two dimensions."""
    splats = make(kind)
    factor = splats.factor if splats.factor is None else splats.factor[:, :, :2]
    if kind == "full" and factor is not None:
        factor = factor[..., :2]
    wide = splats.scale if kind == "scalar" else splats.scale[..., :2]
    splats = replace(splats, mean=splats.mean[..., :2], scale=wide, factor=factor)
    axis = torch.linspace(-14, 14, 281, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    step = float(axis[1] - axis[0]) ** 2
    normal = MultivariateNormal(splats.mean[0], splats.covariance[0])
    roots = (0.5 * normal.log_prob(grid)).exp()  # [cells, K]
    expected = roots.T @ roots * step
    living = splats.alive[0].double()
    expected = expected * living * living[:, None]
    result = redundancy(splats)[0]
    assert (result - expected).abs().max() < 1e-6
    assert result[0, 1] < 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_overlap_is_symmetric_and_one_with_itself(kind):
    splats = make(kind)
    result = redundancy(splats)
    assert_bit_equal(result, result.mT.contiguous())
    assert ((result >= 0) & (result <= 1)).all()
    assert_bit_equal(result.diagonal(dim1=1, dim2=2), splats.alive.double())
    louder = replace(splats, log_amplitude=splats.log_amplitude + 3)
    assert_bit_equal(redundancy(louder), result)
    splats.mean[:, 1] = splats.mean[:, 0]
    splats.scale[:, 1] = splats.scale[:, 0]
    if splats.factor is not None:
        splats.factor[:, 1] = splats.factor[:, 0]
    assert_close(redundancy(splats)[:, 0, 1], torch.ones(H, dtype=torch.float64))
    splats.mean[:, 1] += 100
    assert redundancy(splats)[:, 0, 1].max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_splats_permutes_what_is_said_of_them(kind):
    splats, x, order = make(kind), sample(), torch.tensor([4, 2, 0, 3, 1])
    shuffled = splats.with_arrays({n: a[:, order] for n, a in splats.arrays().items()})
    assert_close(redundancy(shuffled), redundancy(splats)[:, order][:, :, order])
    assert_close(measure_coverage(shuffled, x).log_density, measure_coverage(splats, x).log_density)
    assert_bit_equal(measure_coverage(shuffled, x).share, measure_coverage(splats, x).share)


def test_gaps_are_found_where_no_splat_is_and_filled_once():
    splats = make("scalar", dead=())
    splats.mean[:] = 0
    near = 0.1 * torch.randn(H, 30, D, dtype=torch.float64)
    clusters = torch.tensor([[20.0, 0, 0], [0, 20.0, 0]], dtype=torch.float64)
    far = clusters[:, None] + 0.1 * torch.randn(2, 5, D, dtype=torch.float64)
    x = torch.cat([near, far.reshape(1, 10, D).expand(H, -1, -1)], 1)
    gaps = uncovered(splats, x, 3, generator=generator())
    assert gaps.found.tolist() == [[True, True, False]] * H
    for head in range(H):
        closest = torch.cdist(gaps.points[head, :2], clusters).argmin(-1)
        assert sorted(closest.tolist()) == [0, 1]
    assert not uncovered(splats, near, 1, generator=generator()).found.any()
    assert uncovered(splats, x, 0, generator=generator()).points.shape == (H, 0, D)


def test_drawing_gaps_is_decided_by_the_generator():
    splats, x = make("full"), 10 * sample()
    one, two = (uncovered(splats, x, 4, generator=generator(3)) for _ in range(2))
    assert_bit_equal(one.points, two.points)
    others = [uncovered(splats, x, 4, generator=generator(s)).points for s in range(4, 8)]
    assert any((one.points != other).any() for other in others)


def test_a_head_without_splats_may_draw_any_point():
    splats, x = make("diagonal"), sample().float()
    splats.alive[0] = False
    splats = replace(splats, **{n: a.float() for n, a in splats.arrays().items() if n != "alive"})
    draws = [uncovered(splats, x, 1, generator=generator(s)).points[0, 0] for s in range(30)]
    assert len({tuple(d.tolist()) for d in draws}) > 10
    pair = uncovered(splats, x, 2, generator=generator())
    assert pair.found[0].all()


def crowd_and_outlier() -> tuple[Splats, Tensor]:
    """One splat at 0, 200 points at distance 8 from it and one at 40."""
    splats = make("scalar", dead=(1, 2, 3, 4))
    splats.mean[:], splats.scale[:] = 0, 1
    crowd = torch.tensor([8.0, 0, 0], dtype=torch.float64).expand(H, 200, D)
    outlier = torch.tensor([0, 40.0, 0], dtype=torch.float64).expand(H, 1, D)
    return splats, torch.cat([crowd, outlier], 1)


def test_points_are_drawn_by_their_squared_distance_beyond_the_radius():
    splats, x = crowd_and_outlier()
    drawn = [
        uncovered(splats, x, 1, generator=generator(s), radius=3.0).points[0, 0] for s in range(300)
    ]
    share = sum(d.tolist() == [0, 40, 0] for d in drawn) / len(drawn)
    expected = (40**2 - 9) / (40**2 - 9 + 200 * (8**2 - 9))
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / len(drawn))


def test_outliers_are_no_gaps_where_support_is_asked_for():
    splats, x = crowd_and_outlier()
    for seed in range(20):
        gaps = uncovered(splats, x, 2, generator=generator(seed), support=0.01)
        assert gaps.found[0].sum() == 1
        assert gaps.points[0, gaps.found[0]].tolist() == [[8, 0, 0]]
    assert uncovered(splats, x, 2, generator=generator()).found.all()


def test_a_gap_is_placed_in_the_middle_of_its_points():
    splats = make("diagonal", dead=())
    splats.mean[:] = 0
    middle = torch.tensor([30.0, 0, 0], dtype=torch.float64)
    x = middle + torch.randn(H, 50, D, dtype=torch.float64)
    gaps = uncovered(splats, x, 1, generator=generator(), radius=9.0)
    assert_close(gaps.points[:, 0], x.mean(1))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("points", lambda s: measure_coverage(s, torch.zeros(H, 0, D))),
        ("points", lambda s: squared_distances(s, torch.zeros(H + 1, 4, D))),
        ("points", lambda s: measure_coverage(s, torch.zeros(H, 4, D + 1))),
        ("radius", lambda s: measure_coverage(s, torch.zeros(H, 4, D), radius=0.0)),
        ("number", lambda s: uncovered(s, torch.zeros(H, 4, D), -1, generator=generator())),
        ("share", lambda s: typical_radius(3, share=1.0)),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call(make("diagonal"))
    assert caught.value.name == name
