"""Patterns of attention that a user describes, by a function of offsets or by a small matrix."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError


@dataclass(frozen=True)
class OffsetPattern:
    """w(i, j) = f(i - j): how much each query i should attend to the key i - o, for offsets o.

    Args:
        function: f, of an int64 tensor of offsets o = i - j, >= 0 in a causal head and of any sign
            in a bidirectional one; gives real weights of the same shape. Only differences between
            weights count: 1 at the offsets meant and 0 elsewhere is enough.
        name: for reports.
    """

    function: Callable[[Int[Tensor, " n"]], Tensor]
    name: str = "offsets"

    def weights(self, offsets: Int[Tensor, " n"]) -> Float[Tensor, "1 n"]:
        """f of these offsets, in float64, as the one row of a pattern.

        Raises:
            ArgumentError: f gives no tensor of finite numbers of the offsets' shape.
        """
        found = self.function(offsets)
        right = isinstance(found, Tensor) and found.shape == offsets.shape
        if not right or not bool(found.isfinite().all()):
            shown = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ArgumentError(
                "pattern",
                f"a function that gives {shown if not right else 'NaN or infinity'}",
                f"finite weights {list(offsets.shape)}, one an offset",
                "pass such as OffsetPattern(lambda o: (o == 1).double())",
            )
        return found.detach().to(offsets.device, torch.float64)[None]


@dataclass(frozen=True)
class MatrixPattern:
    """w(i, j) = M[(i + phase) mod m, i - j], and 0 beyond the matrix, at the best of m phases.

    Row after row are queries that follow one another, again and again through the text; column o
    is the key o tokens back. So one row is a pattern of offsets, and m rows are one of texts with
    a period, such as records of m tokens in which each field looks back at its own places.

    Args:
        matrix: M, [m, n], real weights; only their differences count.
        name: for reports.

    Raises:
        ArgumentError: no matrix of finite numbers, or all of them alike and one row.
    """

    matrix: Float[Tensor, "m n"]
    name: str = "matrix"

    def __post_init__(self) -> None:
        matrix = self.matrix
        if matrix.dim() != 2 or not matrix.numel() or not bool(matrix.isfinite().all()):
            raise ArgumentError(
                "matrix", list(matrix.shape), "finite numbers [queries, offsets], not empty",
                "pass torch.tensor([[0.0, 1.0], [0.0, 0.0]])",
            )  # fmt: skip

    def weights(self, offsets: Int[Tensor, " n"]) -> Float[Tensor, "m n"]:
        """The rows at these offsets, in float64; 0 at offsets below 0 and beyond the matrix."""
        matrix = self.matrix.detach().to(offsets.device, torch.float64)
        inside = (offsets >= 0) & (offsets < matrix.shape[1])
        found: Tensor = matrix[:, offsets.clamp(0, matrix.shape[1] - 1)] * inside
        return found


Pattern = OffsetPattern | MatrixPattern


def parse_pattern(text: str) -> Pattern:
    """The pattern that a command line names: "0:1,7:1,14:0.5", "1,7" or a file "records.csv".

    Args:
        text: offsets with weights, 1 where none is given, and 0 at all others; or the path of a
            .csv file with the rows of a `MatrixPattern`.

    Raises:
        ArgumentError: what is no offset or weight, an offset twice, a file that cannot be read or
            whose rows are not equally many numbers.
    """
    if text.strip().lower().endswith(".csv"):
        return _read_matrix(Path(text.strip()))
    weights: dict[int, float] = {}
    for entry in text.split(","):
        offset, weight = _parse_entry(entry, text)
        if offset in weights:
            raise _bad(text, f"offset {offset} twice", "each offset once")
        weights[offset] = weight
    if not any(weights.values()):
        raise _bad(text, "weights that are all 0", "one other than 0")

    def function(offsets: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        found = torch.zeros(offsets.shape, dtype=torch.float64, device=offsets.device)
        for offset, weight in weights.items():
            found = torch.where(offsets == offset, weight, found)
        return found

    return OffsetPattern(function, text.strip())


def _parse_entry(entry: str, text: str) -> tuple[int, float]:
    offset, colon, weight = entry.partition(":")
    try:
        found = int(offset), float(weight) if colon else 1.0
    except ValueError:
        raise _bad(text, repr(entry.strip()), "offset or offset:weight") from None
    if not math.isfinite(found[1]):
        raise _bad(text, repr(entry.strip()), "a finite weight")
    return found


def _bad(text: str, got: str, expected: str) -> ArgumentError:
    return ArgumentError(
        "pattern", f"{got} in {text!r}", expected, "write such as 0:1,7:1,14:0.5, or name a .csv"
    )


def _read_matrix(path: Path) -> MatrixPattern:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
        numbers = [[float(cell) for cell in row] for row in rows]
    except (OSError, ValueError) as error:
        raise ArgumentError(
            "pattern", f"{path}: {error}", "a file of rows of numbers", "write 0,1,0.5 a row"
        ) from None
    if len({len(row) for row in numbers}) != 1:
        raise ArgumentError(
            "pattern", f"{path} with rows of {sorted({len(row) for row in numbers})} cells",
            "rows of equal length", "fill each row up with 0",
        )  # fmt: skip
    return MatrixPattern(torch.tensor(numbers, dtype=torch.float64), path.stem)
