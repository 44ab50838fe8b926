"""Cubical complexes: cells of a grid, whose axes may be closed to circles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ...errors import ArgumentError
from .chain_complex import ChainComplex

Cube = tuple[int, ...]


class CubicalComplex:
    """Unit cubes of a grid with all their faces.

    A cube is written by its middle in half steps: along each axis 2 a for the point a and
    2 a + 1 for the interval from a to a + 1. Its dimension is the number of odd entries; the cubes
    of one dimension are sorted, and
    boundary c = sum_j (-1)^j (upper face - lower face) over its intervals j = 0, 1, ... in order.

    Args:
        cubes: such tuples of integers >= 0, all of one length; missing faces are added.
        periods: for each axis the number of points of a circle, or None for a line.

    Raises:
        ArgumentError: for tuples of several lengths, or entries outside of the grid.

    Source: Kaczynski, Mischaikow and Mrozek, Computational Homology (2004), chapter 2.
    """

    def __init__(
        self, cubes: Iterable[Sequence[int]], periods: Sequence[int | None] | None = None
    ) -> None:
        given = {tuple(cube) for cube in cubes}
        axes = len(periods) if periods is not None else len(next(iter(given), ()))
        self.periods = tuple(periods) if periods is not None else (None,) * axes
        for cube in given:
            self._check(cube)
        closed: set[Cube] = set()
        waiting = given
        while waiting:
            closed |= waiting
            waiting = {f for cube in waiting for pair in self._faces(cube) for f in pair} - closed
        by_dimension: list[list[Cube]] = [[] for _ in range(axes + 1)]
        for cube in sorted(closed):
            by_dimension[sum(entry % 2 for entry in cube)].append(cube)
        while by_dimension and not by_dimension[-1]:
            by_dimension.pop()
        self._cubes = by_dimension

    @classmethod
    def of_voxels(
        cls, mask: Bool[Tensor, "*shape"], periodic: Sequence[bool] | None = None
    ) -> CubicalComplex:
        """The full cubes [i, i + 1] x [j, j + 1] x ... where the mask is true, and their faces."""
        if mask.dtype != torch.bool or mask.dim() < 1:
            raise ArgumentError(
                "mask", f"{mask.dtype} {list(mask.shape)}", "booleans", "compare with a threshold"
            )
        closed = [False] * mask.dim() if periodic is None else periodic
        periods = _periods(mask.shape, closed)
        return cls((2 * mask.nonzero() + 1).tolist(), periods)

    @classmethod
    def of_grid(cls, shape: Sequence[int], periodic: Sequence[bool]) -> CubicalComplex:
        """Every cell between the points of a grid with `shape` points."""
        periods = _periods(shape, periodic)
        ends = [2 * n if wrap else 2 * n - 1 for n, wrap in zip(shape, periodic, strict=True)]
        return cls(product(*map(range, ends)), periods)

    @property
    def dimension(self) -> int:
        """The largest dimension of a cube; -1 for the empty complex."""
        return len(self._cubes) - 1

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of cubes of dimension 0, 1, ..."""
        return tuple(map(len, self._cubes))

    def euler_characteristic(self) -> int:
        """chi = sum_k (-1)^k (number of k-cubes)."""
        return sum((-1) ** k * n for k, n in enumerate(self.counts))

    def cubes(self, dimension: int) -> Int[Tensor, "n axes"]:
        """The cubes of one dimension in half steps, a row each."""
        rows = self._cubes[dimension] if 0 <= dimension <= self.dimension else []
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), len(self.periods))

    def chain_complex(self) -> ChainComplex:
        """The oriented cubical chains."""
        return ChainComplex({k: self._boundary(k) for k in range(self.dimension + 1)})

    def _boundary(self, dimension: int) -> Tensor:
        below = self._cubes[dimension - 1] if dimension else []
        numbers = {cube: number for number, cube in enumerate(below)}
        entries = [
            (numbers[face], column, sign * (-1) ** place)
            for column, cube in enumerate(self._cubes[dimension])
            for place, pair in enumerate(self._faces(cube))
            for face, sign in zip(pair, (1, -1), strict=True)
        ]
        table = torch.tensor(entries, dtype=torch.int64).reshape(-1, 3).t()
        return torch.sparse_coo_tensor(
            table[:2], table[2], (len(below), len(self._cubes[dimension])), check_invariants=True
        ).coalesce()

    def _faces(self, cube: Cube) -> list[tuple[Cube, Cube]]:
        pairs = []
        for axis, entry in enumerate(cube):
            if entry % 2:
                period = self.periods[axis]
                upper = entry + 1 if period is None else (entry + 1) % (2 * period)
                head, tail = cube[:axis], cube[axis + 1 :]
                pairs.append(((*head, upper, *tail), (*head, entry - 1, *tail)))
        return pairs

    def _check(self, cube: Cube) -> None:
        ends = [float("inf") if period is None else 2 * period for period in self.periods]
        if len(cube) != len(ends) or not all(
            type(entry) is int and 0 <= entry < end for entry, end in zip(cube, ends, strict=True)
        ):
            raise ArgumentError(
                "cubes",
                f"{list(cube)}",
                f"{len(ends)} integers >= 0, below twice the period of a circle",
                "write a point a as 2 a and an interval from a as 2 a + 1",
            )


def _periods(shape: Sequence[int], periodic: Sequence[bool]) -> list[int | None]:
    if len(shape) != len(periodic):
        raise ArgumentError(
            "periodic", list(periodic), f"{len(shape)} booleans", "say it of every axis"
        )
    return [size if wrap else None for size, wrap in zip(shape, periodic, strict=True)]
