"""Bonds between the atoms of a crystal, shell by shell, and the springs along and across them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .lattice import check_lattice, whole_vectors


class Bonds(NamedTuple):
    """Pairs of atoms, each from either end: atom i of cell 0 and atom j of cell R."""

    first: Tensor
    """i [p]."""
    second: Tensor
    """j [p]."""
    cells: Tensor
    """R [p, n] in primitive vectors, whole."""
    vectors: Tensor
    """R + x_j - x_i [p, n], differentiable in lattice and positions."""
    shell: Tensor
    """Number of the distance [p], from 0 for the shortest."""


def neighbour_bonds(
    lattice: Float[Tensor, "n n"], positions: Float[Tensor, "m n"], shells: int = 1
) -> Bonds:
    """The pairs of atoms at the `shells` shortest distances that occur in the crystal.

    Args:
        lattice: primitive vectors as rows.
        positions: of the atoms, as fractions of the primitive vectors.
        shells: distances taken; those within sqrt(eps) of each other count as one.
    """
    check_lattice(lattice)
    check_positions(lattice, positions)
    if shells < 1:
        raise ArgumentError("shells", shells, "a whole number >= 1", "take nearest neighbours")
    rows, places = lattice.detach(), (positions @ lattice).detach()
    inverse = torch.linalg.inv(rows).norm(dim=0)
    spread = (places[:, None] - places).norm(dim=-1).max()
    reach = float(rows.norm(dim=1).min())
    while True:
        # |R_c| <= (reach + spread) |column c of the inverse| for a pair within reach.
        most = math.ceil(float((inverse * (reach + spread)).max()) * (1 + 1e-9))
        cells = whole_vectors(len(lattice), most).to(rows.device)
        apart = places - places[:, None] + (cells.to(rows) @ rows)[:, None, None]
        lengths = apart.norm(dim=-1)
        edges = _shell_edges(lengths[(lengths > 0) & (lengths <= reach)])
        if len(edges) > shells:
            break
        reach = 1.5 * reach
    near = (lengths > 0) & (lengths < edges[shells])
    cell, first, second = near.nonzero().unbind(1)
    shell = torch.searchsorted(edges[1:shells], lengths[near], right=True)
    vectors = (positions[second] - positions[first] + cells[cell].to(positions)) @ lattice
    return Bonds(first, second, cells[cell], vectors, shell)


def spring_matrices(
    vectors: Float[Tensor, "p n"],
    central: Float[Tensor, " #p"] | float = 1.0,
    transverse: Float[Tensor, " #p"] | float = 0.0,
) -> Float[Tensor, "p n n"]:
    """Force constants of bonds: Phi = -(C u u^T + T (1 - u u^T)), u along the bond.

    Args:
        vectors: of the bonds; only their directions count.
        central: C, the spring along a bond, in units of force a length.
        transverse: T, that across it. T alone lets no rigid turn of the crystal cost nothing, as
            true forces do.

    Born and Huang, Dynamical Theory of Crystal Lattices (1954), section 23.
    """
    lengths = vectors.norm(dim=-1, keepdim=True)
    if vectors.dim() != 2 or not bool((lengths.detach() > 0).all()):
        raise ArgumentError(
            "vectors", f"shape {list(vectors.shape)} or a zero", "bonds [p, n]", "pass Bonds"
        )
    along = (vectors / lengths)[:, :, None] * (vectors / lengths)[:, None]
    unit = torch.eye(vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    stiff, soft = (
        torch.as_tensor(value, dtype=vectors.dtype, device=vectors.device).expand(len(vectors))
        for value in (central, transverse)
    )
    if not bool((stiff.detach().isfinite() & soft.detach().isfinite()).all()):
        raise ArgumentError("central", "NaN or infinity", "finite springs", "pass C and T")
    matrices: Tensor = -(stiff[:, None, None] * along + soft[:, None, None] * (unit - along))
    return matrices


def _shell_edges(lengths: Tensor) -> Tensor:
    """Distances between shells: 0, the middles of gaps, and the last length."""
    if not len(lengths):
        return lengths
    ordered = lengths.sort().values
    gap = ordered.diff() > math.sqrt(torch.finfo(lengths.dtype).eps) * ordered[1:]
    middles = (ordered[:-1] + ordered[1:])[gap] / 2
    return torch.cat([ordered.new_zeros(1), middles])


def check_positions(lattice: Tensor, positions: Tensor) -> None:
    """Raise unless fractions of the primitive vectors are given for at least one atom."""
    size = len(lattice)
    if positions.dim() != 2 or positions.shape[1] != size or not len(positions):
        raise ArgumentError(
            "positions", f"shape {list(positions.shape)}", f"[m, {size}] with m >= 1", "pass atoms"
        )
    if not bool(positions.detach().isfinite().all()):
        raise ArgumentError("positions", "NaN or infinity", "finite numbers", "pass fractions")
    whole = positions.detach() - positions.detach()[:, None]
    offsets = (whole - whole.round()).abs().amax(-1)
    if int((offsets <= 1e-6).sum()) > len(positions):
        raise ArgumentError(
            "positions", "two atoms at one place", "atoms apart", "list each atom once"
        )
