"""Space-group operations of a crystal: rotations and translations that map it onto itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .lattice import check_lattice, lattice_point_group


class SymmetryOperations(NamedTuple):
    """Operations x -> x W + t of fractional positions x as rows, one for each pair."""

    rotations: Tensor
    """W [s, n, n], whole."""
    translations: Tensor
    """t [s, n], each in [0, 1)."""


def symmetry_operations(
    lattice: Float[Tensor, "n n"],
    positions: Float[Tensor, "m n"],
    species: Int[Tensor, " m"],
    tolerance: float = 1e-5,
) -> SymmetryOperations:
    """Every operation of the space group (wallpaper group for n = 2) modulo the lattice.

    W comes from the point group of the lattice; t from where W can send one atom of the rarest
    species. A primitive cell has as many operations as the point group of the crystal; a cell
    that holds c primitive ones has c times as many, pure translations among them.

    Args:
        lattice: primitive vectors as rows.
        positions: of the atoms, as fractions of the primitive vectors.
        species: one number for each kind of atom.
        tolerance: largest distance between an atom and the image of one, as a fraction of the
            longest primitive vector; of metrics, as in `lattice_point_group`.

    International Tables for Crystallography A (2016), section 1.3.
    """
    check_lattice(lattice, most=3)
    size = len(lattice)
    rows, fractions = lattice.detach().double(), positions.detach().double()
    _check_atoms(size, positions, species)
    reach = tolerance * float(rows.norm(dim=1).max())
    same = species[:, None] == species
    _check_apart(rows, fractions, reach)
    kinds, counts = species.unique(return_counts=True)
    rarest = (species == kinds[counts.argmin()]).nonzero().flatten()
    rotations, translations = [], []
    for whole in lattice_point_group(rows, tolerance):
        images = fractions @ whole.double()
        for target in fractions[rarest]:
            shift = target - images[rarest[0]]
            gaps = image_distances(images + shift, fractions, rows)
            if bool(((gaps <= reach) & same).any(1).all()):
                rotations.append(whole)
                translations.append(_centred_shift(images, shift, fractions, rows))
    moved = torch.stack(translations)
    # Just below 1 is 0.
    moved = torch.where((moved - moved.round()).abs() <= tolerance, moved.round(), moved)
    return SymmetryOperations(torch.stack(rotations), moved.remainder(1))


def _centred_shift(images: Tensor, shift: Tensor, fractions: Tensor, rows: Tensor) -> Tensor:
    """The translation that fits all atoms, not just the one that it was read from."""
    nearest = image_distances(images + shift, fractions, rows).argmin(1)
    rest = fractions[nearest] - images - shift
    return shift + (rest - rest.round()).mean(0)


def image_distances(images: Tensor, fractions: Tensor, rows: Tensor) -> Tensor:
    """Distances [k, m] of atoms modulo the lattice, right where they are short."""
    # For short ones rounding in any basis finds the nearest image.
    apart = images[:, None] - fractions
    distances: Tensor = ((apart - apart.round()) @ rows).norm(dim=-1)
    return distances


def _check_atoms(size: int, positions: Tensor, species: Tensor) -> None:
    if positions.dim() != 2 or positions.shape[1] != size or not len(positions):
        raise ArgumentError(
            "positions",
            f"shape {list(positions.shape)}",
            f"[m, {size}] with m >= 1",
            "pass fractions of the primitive vectors",
        )
    if not bool(positions.detach().isfinite().all()):
        raise ArgumentError("positions", "NaN or infinity", "finite numbers", "pass fractions")
    if species.shape != positions.shape[:1] or species.is_floating_point():
        raise ArgumentError(
            "species",
            f"{species.dtype} of shape {list(species.shape)}",
            f"{len(positions)} whole numbers",
            "number the kinds of atoms",
        )


def _check_apart(rows: Tensor, fractions: Tensor, reach: float) -> None:
    gaps = image_distances(fractions, fractions, rows)
    gaps.fill_diagonal_(float("inf"))
    if bool((gaps <= 2 * reach).any()):
        raise ArgumentError(
            "positions", "two atoms at one place", "atoms apart", "list each atom once"
        )
