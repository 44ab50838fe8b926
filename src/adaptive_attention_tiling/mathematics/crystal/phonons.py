"""Vibrations of a Bravais lattice whose nearest neighbours are joined by springs."""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .lattice import check_lattice


def nearest_neighbours(lattice: Float[Tensor, "n n"]) -> Float[Tensor, "m n"]:
    """The shortest lattice vectors but zero, each with its opposite.

    Args:
        lattice: primitive vectors as rows, in any units of length. Lengths that differ by less
            than sqrt(eps) of themselves count as equal.
    """
    check_lattice(lattice)
    if lattice.dim() != 2:
        raise ArgumentError("lattice", f"shape {list(lattice.shape)}", "[n, n]", "pass one lattice")
    rows = lattice.detach()
    # |c_i| <= |v| |column i of the inverse| for v = c A.
    reach = rows.norm(dim=1).min() * torch.linalg.inv(rows).norm(dim=0) * (1 + 1e-6)
    ranges = [range(-math.floor(most), math.floor(most) + 1) for most in reach.tolist()]
    steps = [step for step in product(*ranges) if any(step)]
    vectors = torch.tensor(steps, dtype=lattice.dtype, device=lattice.device) @ lattice
    lengths = vectors.detach().norm(dim=1)
    near = lengths <= lengths.min() * (1 + math.sqrt(torch.finfo(lattice.dtype).eps))
    return vectors[near]


def dynamical_matrix(
    wavevector: Float[Tensor, "*b n"],
    bonds: Float[Tensor, "m n"],
    springs: Float[Tensor, " m"] | float = 1.0,
    mass: float = 1.0,
) -> Float[Tensor, "*b n n"]:
    """D(q) = (1 / M) sum_R C_R (1 - cos(q . R)) R R^T / |R|^2.

    Its eigenvalues are squared angular frequencies. Springs act along bonds only.

    Args:
        wavevector: q, in radians a unit of length.
        bonds: R, from an atom to its neighbours; R and -R are both listed.
        springs: C_R, in units of force a length, the same for R and -R.
        mass: M.

    Ashcroft and Mermin, Solid State Physics (1976), chapter 22 and its problem 1.
    """
    springs = torch.as_tensor(springs, dtype=bonds.dtype, device=bonds.device)
    _check_bonds(wavevector, bonds, springs.expand(len(bonds)), mass)
    unit = bonds / bonds.norm(dim=-1, keepdim=True)
    # 1 - cos x = 2 sin^2(x / 2), which keeps its digits for long waves.
    weights = 2 * springs / mass * (wavevector @ bonds.mT / 2).sin().square()
    matrix: Tensor = torch.einsum("...m,mi,mj->...ij", weights, unit, unit)
    return matrix


class PhononSpectrum(NamedTuple):
    """Vibrations at each wavevector."""

    frequencies: Tensor
    """Angular frequencies omega [*b, branches], ascending; -|omega| where omega is imaginary."""
    polarisations: Tensor
    """Unit vectors as columns [*b, branches, branches]; displacements times sqrt(mass)."""


def phonon_modes(matrix: Tensor) -> PhononSpectrum:
    """Angular frequencies and polarisations of a dynamical matrix.

    Where omega^2 < 0 the crystal is not stable against that wave, which grows as exp(|omega| t):
    the frequency is then given as -|omega|, as is the custom of plots. Squares that are negative
    by rounding alone are 0.

    Args:
        matrix: D(q), Hermitian [*b, branches, branches].

    Gradients of omega where it is 0, which has none, are 0; those of polarisations are infinite
    where frequencies meet.
    """
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ArgumentError("matrix", f"shape {list(matrix.shape)}", "[..., n, n]", "pass D(q)")
    if not bool(matrix.detach().isfinite().all()):
        raise ArgumentError("matrix", "NaN or infinity", "finite numbers", "pass D(q)")
    squares, vectors = torch.linalg.eigh(matrix)
    rounding = 8 * torch.finfo(squares.dtype).eps * squares.detach().abs().amax(-1, keepdim=True)
    squares = torch.where((squares < 0) & (squares >= -rounding), 0.0, squares)
    return PhononSpectrum(signed_root(squares), vectors)


def signed_root(squares: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """sqrt(x) for x > 0, -sqrt(-x) for x < 0; at 0 its gradient is taken as 0."""
    zero = squares == 0
    roots = torch.where(zero, 1.0, squares).abs().sqrt() * squares.sign()
    return torch.where(zero, 0.0, roots)


def _check_bonds(wavevector: Tensor, bonds: Tensor, springs: Tensor, mass: float) -> None:
    if bonds.dim() != 2 or wavevector.dim() < 1 or wavevector.shape[-1] != bonds.shape[-1]:
        raise ArgumentError(
            "bonds",
            f"shape {list(bonds.shape)} for wavevectors {list(wavevector.shape)}",
            "[m, n] for [..., n]",
            "pass bonds and wavevectors of one space",
        )
    if not mass > 0:
        raise ArgumentError("mass", mass, "a number > 0", "pass the mass of an atom")
    for name, values in (("wavevector", wavevector), ("bonds", bonds), ("springs", springs)):
        if not bool(values.detach().isfinite().all()):
            raise ArgumentError(name, "NaN or infinity", "finite numbers", "leave such ones out")
    gaps = torch.cdist(bonds.detach(), -bonds.detach(), compute_mode="donot_use_mm_for_euclid_dist")
    gap, opposite = gaps.min(1)
    length = bonds.detach().norm(dim=1)
    uneven = (springs - springs[opposite]).detach().abs() > 1e-6 * springs.detach().abs()
    if not bool((length > 0).all() and (gap <= 1e-6 * length).all()) or bool(uneven.any()):
        raise ArgumentError(
            "bonds",
            "a bond that is zero or whose opposite is missing or has another spring",
            "R and -R with one spring",
            "pass nearest_neighbours(lattice)",
        )
