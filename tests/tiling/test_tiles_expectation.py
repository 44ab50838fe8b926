"""The Gibbs distribution over tilings against all tilings one by one."""

import itertools

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_close
from adaptive_attention_tiling.tiling.tiles import (
    TileManager,
    expected_tiling,
    tile_probabilities,
)

PRICE, TAU = 0.4, 0.7


def tiler(**options) -> TileManager:
    return TileManager(**{"min_size": 2, "max_size": 6, "super_block": 6} | options)


def draw(*shape: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(4)
    return torch.randn(*shape, dtype=torch.float64, generator=source)


def every_path(costs: torch.Tensor, offered) -> list[tuple[tuple[int, int], ...]]:
    """All sequences of (resolution, span) that go from the start to the end."""
    levels, spans = costs.shape

    def further(position):
        if position == offered.positions:
            yield ()
        for level, pair in itertools.product(range(levels), range(spans)):
            if int(offered.start[pair]) == position:
                for rest in further(int(offered.stop[pair])):
                    yield ((level, pair), *rest)

    return list(further(0))


@pytest.mark.parametrize("granularity", [1, 2])
def test_probabilities_are_those_of_enumeration_and_the_gradient(granularity):
    offered = tiler(granularity=granularity, resolutions=(1, 1 / 2, 1 / 4)).offers(6)
    costs = draw(3, len(offered.start)).requires_grad_()
    paths = every_path(costs, offered)
    weights = torch.stack([-sum(costs[step] for step in path) / TAU for path in paths])
    energy, probable = tile_probabilities(costs[..., None], offered, TAU)
    assert_close(energy[0], -TAU * weights.logsumexp(0))
    chance = weights.softmax(0)
    expected = torch.zeros_like(costs)
    for path, share in zip(paths, chance.detach(), strict=True):
        for step in path:
            expected[step] += share
    assert len(paths) > 20
    assert_close(probable[..., 0], expected)
    (gradient,) = torch.autograd.grad(energy.sum(), costs)
    assert_close(gradient, expected)


@pytest.mark.parametrize("kind", ["states", "density"])
def test_gradients_reach_signal_and_price(kind):
    cut = tiler(resolutions=(1, 1 / 2, 1 / 4))
    states = draw(2, 9, 2)
    signal = states if kind == "states" else states[..., 0].square()

    def figures(signal, price):
        result = expected_tiling(signal, price, cut, temperature=TAU, kind=kind)
        return result.free_energy, result.information_loss, result.compute_cost, result.at_least

    signal = signal.clone().requires_grad_()
    price = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(figures, (signal, price))


def test_the_price_gradient_of_free_energy_is_the_expected_cost():
    price = torch.tensor(PRICE, dtype=torch.float64, requires_grad=True)
    result = expected_tiling(draw(1, 16, 3), price, tiler(), temperature=TAU)
    (gradient,) = torch.autograd.grad(result.free_energy.sum(), price)
    assert_close(gradient, result.compute_cost[0])


@pytest.mark.parametrize("kind", ["states", "density"])
def test_cold_it_is_the_optimal_tiling(kind):
    states = draw(3, 41, 4).cumsum(1)
    signal = states if kind == "states" else states[..., 0].square()
    cut = TileManager(4, 16, super_block=16, resolutions=(1, 1 / 2, 1 / 4))
    price = 5.0 if kind == "states" else 4.0
    best = cut.tile_at_price(signal, price, kind=kind)
    cold = expected_tiling(signal, price, cut, temperature=1e-4, kind=kind)
    assert_close(cold.information_loss, best.information_loss)
    assert_close(cold.compute_cost, best.compute_cost)
    assert_close(cold.token_resolution, best.token_resolution().double())
    assert_close(cold.free_energy, best.information_loss + price * best.compute_cost)
    assert 0.3 < float(best.mean_resolution.mean()) < 0.95


def test_marginals_are_a_distribution():
    cut = TileManager(4, 16, super_block=16)
    result = expected_tiling(draw(2, 22, 3), PRICE, cut, temperature=5.0)
    at_least = result.at_least
    assert at_least.shape == (2, 22, 5)
    assert bool((at_least.diff(dim=-1) >= 0).all() & (at_least >= 0).all())
    assert_close(at_least[..., -1], torch.ones(2, 22, dtype=torch.float64))


def test_the_future_does_not_reach_a_finished_super_block():
    cut, states = TileManager(4, 16, super_block=16), draw(1, 40, 3).requires_grad_()
    result = expected_tiling(states, PRICE, cut, temperature=TAU)
    (gradient,) = torch.autograd.grad(result.at_least[:, :16, 0].sum(), states)
    assert bool((gradient[:, :16] != 0).any())
    assert not bool((gradient[:, 16:] != 0).any())


@pytest.mark.parametrize("temperature", [0.0, -1.0, torch.inf])
def test_temperatures_that_are_none_are_refused(temperature):
    with pytest.raises(ArgumentError, match="temperature"):
        expected_tiling(draw(1, 8, 2), 1.0, tiler(), temperature=temperature)
