"""Distances between persistence diagrams, exact, by matchings.

Each class is matched to one of the other diagram, or to the diagonal, the classes of length 0.
Source: Edelsbrunner and Harer, Computational Topology (2010), section VIII.2.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ....errors import ArgumentError
from .diagram import Diagram

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def bottleneck_distance(first: Diagram, second: Diagram) -> Float[Tensor, ""]:
    """min over matchings of the largest max(|b - b'|, |d - d'|); to the diagonal, half a length.

    Infinite if the diagrams have different numbers of classes that never end. Differentiable where
    one pair alone is the farthest. The stability theorem bounds it by the largest change of a
    weight (Cohen-Steiner, Edelsbrunner and Harer, 2007).
    """
    _check_kinds(first, second)
    endless = _endless_costs(first, second)
    if endless is None:
        return first.pairs.new_tensor(torch.inf)
    costs, first_half, second_half = _costs(first, second)
    candidates = torch.cat([costs.flatten(), first_half, second_half, costs.new_zeros(1)])
    values = candidates.detach().double().cpu().numpy()
    shape, rows = tuple(costs.shape), len(first_half)
    table = values[: costs.numel()].reshape(shape)
    halves = values[costs.numel() : -1]
    levels = np.unique(values)
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        near, far = table <= levels[middle], halves > levels[middle]
        if _matches(near, far[:rows], far[rows:]):
            high = middle
        else:
            low = middle + 1
    reached = candidates[int(np.flatnonzero(values == levels[low])[0])]
    return torch.cat([reached[None], endless]).max()


def wasserstein_distance(first: Diagram, second: Diagram, order: float = 1.0) -> Float[Tensor, ""]:
    """(min over matchings of sum max(|b - b'|, |d - d'|)^order)^(1/order), order >= 1.

    Infinite if the diagrams have different numbers of classes that never end. Differentiable
    where one matching alone is the cheapest.
    """
    _check_kinds(first, second)
    if not 1 <= order < np.inf:
        raise ArgumentError(
            "order", order, "a finite number >= 1", "pass order=1, or ask for bottleneck_distance"
        )
    endless = _endless_costs(first, second)
    if endless is None:
        return first.pairs.new_tensor(torch.inf)
    costs, first_half, second_half = (c.pow(order) for c in _costs(first, second))
    rows, columns = costs.shape
    square = costs.new_zeros(rows + columns, rows + columns)
    square[:rows, :columns] = costs
    square[:rows, columns:] = first_half[:, None]
    square[rows:, :columns] = second_half
    chosen = assignment(square.detach().double().cpu().numpy())
    matched = square[torch.arange(len(square)), torch.from_numpy(chosen)]
    total = matched.sum() + endless.pow(order).sum()
    return total if order == 1 else _root(total, order)


def assignment(costs: Floats) -> Int[np.ndarray, " n"]:
    """The column of each row in the cheapest assignment of an n by n matrix.

    Shortest augmenting paths with prices, O(n^3): Jonker and Volgenant, Computing 38 (1987).
    """
    n = len(costs)
    row_price, column_price = np.zeros(n), np.zeros(n)
    row_of, chosen = np.full(n, -1), np.full(n, -1)
    for start in range(n):
        row, distance = start, np.full(n, np.inf)
        before, done = np.full(n, -1), np.zeros(n, bool)
        reached, visited = 0.0, []
        while True:
            reduced = reached + costs[row] - row_price[row] - column_price
            nearer = ~done & (reduced < distance)
            distance[nearer], before[nearer] = reduced[nearer], row
            column = int(np.where(done, np.inf, distance).argmin())
            reached = distance[column]
            done[column] = True
            visited.append(column)
            row = int(row_of[column])
            if row < 0:
                break
        inner = np.array(visited[:-1], int)
        row_price[start] += reached
        row_price[row_of[inner]] += reached - distance[inner]
        column_price[inner] -= reached - distance[inner]
        while column >= 0:  # the path back, whose rows take the next column each
            row = int(before[column])
            row_of[column] = row
            column, chosen[row] = int(chosen[row]), column
    return chosen


def _costs(first: Diagram, second: Diagram) -> tuple[Tensor, Tensor, Tensor]:
    """Between the classes that end, and of each to the diagonal."""
    one, other = first.finite(), second.finite()
    costs = (one.pairs[:, None] - other.pairs).abs().amax(-1)
    return costs, one.lengths / 2, other.lengths / 2


def _endless_costs(first: Diagram, second: Diagram) -> Tensor | None:
    """Distances of births, in their order, of classes that never end; None if numbers differ."""
    one, other = (d.endless().births.sort().values for d in (first, second))
    return None if len(one) != len(other) else (one - other).abs()


def _matches(near: Bools, rows: Bools, columns: Bools) -> bool:
    """Whether some matching of near pairs covers all these rows and all these columns.

    If one covers the rows and another the columns, one covers both (Mendelsohn and Dulmage, 1958).
    """
    return _covers(near[rows]) and _covers(near[:, columns].T)


def _covers(near: Bools) -> bool:
    """Whether each row can have a column of its own, by augmenting paths."""
    row_of, column_of = np.full(near.shape[1], -1), np.full(len(near), -1)
    for start in range(len(near)):
        before = np.full(near.shape[1], -1)
        queue, end = [start], -1
        for row in queue:
            fresh = np.flatnonzero(near[row] & (before < 0))
            before[fresh] = row
            free = fresh[row_of[fresh] < 0]
            if len(free):
                end = int(free[0])
                break
            queue.extend(row_of[fresh].tolist())
        if end < 0:
            return False
        while end >= 0:
            row = int(before[end])
            row_of[end] = row
            end, column_of[row] = int(column_of[row]), end
    return True


def _root(total: Tensor, order: float) -> Tensor:
    """total^(1/order), with gradient 0 at 0."""
    positive = total > 0
    return total.where(positive, total.new_ones(())).pow(1 / order).where(positive, total)


def _check_kinds(first: Diagram, second: Diagram) -> None:
    if (first.dimension, first.superlevel) != (second.dimension, second.superlevel):
        raise ArgumentError(
            "second",
            f"dimension {second.dimension}, superlevel={second.superlevel}",
            f"dimension {first.dimension}, superlevel={first.superlevel}, as the first has",
            "compare diagrams of one kind",
        )
