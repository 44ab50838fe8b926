"""Names of crystallographic point groups, told by counting rotations and mirrors."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError

# By order, twofold axes, mirrors and proper quarter turns.
_POINT_GROUPS = {
    (1, 0, 0, 0): "1",
    (2, 0, 0, 0): "-1",
    (2, 1, 0, 0): "2",
    (2, 0, 1, 0): "m",
    (4, 1, 1, 0): "2/m",
    (4, 3, 0, 0): "222",
    (4, 1, 2, 0): "mm2",
    (8, 3, 3, 0): "mmm",
    (4, 1, 0, 2): "4",
    (4, 1, 0, 0): "-4",
    (8, 1, 1, 2): "4/m",
    (8, 5, 0, 2): "422",
    (8, 1, 4, 2): "4mm",
    (8, 3, 2, 0): "-42m",
    (16, 5, 5, 2): "4/mmm",
    (3, 0, 0, 0): "3",
    (6, 0, 0, 0): "-3",
    (6, 3, 0, 0): "32",
    (6, 0, 3, 0): "3m",
    (12, 3, 3, 0): "-3m",
    (6, 1, 0, 0): "6",
    (6, 0, 1, 0): "-6",
    (12, 1, 1, 0): "6/m",
    (12, 7, 0, 0): "622",
    (12, 1, 6, 0): "6mm",
    (12, 3, 4, 0): "-6m2",
    (24, 7, 7, 0): "6/mmm",
    (12, 3, 0, 0): "23",
    (24, 3, 3, 0): "m-3",
    (24, 9, 0, 6): "432",
    (24, 3, 6, 0): "-43m",
    (48, 9, 9, 6): "m-3m",
}
# By order and mirrors.
_PLANE_POINT_GROUPS = {
    (1, 0): "1",
    (2, 0): "2",
    (2, 1): "m",
    (4, 2): "2mm",
    (4, 0): "4",
    (8, 4): "4mm",
    (3, 0): "3",
    (6, 3): "3m",
    (6, 0): "6",
    (12, 6): "6mm",
}


def point_group_symbol(rotations: Int[Tensor, "s n n"]) -> str:
    """Hermann-Mauguin symbol of the group of whole matrices, in one to three dimensions.

    Traces and determinants are the same in every basis: in space a twofold axis has trace -1 and
    determinant 1, a mirror 1 and -1, a quarter turn 1 and 1. With the order they tell the 32
    groups apart.

    Args:
        rotations: W, a group; repeated ones count once.

    International Tables for Crystallography A (2016), tables 1.2.2.1 and 3.2.1.3.
    """
    shape = list(rotations.shape)
    if rotations.dim() != 3 or shape[1] != shape[2] or not 1 <= shape[1] <= 3 or not shape[0]:
        raise ArgumentError("rotations", f"shape {shape}", "[s, n, n] with n <= 3", "pass W")
    distinct = rotations.unique(dim=0)
    size, order = shape[1], len(distinct)
    check_group(distinct)
    traces = distinct.diagonal(dim1=1, dim2=2).sum(1)
    proper = torch.linalg.det(distinct.double()) > 0
    mirrors = int((~proper & (traces == size - 2)).sum())
    twofold, quarter = int((proper & (traces == -1)).sum()), int((proper & (traces == 1)).sum())
    if size == 1:
        return "m" if mirrors else "1"
    if size == 2:
        return _PLANE_POINT_GROUPS[order, mirrors]
    return _POINT_GROUPS[order, twofold, mirrors, quarter]


def check_group(distinct: Int[Tensor, "s n n"]) -> None:
    """Raise unless distinct whole matrices, in ascending order, are a group."""
    # A finite set of whole matrices that holds its products is a group, if none is singular.
    products = (distinct[:, None] @ distinct).flatten(0, 1).unique(dim=0)
    singular = (torch.linalg.det(distinct.double()).round().abs() != 1).any()
    if bool(singular) or products.shape != distinct.shape or not torch.equal(products, distinct):
        raise ArgumentError(
            "rotations",
            f"{len(distinct)} matrices that are no group",
            "one that holds its products",
            "pass those of symmetry_operations(...)",
        )
