"""The Smith normal form of integer matrices, on Python integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError
from ...optional import installed, require
from .chain_complex import ChainComplex
from .chain_reduction import ReducedComplex
from .coefficients import Coefficients

IntegerRows = list[list[int]]


@dataclass(frozen=True)
class SmithNormalForm:
    """U A V = D, with U and V invertible over Z and D diagonal.

    Attributes:
        divisors: the positive diagonal entries, each dividing the next; their number is the rank.
        left, left_inverse: U and its inverse, [n, n].
        right, right_inverse: V and its inverse, [m, m]; rows of Python integers.
    """

    divisors: tuple[int, ...]
    left: IntegerRows
    left_inverse: IntegerRows
    right: IntegerRows
    right_inverse: IntegerRows


def smith_normal_form(matrix: Int[Tensor, "n m"] | Sequence[Sequence[int]]) -> SmithNormalForm:
    """Diagonalise an integer matrix by integer row and column operations, kept as U and V.

    Args:
        matrix: [n, m] integers, a tensor or rows; of any size if they are Python integers.

    Raises:
        ArgumentError: for entries that are no integers, or rows of different lengths.

    Source: Cohen, A Course in Computational Algebraic Number Theory (1993), section 2.4.4.
    """
    rows = _checked_rows(matrix)
    work = _Elimination(rows, len(rows[0]) if rows else _width(matrix))
    divisors = work.run()
    return SmithNormalForm(
        divisors, work.left, _transposed(work.left_inverse_t), work.right(), work.right_inverse
    )


def elementary_divisors(
    matrix: Int[Tensor, "n m"] | Sequence[Sequence[int]],
    method: Literal["auto", "native", "flint"] = "auto",
) -> tuple[int, ...]:
    """The divisors d_1 | d_2 | ... of the Smith normal form alone, which is faster.

    Entries 1 and -1 are cancelled sparsely first; what is left, with no such entry, is given to
    python-flint ("flint", or "auto" where it is installed) or diagonalised here ("native").

    Args:
        matrix: as in `smith_normal_form`.
        method: how the dense remainder is treated; all give the same divisors.

    Raises:
        ArgumentError: as in `smith_normal_form`.
        MissingDependencyError: for "flint" without python-flint.
    """
    if method not in ("auto", "native", "flint"):
        raise ArgumentError("method", repr(method), '"auto", "native" or "flint"', "pass one")
    rows = _checked_rows(matrix)
    ones, rest = _without_units(rows)
    if method == "flint" or (method == "auto" and installed("flint")):
        return (1,) * ones + _flint_divisors(rest)
    return (1,) * ones + _Elimination(rest, len(rest[0]) if rest else 0, transforms=False).run()


def _without_units(rows: IntegerRows) -> tuple[int, IntegerRows]:
    if not rows or not rows[0]:
        return 0, []
    if any(abs(value) >= 2**63 for row in rows for value in row):
        return 0, rows
    complex_ = ChainComplex({1: torch.tensor(rows)})
    reduced = ReducedComplex(complex_, Coefficients("Z"))
    rest = [[int(value) for value in row] for row in reduced.matrix(1)]
    return len(rows) - len(rest), [row for row in rest if any(row)]


def _flint_divisors(rows: IntegerRows) -> tuple[int, ...]:
    flint = require("flint", "arithmetic", "elementary_divisors(method='flint')")
    if not rows or not rows[0]:
        return ()
    form = flint.fmpz_mat(rows).snf()
    diagonal = (abs(int(form[i, i])) for i in range(min(form.nrows(), form.ncols())))
    return tuple(value for value in diagonal if value)


class _Elimination:
    """Smallest pivots first; column operations are kept as row operations on the transpose."""

    def __init__(self, rows: IntegerRows, width: int, transforms: bool = True) -> None:
        height = len(rows)
        self.work = [list(row) for row in rows]
        self.width = width
        self.left = _identity(height if transforms else 0)
        self.left_inverse_t = _identity(height if transforms else 0)
        self.right_t = _identity(width if transforms else 0)
        self.right_inverse = _identity(width if transforms else 0)
        self.transforms = transforms

    def right(self) -> IntegerRows:
        return _transposed(self.right_t)

    def run(self) -> tuple[int, ...]:
        divisors: list[int] = []
        while self._bring_smallest(len(divisors)):
            self._clear(len(divisors))
            divisors.append(self.work[len(divisors)][len(divisors)])
        return tuple(divisors)

    def _bring_smallest(self, t: int) -> bool:
        places = [
            (abs(value), i, j)
            for i in range(t, len(self.work))
            for j, value in enumerate(self.work[i][t:], t)
            if value
        ]
        if not places:
            return False
        _, i, j = min(places)
        self._swap_rows(t, i)
        self._swap_columns(t, j)
        return True

    def _clear(self, t: int) -> None:
        """Make entry t, t positive, alone in its row and column, and a divisor of the rest."""
        work = self.work
        while True:
            pivot = work[t][t]
            for i in range(t + 1, len(work)):
                if work[i][t]:
                    self._add_row(i, t, -(work[i][t] // pivot))
            for j in range(t + 1, self.width):
                if work[t][j]:
                    self._add_column(j, t, -(work[t][j] // pivot))
            column = [(abs(work[i][t]), i) for i in range(t + 1, len(work)) if work[i][t]]
            row = [(abs(work[t][j]), j) for j in range(t + 1, self.width) if work[t][j]]
            if column:
                self._swap_rows(t, min(column)[1])
            elif row:
                self._swap_columns(t, min(row)[1])
            else:
                other = self._not_divided(t)
                if other is None:
                    break
                self._add_row(t, other, 1)
        if work[t][t] < 0:
            self._negate_row(t)

    def _not_divided(self, t: int) -> int | None:
        pivot = self.work[t][t]
        if pivot in (1, -1):
            return None
        rows = range(t + 1, len(self.work))
        return next((i for i in rows if any(value % pivot for value in self.work[i])), None)

    def _add_row(self, target: int, source: int, factor: int) -> None:
        _add(self.work, target, source, factor)
        if self.transforms:
            _add(self.left, target, source, factor)
            _add(self.left_inverse_t, source, target, -factor)

    def _add_column(self, target: int, source: int, factor: int) -> None:
        for row in self.work:
            if row[source]:
                row[target] += factor * row[source]
        if self.transforms:
            _add(self.right_t, target, source, factor)
            _add(self.right_inverse, source, target, -factor)

    def _swap_rows(self, i: int, j: int) -> None:
        _swap(self.work, i, j)
        if self.transforms:
            _swap(self.left, i, j)
            _swap(self.left_inverse_t, i, j)

    def _swap_columns(self, i: int, j: int) -> None:
        if i != j:
            for row in self.work:
                row[i], row[j] = row[j], row[i]
        if self.transforms:
            _swap(self.right_t, i, j)
            _swap(self.right_inverse, i, j)

    def _negate_row(self, i: int) -> None:
        for rows in (self.work, self.left, self.left_inverse_t):
            if rows:
                rows[i] = [-value for value in rows[i]]


def _add(rows: IntegerRows, target: int, source: int, factor: int) -> None:
    rows[target] = [x + factor * y for x, y in zip(rows[target], rows[source], strict=True)]


def _swap(rows: IntegerRows, i: int, j: int) -> None:
    rows[i], rows[j] = rows[j], rows[i]


def _identity(size: int) -> IntegerRows:
    return [[int(i == j) for j in range(size)] for i in range(size)]


def _transposed(rows: IntegerRows) -> IntegerRows:
    return [list(column) for column in zip(*rows, strict=True)]


def _width(matrix: Tensor | Sequence[Sequence[int]]) -> int:
    return int(matrix.shape[1]) if isinstance(matrix, Tensor) else 0


def _checked_rows(matrix: Tensor | Sequence[Sequence[int]]) -> IntegerRows:
    if isinstance(matrix, Tensor):
        if matrix.dim() != 2 or matrix.is_floating_point() or matrix.is_complex():
            raise ArgumentError(
                "matrix",
                f"{matrix.dtype} {list(matrix.shape)}",
                "integers [n, m]",
                "round it yourself if rounding is meant",
            )
        return (matrix.to_dense() if matrix.is_sparse else matrix).tolist()
    rows = [list(row) for row in matrix]
    if len({len(row) for row in rows}) > 1 or not all(type(v) is int for row in rows for v in row):
        raise ArgumentError("matrix", "other rows", "rows of one length of integers", "check it")
    return rows
