"""The dynamic programme: the tiling of least loss + price * cost, for many super-blocks at once.

    V_0 = 0,   V_b = min over a < b and R of V_a + loss(a, b, R) + price * rows(a, b, R)

The specification's pseudo-code (4.3.1) starts every V at zero, so that no split is ever taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from .offers import Offers


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


def solve(loss: Float[Tensor, "R K n"], price: Float[Tensor, " n"], offered: Offers) -> Solution:
    """The best tilings at given prices, tile by tile."""
    levels = torch.arange(len(loss))[:, None].expand(-1, loss.shape[1])
    best, choice = _best_resolution(loss, price[None], offered.rows.to(loss.dtype), levels)
    value = loss.new_zeros(offered.positions + 1, loss.shape[-1])
    pointer = torch.zeros_like(value, dtype=torch.long)
    for stop, (pairs, starts) in enumerate(offered.ending, start=1):
        if pairs.start == pairs.stop:
            value[stop] = torch.inf
            continue
        value[stop], pair = (value[starts] + best[pairs]).min(0)
        pointer[stop] = pair + pairs.start
    return _traced(loss, pointer, choice, offered)


def least_loss_within(
    loss: Float[Tensor, "R K n"], most: float, offered: Offers
) -> Float[Tensor, " n"]:
    """For each super-block, the price at which its best tiling costs at most `most` and loses
    least.

    Points (cost, loss) of optimal tilings lie on the lower convex hull of all tilings. Between
    one that costs too much and one that does not, the price of the line through both is tried:
    either nothing lies below the line, and the search ends, or the new point replaces one of
    them. Costs between the two are left out one by one, so that it ends; prices below rounding
    count as zero. Each super-block goes its own way: others do not touch its result.
    """
    dear, cheap = _bracket(loss, most, offered)
    while True:
        gap = dear[1] - cheap[1]
        price = (cheap[2] - dear[2]) / gap.clamp_min(torch.finfo(loss.dtype).tiny)
        price = price.clamp(dear[0], cheap[0])
        point = _points(loss, price[None], offered)[:, 0]
        between = (point[1] < dear[1]) & (point[1] > cheap[1])
        if not between.any():
            return cheap[0]
        within = point[1] <= most
        dear = torch.where(between & ~within, point, dear)
        cheap = torch.where(between & within, point, cheap)


def _bracket(
    loss: Float[Tensor, "R K n"], most: float, offered: Offers
) -> tuple[Float[Tensor, "3 n"], Float[Tensor, "3 n"]]:
    """(price, cost, loss) of a tiling above the budget and of one within, for each super-block.

    Where even the lowest price is within, both are that one.
    """
    whole = loss[-1].amax(0)
    unit = whole / offered.tokens + torch.finfo(loss.dtype).tiny * 1e3
    powers = torch.tensor([torch.finfo(loss.dtype).eps, 0.03, 0.3, 1.0, 4.0, 64.0])
    points = _points(loss, powers.to(unit)[:, None] * unit, offered)
    last = points[:, -1]
    while bool((last[1] > most).any()):
        last = _points(loss, last[:1] * 64, offered)[:, 0]
        points = torch.cat([points, last[:, None]], 1)
    within = points[1] <= most
    first = within.long().argmax(0)
    return _column(points, (first - 1).clamp_min(0)), _column(points, first)


def _column(points: Float[Tensor, "3 J n"], index: Int[Tensor, " n"]) -> Float[Tensor, "3 n"]:
    return points.gather(1, index.expand(3, 1, -1))[:, 0]


def _points(
    loss: Float[Tensor, "R K n"], price: Float[Tensor, "J n"], offered: Offers
) -> Float[Tensor, "3 J n"]:
    """(price, cost, loss) of the best tiling at each of J prices."""
    rows = offered.rows.to(loss.dtype)
    best, cost = _best_resolution(loss, price, rows, rows)
    n = price.numel()
    value, paid = loss.new_zeros(2, offered.positions + 1, n)
    for stop, (pairs, starts) in enumerate(offered.ending, start=1):
        if pairs.start == pairs.stop:
            value[stop] = torch.inf
            continue
        value[stop], pair = (value[starts] + best[pairs]).min(0)
        paid[stop] = (paid[starts] + cost[pairs]).gather(0, pair[None])[0]
    value, paid = value[-1].view_as(price), paid[-1].view_as(price)
    return torch.stack([price, paid, value - price * paid])


def _best_resolution(
    loss: Float[Tensor, "R K n"],
    price: Float[Tensor, "J n"],
    rows: Float[Tensor, "R K"],
    marks: Shaped[Tensor, "R K"],
) -> tuple[Float[Tensor, "K m"], Shaped[Tensor, "K m"]]:
    """Each span's value at the resolution that suits the price, and its mark; m = J n."""
    rows, marks = rows[:, :, None, None], marks[:, :, None, None]
    best = loss[0][:, None] + price * rows[0]
    mark = marks[0].expand_as(best)
    for level in range(1, len(loss)):
        other = loss[level][:, None] + price * rows[level]
        mark = torch.where(other < best, marks[level], mark)
        best = torch.minimum(best, other)
    return best.flatten(1), mark.flatten(1)


def _traced(
    loss: Float[Tensor, "R K n"],
    pointer: Int[Tensor, "P n"],
    choice: Int[Tensor, "K n"],
    offered: Offers,
) -> Solution:
    """Follow the pointers from the end. Whoever has arrived writes to a column that is cut off."""
    n, positions = loss.shape[-1], offered.positions
    here = torch.full((n,), positions)
    row = torch.arange(n)
    length, span = torch.zeros(2, n, positions + 1, dtype=torch.long)
    total, cost = torch.zeros(2, n, dtype=torch.float64)
    spans = torch.tensor(offered.spans)
    while bool(here.any()):
        pair = pointer[here, row]
        level = choice[pair, row]
        on_way = here > 0
        here = torch.where(on_way, offered.start[pair], 0)
        column = torch.where(on_way, here, positions)
        length[row, column] = offered.length[pair]
        span[row, column] = spans[level]
        total += torch.where(on_way, loss[level, pair, row].double(), 0)
        cost += torch.where(on_way, offered.rows[level, pair], 0)
    return Solution(length[:, :-1], span[:, :-1], total, cost)
