"""Bravais lattices: primitive vectors, reciprocal lattice, reduction and type.

A lattice is the matrix A [n, n] of its primitive vectors as rows; its points are c A for whole c.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError


def simple_cubic(edge: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Primitive vectors of the simple cubic lattice, as rows."""
    return check_length("edge", edge) * torch.eye(3, dtype=dtype)


def face_centred_cubic(edge: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Primitive vectors of the FCC lattice, as rows, in units of `edge`'s: a / 2 (0, 1, 1), ..."""
    return check_length("edge", edge) / 2 * (1 - torch.eye(3, dtype=dtype))


def body_centred_cubic(edge: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Primitive vectors of the BCC lattice, as rows: a / 2 (-1, 1, 1), ..."""
    return check_length("edge", edge) / 2 * (1 - 2 * torch.eye(3, dtype=dtype))


def hexagonal(
    edge: float = 1.0, height: float | None = None, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Primitive vectors of the hexagonal lattice: of the plane, or of space if `height` is given.

    a (1, 0), a (1/2, sqrt(3)/2) and (0, 0, height); close packing has height = sqrt(8/3) a.
    """
    plane = check_length("edge", edge) * torch.tensor([[1.0, 0], [0.5, 0]], dtype=dtype)
    plane[1, 1] = edge * math.sqrt(0.75)
    if height is None:
        return plane
    cell: Tensor = torch.block_diag(plane, plane.new_full((1, 1), check_length("height", height)))
    return cell


def orthogonal(*edges: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Primitive vectors along the axes: a chain, a rectangle, a tetragonal or orthorhombic cell."""
    return torch.diag(torch.tensor([check_length("edges", e) for e in edges], dtype=dtype))


def reciprocal_lattice(lattice: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """B = 2 pi A^-T, so that a_i . b_j = 2 pi delta_ij.

    Args:
        lattice: primitive vectors as rows.

    Ashcroft and Mermin, Solid State Physics (1976), equation 5.3.
    """
    check_lattice(lattice)
    reciprocal: Tensor = 2 * math.pi * torch.linalg.inv(lattice).mT
    return reciprocal


class LatticeReduction(NamedTuple):
    """A reduced basis of a lattice and the unimodular map to it: basis = transform @ lattice."""

    basis: Tensor
    transform: Tensor


def minkowski_reduced(lattice: Float[Tensor, "n n"]) -> LatticeReduction:
    """Shortest basis of a lattice in one to three dimensions, shortest vector first.

    Greedy reduction: the longest vector is brought to its shortest by whole multiples of the
    others until no length falls. In the plane this is Gauss's reduction: |a| <= |b| and
    2 |a . b| <= |a|^2. The basis is differentiable in the lattice, the transform is whole.

    Args:
        lattice: primitive vectors as rows.

    Nguyen and Stehle, Low-dimensional lattice basis reduction revisited (2009), figure 5 and
    theorem 5.0.3.
    """
    check_lattice(lattice, most=3)
    size = len(lattice)
    rows = lattice.detach().double()
    transform = torch.eye(size, dtype=torch.float64, device=lattice.device)
    offsets = whole_vectors(size - 1, 1).to(rows)
    for _ in range(1000):
        order = (transform @ rows).norm(dim=1).argsort(stable=True)
        transform = transform[order]
        basis = transform @ rows
        if size == 1:
            break
        nearest = torch.linalg.lstsq(basis[:-1].T, basis[-1]).solution.round()
        shorter = transform[-1] - (nearest + offsets) @ transform[:-1]
        lengths = (shorter @ rows).square().sum(1)
        if lengths.min() >= basis[-1].square().sum() * (1 - 1e-10):
            break
        transform = torch.cat([transform[:-1], shorter[lengths.argmin()][None]])
    return LatticeReduction(transform.to(lattice) @ lattice, transform.round().long())


def lattice_point_group(lattice: Float[Tensor, "n n"], tolerance: float = 1e-5) -> Tensor:
    """Every whole W [g, n, n] that keeps the metric: W A A^T W^T = A A^T, the identity among them.

    Row i of W A is the image of primitive vector i, so the orthogonal matrix that acts on points
    x as x R is R = A^-1 W A.

    Args:
        lattice: primitive vectors as rows.
        tolerance: largest error of an inner product, in squared lengths of the longest primitive
            vector of the reduced basis.
    """
    basis, transform = minkowski_reduced(lattice.detach().double())
    operations = bases_of_metric(basis, basis @ basis.T, tolerance).to(transform)
    inverse = torch.linalg.inv(transform.double()).round().long()
    found: Tensor = inverse @ operations @ transform
    return found


def bases_of_metric(
    basis: Float[Tensor, "n n"], metric: Float[Tensor, "n n"], tolerance: float
) -> Int[Tensor, "g n n"]:
    """Every whole W with W B B^T W^T = G, none if no vectors of the lattice are like this.

    Args:
        basis: B, reduced, as rows: entries of W up to 2 are tried.
        metric: G, the inner products that are looked for, of vectors no longer than B's sums.
        tolerance: largest error of one, as a fraction of the largest square in G.
    """
    whole = whole_vectors(len(basis), 2).to(basis)
    slack = tolerance * float(metric.diagonal().max())
    vectors = whole @ basis
    lengths = vectors.square().sum(1)
    images: list[tuple[int, ...]] = [()]
    for row in range(len(basis)):
        like = (lengths - metric[row, row]).abs() <= slack
        candidates = like.nonzero().flatten().tolist()
        images = [
            (*image, new)
            for image in images
            for new in candidates
            if all(
                abs(float(vectors[old] @ vectors[new]) - float(metric[index, row])) <= slack
                for index, old in enumerate(image)
            )
        ]
    found: Tensor = whole[torch.tensor(images, dtype=torch.int64).reshape(-1, len(basis))].long()
    return found


def lattice_system(lattice: Float[Tensor, "n n"], tolerance: float = 1e-5) -> str:
    """System of a lattice, by the order of its point group.

    In the plane 2 oblique, 4 rectangular (primitive or centred), 8 square, 12 hexagonal; in space
    2 triclinic, 4 monoclinic, 8 orthorhombic, 12 rhombohedral, 16 tetragonal, 24 hexagonal,
    48 cubic (primitive, body-centred or face-centred, by how closely it packs).

    Args:
        lattice: primitive vectors as rows.
        tolerance: as in `lattice_point_group`.

    International Tables for Crystallography A (2016), table 3.1.2.
    """
    check_lattice(lattice, most=3)
    order = len(lattice_point_group(lattice, tolerance))
    basis = minkowski_reduced(lattice.detach()).basis.double()
    systems = {
        1: {2: "chain"},
        2: {2: "oblique", 4: "rectangular", 8: "square", 12: "hexagonal"},
        3: {
            2: "triclinic",
            4: "monoclinic",
            8: "orthorhombic",
            12: "rhombohedral",
            16: "tetragonal",
            24: "hexagonal",
            48: "cubic",
        },
    }
    name = systems[len(lattice)].get(order, f"of order {order}")
    if name == "cubic":
        # Shortest length cubed over the cell's volume: 1, 3 sqrt(3) / 4 and sqrt(2).
        packing = float(basis[0].norm() ** 3 / torch.linalg.det(basis).abs())
        kinds = {1.0: "simple", 0.75 * math.sqrt(3): "body-centred", math.sqrt(2): "face-centred"}
        name = kinds[min(kinds, key=lambda value: abs(value - packing))] + " cubic"
    if name == "rectangular" and abs(float(basis[0] @ basis[1])) > tolerance * float(
        basis[1].square().sum()
    ):
        name = "centred rectangular"
    return name


def whole_vectors(size: int, most: int) -> Int[Tensor, "m n"]:
    """Every whole vector whose entries are at most `most` in size."""
    entries = list(product(range(-most, most + 1), repeat=size))
    return torch.tensor(entries, dtype=torch.int64).reshape(len(entries), size)


def check_length(name: str, length: float) -> float:
    """The length, if it is one."""
    if not 0 < length < math.inf:
        raise ArgumentError(name, length, "a length > 0", "pass the edge of the cell")
    return length


def check_lattice(lattice: Tensor, most: int | None = None) -> None:
    """Raise unless the rows of a square matrix span their space.

    Args:
        lattice: primitive vectors as rows.
        most: largest dimension.
    """
    shape = list(lattice.shape)
    if lattice.dim() < 2 or shape[-1] != shape[-2] or not shape[-1]:
        raise ArgumentError("lattice", f"shape {shape}", "[n, n]", "pass primitive vectors as rows")
    if most is not None and (lattice.dim() != 2 or shape[0] > most):
        raise ArgumentError(
            "lattice", f"shape {shape}", f"[n, n] with n <= {most}", "pass one small lattice"
        )
    rows = lattice.detach()
    if not bool(rows.isfinite().all()):
        raise ArgumentError("lattice", "NaN or infinity", "finite numbers", "pass a basis")
    unit = rows / rows.norm(dim=-1, keepdim=True)
    # 0 / 0 is NaN, which is not > either.
    if not bool((torch.linalg.det(unit).abs() > 8 * torch.finfo(rows.dtype).eps).all()):
        raise ArgumentError(
            "lattice", "vectors that depend on each other", "n independent rows", "pass a basis"
        )
