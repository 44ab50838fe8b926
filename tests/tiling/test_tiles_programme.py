"""The dynamic programme finds what trying every tiling finds."""

import random

import pytest
import torch

from adaptive_attention_tiling.tiling.tiles import TileManager, Tiling, reference

TILERS = {
    "aligned": {"min_size": 4, "max_size": 12, "resolutions": (1, 1 / 2, 1 / 4), "overhead": 0.5},
    "fine": {"min_size": 4, "max_size": 8, "granularity": 2, "resolutions": (1, 1 / 2, 1 / 3)},
    "binary": {"max_size": 12, "resolutions": (1, 1 / 2, 1 / 4), "overhead": 1.0},
    "odd": {"max_size": 5, "resolutions": (1, 1 / 3, 1 / 5), "overhead": 0.5},
    "short": {"max_size": 3, "resolutions": (1, 1 / 2), "overhead": 0.0},
    "coarse": {"max_size": 12, "resolutions": (1 / 2, 1 / 12), "overhead": 1.0},
    "exact": {"max_size": 4, "resolutions": (1,), "overhead": 2.0},
}


def draw(kind: str, tokens: int, *, generator: torch.Generator) -> torch.Tensor:
    normal = torch.randn(tokens, 3, dtype=torch.float64, generator=generator)
    if kind == "density":
        return normal[:, 0] ** 2
    calm = (torch.rand(tokens, 1, generator=generator) < 0.5).double()
    return (normal * (calm + 0.1)).cumsum(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def check(found: Tiling, best: torch.Tensor, signal: torch.Tensor) -> None:
    """The same loss and cost, and the tiles that are named do lose and cost that."""
    cost, loss = best.tolist()
    assert abs(float(found.information_loss) - loss) < 1e-12 * (1 + loss)
    assert float(found.compute_cost) == cost
    tiles = found.tiles(0)
    assert [t.start for t in tiles] + [len(signal)] == [0] + [t.stop for t in tiles]
    own = sum(
        reference.reference_loss(signal[t.start : t.stop], round(1 / t.resolution)) for t in tiles
    )
    assert abs(own - loss) < 1e-12 * (1 + loss)
    assert sum(t.segments + found.overhead for t in tiles) == cost


@pytest.mark.parametrize("kind", ["states", "density"])
@pytest.mark.parametrize("name", TILERS)
def test_equals_brute_force_at_every_length_and_price(name, kind, generator):
    for tokens in range(1, 10 if name in ("binary", "odd") else 13):
        tiler = TileManager(**{"min_size": 1, "super_block": 12} | TILERS[name])
        signal = draw(kind, tokens, generator=generator)
        tilings = reference.every_tiling(signal, tiler)
        for price in (0.003, 0.1, 0.7, 30.0):
            best = reference.best_at_price(tilings, price)
            found = tiler.tile_at_price(signal, price, kind=kind)
            check(found, best, signal)


@pytest.mark.parametrize("kind", ["states", "density"])
@pytest.mark.parametrize("name", TILERS)
def test_within_a_budget_it_is_the_corner_of_the_hull(name, kind, generator):
    tiler = TileManager(**{"min_size": 1, "super_block": 8} | TILERS[name])
    draws = random.Random(3)
    for tokens in (5, 8):
        signal = draw(kind, tokens, generator=generator)
        tilings = reference.every_tiling(signal, tiler)
        lowest = float(tilings[:, 0].min()) / tiler.exact_cost(tokens)
        for budget in (draws.uniform(max(lowest, tiler.lowest_budget), 1) for _ in range(12)):
            best = reference.best_within(tilings, budget * tiler.exact_cost(tokens))
            found = tiler.optimize_tiling(signal, budget, kind=kind)
            check(found, best, signal)
