"""Tiles, their moments and the plans made of them."""

import math
from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.ops.tiled_attention.risk import Risk, error_cost
from adaptive_attention_tiling.ops.tiled_attention.tiles import (
    bisect_order,
    order_block,
    summarise,
    summarise_groups,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close


def normal(*shape, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def variance_within(keys, order, leaf):
    """Mean squared distance of a key from the mean of its run of `leaf`."""
    rows = keys.gather(1, order[..., None].expand_as(keys)).unflatten(1, (-1, leaf))
    return (rows - rows.mean(2, keepdim=True)).square().sum(-1).mean().item()


def fruit_salad(n=2, size=64, centres=8):
    """Keys of tight clusters, dealt out in turn; a cluster has as many keys as a cell."""
    middle = 3 * normal(n, centres, 6, seed=1)
    return middle[:, torch.arange(size) % centres] + 0.05 * normal(n, size, 6, seed=2)


@pytest.mark.parametrize("leaf", [1, 4, 16, 64])
def test_bisection_orders_every_key_once(leaf):
    order = bisect_order(normal(3, 64, 5), leaf)
    assert_bit_equal(order.sort(-1).values, torch.arange(64).expand(3, 64))


def test_bisection_on_a_line_sorts_it_into_cells():
    keys = normal(1, 32, 1)
    cells = bisect_order(keys, 4).view(8, 4)
    found = {frozenset(cell.tolist()) for cell in cells}
    assert found == {frozenset(cell.tolist()) for cell in keys[0, :, 0].argsort().view(8, 4)}


def test_cells_are_narrower_than_runs():
    keys = fruit_salad()
    runs = torch.arange(64).expand(2, 64)
    assert variance_within(keys, bisect_order(keys, 8), 8) < 0.3 * variance_within(keys, runs, 8)
    keys = normal(2, 64, 3)
    assert variance_within(keys, bisect_order(keys, 4), 4) < 0.6 * variance_within(keys, runs, 4)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_bisection_does_not_depend_on_the_unit(scale):
    keys = normal(2, 64, 5).float()
    assert_bit_equal(bisect_order(scale * keys, 8), bisect_order(keys, 8))


def test_bisection_of_equal_keys_is_still_an_order():
    order = bisect_order(torch.ones(1, 16, 3), 4)
    assert_bit_equal(order.sort(-1).values, torch.arange(16)[None])


def test_tiles_are_cut_where_queries_can_tell_keys_apart(tiny):
    """Only coordinate 1 is ever asked for, though coordinate 0 varies most."""
    key = normal(1, 16, 2) * torch.tensor([100.0, 1.0])
    valid = torch.ones(1, 16, dtype=torch.bool)
    order = order_block(key, torch.tensor([[0.0, 1.0]], dtype=torch.float64), valid, tiny)
    found = {frozenset(cell.tolist()) for cell in order.view(4, 4)}
    assert found == {frozenset(cell.tolist()) for cell in key[0, :, 1].argsort().view(4, 4)}


def test_contiguous_tiles_are_runs(tiny):
    valid = torch.ones(2, 16, dtype=torch.bool)
    scale = torch.ones(2, 3, dtype=torch.float64)
    order = order_block(normal(2, 16, 3), scale, valid, replace(tiny, order="contiguous"))
    assert_bit_equal(order.contiguous(), torch.arange(16).repeat(2, 1))


def test_hidden_tokens_do_not_move_others(tiny):
    key, scale = normal(1, 16, 3), torch.ones(1, 3, dtype=torch.float64)
    valid = torch.arange(16)[None] >= 4
    loud = key.masked_fill(~valid[..., None], 1e9)
    assert_bit_equal(order_block(loud, scale, valid, tiny), order_block(key, scale, valid, tiny))


def test_golden_moments():
    # Keys (0, 0) and (2, 4) of values 1 and 5, and a hidden third.
    keys = torch.tensor([[[[0.0, 0.0], [2.0, 4.0], [100.0, 100.0]]]])
    values = torch.tensor([[[[1.0], [5.0], [100.0]]]])
    found = summarise(keys, values, torch.tensor([[[True, True, False]]]), bounds=True)
    assert found.count.tolist() == [[2]]
    assert found.key.tolist() == [[[1, 2]]]
    assert found.value.tolist() == [[[3]]]
    assert found.variance.tolist() == [[[1, 4]]]
    # Both lie sqrt(5) from the mean, on one line: all variance is in one direction.
    assert found.radius.item() == pytest.approx(math.sqrt(5))
    assert found.spread.item() == pytest.approx(math.sqrt(5))


def test_an_empty_set_weighs_nothing():
    hidden = torch.zeros(1, 1, 4, dtype=torch.bool)
    found = summarise(normal(1, 1, 4, 3), normal(1, 1, 4, 2), hidden, bounds=True)
    assert found.log_count.item() == -math.inf
    for name in ("count", "key", "value", "variance", "radius", "spread"):
        assert not getattr(found, name).any()


def test_moments_of_a_group_are_those_of_its_tokens():
    keys, values = normal(2, 8, 4, 3), normal(2, 8, 4, 5, seed=1)
    valid = normal(2, 8, 4, seed=2) > -0.5
    valid[0, 0] = valid[1, 4:6] = False
    groups = summarise_groups(summarise(keys, values, valid, bounds=True), 2)
    direct = summarise(
        *(x.reshape(2, 4, 8, *x.shape[3:]) for x in (keys, values, valid)), bounds=True
    )
    for name in ("count", "key", "value", "variance"):
        assert_close(getattr(groups, name), getattr(direct, name), what=name)
    # Bounds follow from the tiles' bounds: never below those of the tokens, and not far above.
    for name in ("radius", "spread"):
        bound, least = getattr(groups, name), getattr(direct, name)
        assert bool((bound >= least * (1 - 1e-12)).all())
        assert bool((bound <= 2.5 * least).all())


@pytest.mark.parametrize("grouped", [False, True], ids=["tile", "group"])
def test_radius_and_spread_bound_every_direction(grouped):
    keys = normal(2, 8, 4, 3)
    valid = torch.ones(2, 8, 4, dtype=torch.bool)
    found = summarise(keys, keys, valid, bounds=True)
    if grouped:
        found, keys = summarise_groups(found, 2), keys.reshape(2, 4, 8, 3)
    axis = torch.nn.functional.normalize(normal(100, 3, seed=3), dim=-1)
    away = (keys - keys.mean(2, keepdim=True)) @ axis.T
    assert bool((away.abs().amax((2, 3)) <= found.radius + 1e-12).all())
    assert bool((away.square().mean(2).amax(-1).sqrt() <= found.spread + 1e-12).all())


def test_golden_costs():
    log_mass = torch.tensor([[[math.log(0.5)]]], dtype=torch.float64)
    query = torch.full((1, 1, 1), 3.0, dtype=torch.float64)
    # x = 9 * 7 (log(2) / 21)^2, so a = log 2, x = a^2 / 7 and g = (1 - a) / 7.
    a = math.log(2)
    risk = Risk(variance=torch.full((1, 1, 1), 7 * (a / 21) ** 2, dtype=torch.float64))
    estimated = error_cost(log_mass, query, risk)
    assert estimated.item() == pytest.approx(0.25 * (a**2 / 7 + ((1 - a) / 7) ** 2), rel=1e-9)
    # a = s = log 2: 2 p ((exp(a) - 1 - a) + a) = 2 * 0.5 * 1
    at = torch.tensor([[math.log(2) / 3]], dtype=torch.float64)
    certified = error_cost(log_mass, query, Risk(radius=at, spread=at))
    assert certified.item() == pytest.approx(1.0, rel=1e-6)
    assert error_cost(log_mass, query, Risk()).item() == pytest.approx(0.25)


@pytest.mark.parametrize("width", [1, 4])
def test_the_estimated_tail_bounds_the_missing_mass_of_a_tile_of_eight(width):
    """p (mean exp(x_j) - 1) <= p g by Samuelson's and Bennett's inequalities, along one axis.

    It is nearly attained where one token lies far out.
    """
    keys = normal(1, 200, 8, width)
    keys[:, 100:, 3] += 8.0
    found = summarise(keys, keys, torch.ones(1, 200, 8, dtype=torch.bool), bounds=False)
    query = torch.zeros(1, 3, width, dtype=torch.float64)
    query[0, :, 0] = torch.tensor([0.1, 1.0, 2.0])  # along one axis the diagonal is all of x
    x = torch.einsum("nqd,nmld->nqml", query, keys - keys.mean(2, keepdim=True))
    log_mass = torch.full((1, 3, 200), math.log(1e-3), dtype=torch.float64)
    cost = error_cost(log_mass, query, Risk(variance=found.variance))
    missing = 1e-3 * torch.expm1(x).mean(-1)
    assert bool((missing.square() <= cost * (1 + 1e-9)).all())
    assert (missing.square() / cost)[:, 2, 100:].median().item() > 0.1


def test_the_certified_cost_bounds_the_error_of_one_set():
    """2 p mean |exp(x) - 1| for logits x around their mean, from tiny to huge."""
    for size in (1e-8, 1e-3, 0.05, 0.1, 1.0, 10.0, 100.0):
        keys = normal(1, 200, 8, 4)
        found = summarise(keys, keys, torch.ones(1, 200, 8, dtype=torch.bool), bounds=True)
        query = size * normal(1, 5, 4, seed=1)
        x = torch.einsum("nqd,nmld->nqml", query, keys - keys.mean(2, keepdim=True))
        log_mass = torch.full((1, 5, 200), math.log(0.3), dtype=torch.float64)
        cost = error_cost(log_mass, query, Risk(radius=found.radius, spread=found.spread))
        assert bool((2 * 0.3 * torch.expm1(x).abs().mean(-1) <= cost * (1 + 1e-12)).all())


def test_the_certified_cost_has_no_step():
    """Bennett's factor is a series below a = 0.1 and a closed form above."""
    a = torch.tensor([[0.1 - 1e-9, 0.1 + 1e-9]], dtype=torch.float64)
    cost = error_cost(torch.zeros(1, 1, 2).double(), a.new_ones(1, 1, 1), Risk(radius=a, spread=a))
    below, above = cost.flatten().tolist()
    assert 0 < above - below < 1e-8
