"""Symmetry groups of crystals with their names; those of space are named by spglib."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ...optional import install_command, installed, require
from .lattice import lattice_system
from .point_group import point_group_symbol
from .primitive_cell import primitive_cell
from .symmetry import symmetry_operations
from .wallpaper import wallpaper_group


class SymmetryGroup(NamedTuple):
    """Operations x -> x W + t of a crystal, and what their group is called."""

    rotations: Tensor
    """W [s, n, n], whole."""
    translations: Tensor
    """t [s, n], each in [0, 1)."""
    point_group: str
    """Hermann-Mauguin symbol: one of 32 in space, 10 in the plane, 2 on a line."""
    system: str
    """Of the lattice of all translations, as `lattice_system` tells."""
    number: int | None
    """Of the space group (1 to 230), wallpaper group (1 to 17) or line group (1, 2)."""
    symbol: str | None
    """Its short Hermann-Mauguin symbol."""
    wyckoff: tuple[str, ...] | None
    """Letter of each atom's position; of crystals in space only."""
    named_by: str
    """What found number, symbol and letters, or why there are none."""


def symmetry_group(
    lattice: Float[Tensor, "n n"],
    positions: Float[Tensor, "m n"],
    species: Int[Tensor, " m"],
    tolerance: float = 1e-5,
) -> SymmetryGroup:
    """Operations of a crystal with the names of their group.

    Operations, point group and lattice system are found here in one to three dimensions, and so
    are the groups of lines and of the plane. The 230 groups of space are named by spglib (extra
    `crystal`); where it is not installed, `named_by` says so and the names are None.

    The operations are those of the given cell, the names those of the crystal: a cell of several
    primitive ones can have fewer rotations than its point group says.

    Args:
        lattice: primitive vectors as rows.
        positions: of the atoms, as fractions of the primitive vectors.
        species: one number for each kind of atom.
        tolerance: as in `symmetry_operations`; spglib is given the same length.

    Raises:
        ArgumentError: as `symmetry_operations`; or spglib counts other operations, as happens
            when atoms are off their places by about the tolerance.

    International Tables for Crystallography A (2016), tables 2.1.2.1 and 3.2.3.2; Togo, Shinohara
    and Tanaka, Sci. Technol. Adv. Mater.: Methods 4 (2024) 2384822.
    """
    operations = symmetry_operations(lattice, positions, species, tolerance)
    cell = primitive_cell(lattice, positions, species, tolerance)
    least = symmetry_operations(*cell, tolerance)
    point_group = point_group_symbol(least.rotations)
    names: tuple[int | None, str | None, tuple[str, ...] | None, str]
    if len(lattice) == 1:
        number = len(least.rotations)
        names = number, ("p1", "pm")[number - 1], None, "this package"
    elif len(lattice) == 2:
        names = *wallpaper_group(least), None, "this package"
    elif installed("spglib"):
        names = _named_by_spglib(lattice, positions, species, tolerance, len(operations.rotations))
    else:
        how = install_command("spglib", "crystal")
        names = None, None, None, f"nothing: spglib names space groups and is missing ({how})"
    return SymmetryGroup(*operations, point_group, lattice_system(cell.lattice, tolerance), *names)


def _named_by_spglib(
    lattice: Tensor, positions: Tensor, species: Tensor, tolerance: float, count: int
) -> tuple[int, str, tuple[str, ...], str]:
    spglib: Any = require("spglib", "crystal", "naming a space group")
    rows = lattice.detach().double()
    # Its tolerances serve lengths of about 1.
    longest = float(rows.norm(dim=1).max())
    cell = ((rows / longest).tolist(), positions.detach().double().tolist(), species.tolist())
    with warnings.catch_warnings():
        # Of how spglib will report errors one day.
        warnings.simplefilter("ignore", DeprecationWarning)
        data = spglib.get_symmetry_dataset(cell, symprec=tolerance)
    theirs = 0 if data is None else len(data.rotations)
    if theirs != count:
        raise ArgumentError(
            "tolerance",
            f"{tolerance}, with which spglib finds {theirs} operations where we find {count}",
            "one well above or below the displacements of atoms",
            "change it",
        )
    letters = tuple(str(letter) for letter in data.wyckoffs)
    return int(data.number), str(data.international), letters, f"spglib {spglib.__version__}"
