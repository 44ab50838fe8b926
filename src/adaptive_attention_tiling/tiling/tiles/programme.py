"""The best tilings at a price, and the price at which they keep to a budget."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .sweep import AbstractSweep


@dataclass(frozen=True)
class Solution:
    """The best tiles of n super-blocks: entries at p tell of the tile that starts at position p.

    Attributes:
        length: tokens [n, P]; 0 where no tile starts.
        span: segment length 1/R [n, P].
        loss, cost: totals [n], in float64.
    """

    length: Int[Tensor, "n P"]
    span: Int[Tensor, "n P"]
    loss: Float[Tensor, " n"]
    cost: Float[Tensor, " n"]


def solve(sweep: AbstractSweep, price: Float[Tensor, " n"]) -> Solution:
    """The best tilings at given prices, followed from the end to the start.

    Whoever has arrived writes to a column that is cut off.
    """
    if sweep.programme is not None:
        length, span, loss, cost = sweep.programme.solved(price, sweep.losses)
        return Solution(length, span, loss, cost / sweep.offered.units)
    best, offered = sweep.best(price[None])[:, 0], sweep.offered
    starts, levels = sweep.last_tiles(best, price)
    n, positions = len(price), offered.positions
    stop, row = torch.full((n,), positions), torch.arange(n)
    length, span = torch.zeros(2, n, positions + 1, dtype=torch.long)
    loss = torch.zeros(n, dtype=torch.float64)
    spans = torch.tensor(offered.spans)
    while bool(stop.any()):
        start, level = starts[stop, row], levels[stop, row]
        column = torch.where(stop > 0, start, positions)
        length[row, column] = offered.borders[stop] - offered.borders[start]
        span[row, column] = spans[level]
        loss += torch.where(stop > 0, sweep.lost(level, start, stop), 0)
        stop = start
    cost = sweep.value_and_cost(best[-1])[1] / offered.units
    return Solution(length[:, :-1], span[:, :-1], loss, cost)


def least_loss_within(sweep: AbstractSweep, most: float) -> Float[Tensor, " n"]:
    """For each super-block, the price in quanta at which its best tiling costs at most `most` and
    loses least.

    Points (cost, loss) of optimal tilings lie on the lower convex hull of all tilings. Between
    one that costs too much and one that does not, the price of the line through both is tried:
    either nothing lies below the line, and the search ends, or the new point replaces one of
    them. Costs between the two are left out one by one, so that it ends. Each super-block goes
    its own way: others do not touch its result.
    """
    units = int(most * sweep.offered.units)
    if sweep.programme is not None:
        return sweep.programme.price_within(_tried(sweep), units, len(sweep.scale))
    dear, cheap = _bracket(sweep, units)
    while True:
        price = ((cheap[2] - dear[2]) / (dear[1] - cheap[1]).clamp_min(1)).floor()
        price = torch.maximum(torch.minimum(price, cheap[0]), dear[0])
        point = _points(sweep, price[None])[:, 0]
        between = (point[1] < dear[1]) & (point[1] > cheap[1])
        if not between.any():
            return cheap[0]
        within = point[1] <= units
        dear = torch.where(between & ~within, point, dear)
        cheap = torch.where(between & within, point, cheap)


def _bracket(sweep: AbstractSweep, units: int) -> tuple[Float[Tensor, "3 n"], Float[Tensor, "3 n"]]:
    """(price, cost, loss) of a tiling above the budget and of one within, for each super-block.

    Where even price 0 is within, both are its point.
    """
    points = _points(sweep, _tried(sweep)[:, None].expand(-1, len(sweep.scale)))
    first = (points[1] <= units).long().argmax(0)
    return _column(points, (first - 1).clamp_min(0)), _column(points, first)


def _tried(sweep: AbstractSweep) -> Float[Tensor, " J"]:
    """The first prices, in quanta: free, around the typical one, and the highest."""
    typical = sweep.highest / (2 * sweep.offered.tokens * sweep.offered.units)
    tried = [0, *(int(typical * power) for power in (0.03, 0.3, 1, 4)), sweep.highest]
    return torch.tensor(tried).double()


def _column(points: Float[Tensor, "3 J n"], index: Int[Tensor, " n"]) -> Float[Tensor, "3 n"]:
    return points.gather(1, index.expand(3, 1, -1))[:, 0]


def _points(sweep: AbstractSweep, price: Float[Tensor, "J n"]) -> Float[Tensor, "3 J n"]:
    """(price, cost, loss) of the best tiling at each of J prices, in quanta and units."""
    value, cost = sweep.value_and_cost(sweep.best(price)[-1])
    return torch.stack([price, cost, value - price * cost])
