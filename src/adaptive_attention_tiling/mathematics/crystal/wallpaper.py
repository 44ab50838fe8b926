"""The seventeen wallpaper groups, told by rotations, mirrors and glides."""

from __future__ import annotations

import math

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError
from .point_group import check_group
from .primitive_cell import primitive_translations
from .symmetry import SymmetryOperations

# By order of rotation and by what lines its reflections have: mirrors only, glides only, or both
# by turns, as in centred cells and across diagonals.
_GROUPS: dict[tuple[int, frozenset[str]], tuple[int, str]] = {
    (1, frozenset()): (1, "p1"),
    (2, frozenset()): (2, "p2"),
    (1, frozenset({"mirror"})): (3, "pm"),
    (1, frozenset({"glide"})): (4, "pg"),
    (1, frozenset({"both"})): (5, "cm"),
    (2, frozenset({"mirror"})): (6, "p2mm"),
    (2, frozenset({"mirror", "glide"})): (7, "p2mg"),
    (2, frozenset({"glide"})): (8, "p2gg"),
    (2, frozenset({"both"})): (9, "c2mm"),
    (4, frozenset()): (10, "p4"),
    (4, frozenset({"mirror", "both"})): (11, "p4mm"),
    (4, frozenset({"glide", "both"})): (12, "p4gm"),
    (3, frozenset()): (13, "p3"),
    (6, frozenset()): (16, "p6"),
    (6, frozenset({"both"})): (17, "p6mm"),
}


def wallpaper_group(operations: SymmetryOperations) -> tuple[int, str]:
    """Number (1 to 17) and short Hermann-Mauguin symbol of a group of the plane.

    A reflection W with translation t has as its square the translation t + t W = alpha v, v the
    shortest lattice vector along its line. Steps of the lattice change alpha by every whole
    number (the reflection has mirrors and glides) or by even ones only (mirrors if alpha is even,
    glides if it is odd). The order of rotation and these kinds tell all groups but p3m1 and p31m
    apart; there v and v turned by a third span every third lattice point or every one.

    Args:
        operations: as `symmetry_operations` finds them. Of a cell of several primitive ones,
            those that keep it are named: pass a primitive or centred cell for the pattern's own.

    International Tables for Crystallography A (2016), section 2.2; Schattschneider, Amer. Math.
    Monthly 85 (1978) 439.
    """
    if operations.rotations.shape[-1] != 2:
        shape = list(operations.rotations.shape)
        raise ArgumentError("operations", f"rotations {shape}", "[s, 2, 2]", "pass a plane's")
    check_group(operations.rotations.unique(dim=0))
    cell = primitive_translations(operations)
    inverse = torch.linalg.inv(cell)
    rotations = (cell @ operations.rotations.double() @ inverse).round().long()
    shifts = operations.translations.double() @ inverse
    proper = rotations[:, 0, 0] * rotations[:, 1, 1] > rotations[:, 0, 1] * rotations[:, 1, 0]
    turns = rotations[proper].unique(dim=0)
    lines = {
        tuple(whole.flatten().tolist()): (whole, shift)
        for whole, shift in zip(rotations[~proper], shifts[~proper], strict=True)
    }
    if len(turns) == 3 and lines:
        along = _line(next(iter(lines.values()))[0])
        third = turns[turns.diagonal(dim1=1, dim2=2).sum(1) == -1][0]
        turned = along @ third
        return (15, "p31m") if abs(_cross(along, turned)) == 1 else (14, "p3m1")
    kinds = frozenset(_kind(whole, shift) for whole, shift in lines.values())
    return _GROUPS[len(turns), kinds]


def _line(whole: Int[Tensor, "2 2"]) -> Int[Tensor, " 2"]:
    """The shortest lattice vector that a reflection leaves alone."""
    rows = whole + torch.eye(2, dtype=whole.dtype)
    row = rows[int(rows.abs().sum(1).argmax())]
    along: Tensor = row // math.gcd(*row.tolist())
    return along


def _kind(whole: Int[Tensor, "2 2"], shift: Tensor) -> str:
    along = _line(whole)
    axis = int(along.abs().argmax())
    steps = (whole + torch.eye(2, dtype=whole.dtype))[:, axis] // along[axis]
    if math.gcd(*steps.tolist()) == 1:
        return "both"
    square = shift + shift @ whole.to(shift)
    return "glide" if round(float(square[axis]) / int(along[axis])) % 2 else "mirror"


def _cross(first: Tensor, second: Tensor) -> int:
    return int(first[0] * second[1] - first[1] * second[0])
