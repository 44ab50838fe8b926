"""The smallest cell of a crystal that was given by a larger one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .lattice import minkowski_reduced
from .symmetry import SymmetryOperations, image_distances, symmetry_operations


def primitive_translations(operations: SymmetryOperations) -> Float[Tensor, "n n"]:
    """A basis of all translations of a crystal, as rows, in fractions of its cell.

    The identity, if the cell is primitive; else the cell is |det|^-1 times too large. Times the
    lattice it is a primitive lattice of the crystal.

    Args:
        operations: as `symmetry_operations` finds them: those with W = 1 are translations.
    """
    size = operations.rotations.shape[-1]
    unit = torch.eye(size, dtype=operations.rotations.dtype)
    pure = operations.translations[(operations.rotations == unit).all(-1).all(-1)]
    # Their group modulo the cell has this many elements, so that this many times each is whole.
    count = len(pure)
    rows = [[count * int(entry) for entry in row] for row in unit.tolist()]
    rows += [[round(count * entry) for entry in row] for row in pure.tolist()]
    return torch.tensor(row_echelon(rows, size), dtype=torch.float64) / count


class PrimitiveCell(NamedTuple):
    """Atoms of one cell of a crystal."""

    lattice: Tensor
    """Primitive vectors [n, n] as rows."""
    positions: Tensor
    """Fractions [m, n] of them."""
    species: Tensor
    """Kinds [m]."""


def primitive_cell(
    lattice: Float[Tensor, "n n"],
    positions: Float[Tensor, "m n"],
    species: Int[Tensor, " m"],
    tolerance: float = 1e-5,
) -> PrimitiveCell:
    """The smallest cell of a crystal, reduced; of each set of equal atoms the first is kept.

    Args:
        lattice: vectors of any cell as rows.
        positions: of the atoms, as fractions of these.
        species: one number for each kind of atom.
        tolerance: as in `symmetry_operations`.
    """
    operations = symmetry_operations(lattice, positions, species, tolerance)
    rows = lattice.detach().double()
    basis = minkowski_reduced(primitive_translations(operations) @ rows).basis
    placed = (positions.detach().double() @ rows @ torch.linalg.inv(basis)).remainder(1)
    reach = 2 * tolerance * float(rows.norm(dim=1).max())
    kept = (image_distances(placed, placed, basis) <= reach).int().argmax(1).unique()
    return PrimitiveCell(basis.to(lattice), placed[kept].to(positions), species[kept])


def row_echelon(rows: list[list[int]], size: int) -> list[list[int]]:
    """A basis of the whole combinations of rows that span their space: Euclid in each column."""
    basis = []
    for column in range(size):
        while sum(row[column] != 0 for row in rows) > 1:
            pivot = min((row for row in rows if row[column]), key=lambda row: abs(row[column]))
            rows = [
                row
                if row is pivot
                else [x - row[column] // pivot[column] * y for x, y in zip(row, pivot, strict=True)]
                for row in rows
            ]
        basis.append(next(row for row in rows if row[column]))
        rows = [row for row in rows if not row[column]]
    return basis
