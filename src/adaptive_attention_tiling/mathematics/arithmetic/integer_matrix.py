"""Exact figures of square matrices of integers, as Python's own integers of any length."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...errors import ArgumentError


def exact_matrix(name: str, matrix: Tensor | np.ndarray | list[list[int]]) -> np.ndarray:
    """A square matrix of Python integers; raises ArgumentError on anything else."""
    # Told to numpy as objects, since it would make floats of integers beyond 64 bits.
    found = matrix.numpy(force=True) if isinstance(matrix, Tensor) else np.asarray(matrix, object)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ArgumentError(name, f"shape {list(found.shape)}", "[n, n]", "pass a square matrix")
    whole = found.astype(object)
    for row in range(len(whole)):
        for column in range(len(whole)):
            entry = whole[row, column]
            if not _is_whole(entry):
                raise ArgumentError(name, f"an entry {entry}", "integers", "round it or scale it")
            whole[row, column] = int(entry)
    return whole


def _is_whole(entry: object) -> bool:
    return isinstance(entry, int) or (isinstance(entry, float) and entry.is_integer())


def power_traces(matrix: np.ndarray, length: int) -> list[int]:
    """tr M, tr M^2, ..., tr M^length of a matrix of Python integers."""
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ArgumentError("length", length, "an integer >= 1", "pass the longest length wanted")
    power, found = matrix, [int(np.trace(matrix))]
    for _ in range(length - 1):
        power = power @ matrix
        found.append(int(np.trace(power)))
    return found


def reverse_characteristic_polynomial(matrix: np.ndarray) -> list[int]:
    """The coefficients of det(I - u M), constant term first, by Faddeev and LeVerrier; n^4 steps.

    M_1 = M, c_k = tr(M_k) / k, M_{k+1} = M (M_k - c_k I); det(I - u M) = 1 - c_1 u - c_2 u^2 ...
    """
    size = len(matrix)
    coefficients, current = [1], matrix
    for order in range(1, size + 1):
        coefficient = int(np.trace(current)) // order
        coefficients.append(-coefficient)
        if order < size:
            current = current.copy()
            current[np.diag_indices(size)] -= coefficient
            current = matrix @ current
    return coefficients
