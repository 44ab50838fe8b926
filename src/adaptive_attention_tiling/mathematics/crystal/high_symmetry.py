"""High-symmetry wavevectors of lattices, and paths between them along which bands are drawn."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...optional import require
from .lattice import (
    bases_of_metric,
    check_lattice,
    lattice_system,
    minkowski_reduced,
    reciprocal_lattice,
)

Coordinates = dict[str, tuple[float, ...]]
_G3 = (0.0, 0.0, 0.0)
_H = 0.5
_THIRD = 1 / 3
_PLANE: Coordinates = {"Γ": (0.0, 0.0), "X": (_H, 0.0), "Y": (0.0, _H), "S": (_H, _H)}
# By dimension and system: in units of the reciprocal vectors of the standard basis, and the path.
_TABLES: dict[tuple[int, str], tuple[Coordinates, str]] = {
    (1, "chain"): ({"Γ": (0.0,), "X": (_H,)}, "Γ X"),
    (2, "oblique"): (_PLANE, "Γ X S Y Γ S"),
    (2, "rectangular"): (_PLANE, "Γ X S Y Γ S"),
    (2, "centred rectangular"): ({"Γ": (0.0, 0.0), "Y": (_H, _H), "S": (_H, 0.0)}, "Γ Y S Γ"),
    (2, "square"): ({"Γ": (0.0, 0.0), "X": (_H, 0.0), "M": (_H, _H)}, "Γ X M Γ"),
    (2, "hexagonal"): (
        {"Γ": (0.0, 0.0), "M": (_H, _H), "K": (2 * _THIRD, _THIRD)},
        "Γ M K Γ",
    ),
    (3, "simple cubic"): (
        {"Γ": _G3, "X": (0.0, _H, 0.0), "M": (_H, _H, 0.0), "R": (_H, _H, _H)},
        "Γ X M Γ R X|R M",
    ),
    (3, "face-centred cubic"): (
        {
            "Γ": _G3,
            "X": (_H, 0.0, _H),
            "L": (_H, _H, _H),
            "W": (_H, 0.25, 0.75),
            "K": (0.375, 0.375, 0.75),
            "U": (0.625, 0.25, 0.625),
        },
        "Γ X U|K Γ L W X",
    ),
    (3, "body-centred cubic"): (
        {"Γ": _G3, "H": (_H, -_H, _H), "P": (0.25, 0.25, 0.25), "N": (0.0, 0.0, _H)},
        "Γ H N Γ P H|P N",
    ),
    (3, "tetragonal"): (
        {
            "Γ": _G3,
            "X": (0.0, _H, 0.0),
            "M": (_H, _H, 0.0),
            "Z": (0.0, 0.0, _H),
            "R": (0.0, _H, _H),
            "A": (_H, _H, _H),
        },
        "Γ X M Γ Z R A Z|X R|M A",
    ),
    (3, "orthorhombic"): (
        {
            "Γ": _G3,
            "X": (_H, 0.0, 0.0),
            "Y": (0.0, _H, 0.0),
            "Z": (0.0, 0.0, _H),
            "S": (_H, _H, 0.0),
            "U": (_H, 0.0, _H),
            "T": (0.0, _H, _H),
            "R": (_H, _H, _H),
        },
        "Γ X S Y Γ Z U R T Z|X U|Y T|S R",
    ),
    (3, "hexagonal"): (
        {
            "Γ": _G3,
            "M": (_H, _H, 0.0),
            "K": (2 * _THIRD, _THIRD, 0.0),
            "A": (0.0, 0.0, _H),
            "L": (_H, _H, _H),
            "H": (2 * _THIRD, _THIRD, _H),
        },
        "Γ M K Γ A L H A|L M|H K",
    ),
}


class SymmetryPoints(NamedTuple):
    """Named wavevectors of a lattice, and the runs of a path through them."""

    wavevectors: Mapping[str, Tensor]
    """By label, [n] in radians a unit of length."""
    path: tuple[tuple[str, ...], ...]
    """Runs of labels; between runs the path jumps."""


class BandPath(NamedTuple):
    """Wavevectors along a path, for bands to be computed at and drawn over `distances`."""

    wavevectors: Tensor
    """[p, n], both ends of each segment among them."""
    distances: Tensor
    """[p], from 0: length travelled, to which jumps add nothing."""
    ticks: tuple[tuple[int, str], ...]
    """Index and label of each end; a jump has two in succession, at one distance."""


def high_symmetry_points(lattice: Float[Tensor, "n n"], tolerance: float = 1e-5) -> SymmetryPoints:
    """Points whose group is larger than that of their neighbours, with a usual path.

    Tables serve the chain, the five nets of the plane, and in space the three cubic lattices and
    the primitive tetragonal, orthorhombic and hexagonal ones, in any basis. Of these, labels and
    paths are those of seekpath for a crystal as symmetric as its lattice. Other lattices of space
    have points that move with the shape of the cell, and are asked of seekpath (extra `crystal`).

    Args:
        lattice: primitive vectors as rows. The wavevectors are differentiable in it where a table
            serves.
        tolerance: as in `lattice_system`.

    Raises:
        MissingDependencyError: no table serves, and seekpath is not installed.

    Hinuma, Pizzi, Kumagai, Oba and Tanaka, Comput. Mater. Sci. 128 (2017) 140, tables 69 to 92.
    """
    system = lattice_system(lattice, tolerance)
    size = len(lattice)
    basis, transform = minkowski_reduced(lattice.detach().double())
    found = bases_of_metric(basis, _standard_metric(system, basis), 2 * tolerance).double()
    if (size, system) not in _TABLES or not len(found):
        return _points_of_seekpath(lattice, system, tolerance)
    coordinates, path = _TABLES[size, system]
    # Among equal bases the one nearest to what was given, so that standard ones stay; next, the
    # one with few signs.
    totals = found @ transform.double()
    changes = (totals - torch.eye(size, dtype=torch.float64)).abs().sum((1, 2))
    changes = changes - 0.01 * totals.sum((1, 2))
    standard = totals[changes.argmin()].to(lattice) @ lattice
    reciprocal = reciprocal_lattice(standard)
    wavevectors = {
        label: lattice.new_tensor(fractions) @ reciprocal
        for label, fractions in coordinates.items()
    }
    return SymmetryPoints(wavevectors, tuple(tuple(run.split()) for run in path.split("|")))


def band_path(
    points: SymmetryPoints, count: int, path: Sequence[Sequence[str]] | None = None
) -> BandPath:
    """About `count` wavevectors along straight lines from point to point, evenly far apart.

    Args:
        points: named wavevectors, as `high_symmetry_points` finds them or of one's own.
        count: steps in all; each segment takes its share, at least one.
        path: runs of labels; none for the path of `points`.

    Raises:
        ArgumentError: an unknown label, a run of fewer than two, or a step of no length.
    """
    runs = points.path if path is None else path
    unknown = {label for run in runs for label in run} - set(points.wavevectors)
    if unknown or not runs or any(len(run) < 2 for run in runs):
        raise ArgumentError(
            "path",
            f"{[list(run) for run in runs]}",
            f"runs of two or more of {', '.join(points.wavevectors)}",
            "name known points",
        )
    if count < 1:
        raise ArgumentError("count", count, "a whole number >= 1", "ask for some wavevectors")
    corners = [torch.stack([points.wavevectors[label] for label in run]) for run in runs]
    lengths = [run.diff(dim=0).norm(dim=1) for run in corners]
    total = sum(float(run.detach().sum()) for run in lengths)
    if any(bool((run.detach() == 0).any()) for run in lengths):
        raise ArgumentError("path", "a step from a point to itself", "distinct points", "drop it")
    wavevectors, distances, ticks = [], [], []
    travelled, index = lengths[0].new_zeros(()), 0
    for run, run_corners, run_lengths in zip(runs, corners, lengths, strict=True):
        wavevectors.append(run_corners[:1])
        distances.append(travelled[None])
        ticks.append((index, run[0]))
        for label, start, end, length in zip(
            run[1:], run_corners[:-1], run_corners[1:], run_lengths, strict=True
        ):
            steps = max(1, round(count * float(length.detach()) / total))
            share = torch.arange(1, steps + 1).to(length) / steps
            wavevectors.append(start + share[:, None] * (end - start))
            distances.append(travelled + share * length)
            travelled, index = travelled + length, index + steps
            ticks.append((index, label))
        index += 1
    return BandPath(torch.cat(wavevectors), torch.cat(distances), tuple(ticks))


def _standard_metric(system: str, basis: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Inner products of the basis that a table counts in, if the lattice is primitive."""
    products = basis @ basis.T
    squares = products.diagonal()
    first, last = float(squares[0]), float(squares[-1])
    ones, unit = torch.ones_like(products), torch.eye(len(basis), dtype=basis.dtype)
    if system in ("face-centred cubic", "body-centred cubic"):
        cosine = _H if system.startswith("face") else -_THIRD
        return first * (cosine * ones + (1 - cosine) * unit)
    if system == "hexagonal":
        # The axis is the row that is across to both others.
        axis = int(products.abs().sum(1).sub(squares).argmin())
        edge = first if len(basis) == 2 or axis else last
        plane = edge * basis.new_tensor([[1.0, _H], [_H, 1.0]])
        return torch.block_diag(plane, squares[axis].reshape(1, 1)) if len(basis) == 3 else plane
    if system == "tetragonal":
        middle = float(squares[1])
        edge, height = (first, last) if middle - first <= last - middle else (last, first)
        return torch.diag(squares.new_tensor([edge, edge, height]))
    if system == "centred rectangular":
        rhombic = first if 2 * abs(float(products[0, 1])) < first * (1 - 1e-4) else last
        across = abs(float(products[0, 1])) if rhombic == first else last - first / 2
        return squares.new_tensor([[rhombic, across], [across, rhombic]])
    if system == "oblique":
        # Acute, so that S lies on the border of the zone.
        return products.abs()
    return torch.diag(squares)


def _points_of_seekpath(lattice: Tensor, system: str, tolerance: float) -> SymmetryPoints:
    check_lattice(lattice, most=3)
    seekpath: Any = require("seekpath", "crystal", f"the path of a {system} lattice")
    rows = lattice.detach().double()
    rows = rows / rows.norm(dim=1).max()
    with warnings.catch_warnings():
        # Of how spglib will report errors one day, and of cells between two kinds.
        warnings.simplefilter("ignore")
        found = seekpath.get_path_orig_cell((rows.tolist(), [[0.0] * 3], [1]), symprec=tolerance)
    reciprocal = reciprocal_lattice(lattice)
    wavevectors = {
        _label(label): lattice.new_tensor([float(x) for x in fractions]) @ reciprocal
        for label, fractions in found["point_coords"].items()
    }
    runs: list[list[str]] = []
    for start, end in found["path"]:
        if not runs or runs[-1][-1] != _label(start):
            runs.append([_label(start)])
        runs[-1].append(_label(end))
    return SymmetryPoints(wavevectors, tuple(map(tuple, runs)))


def _label(name: str) -> str:
    for word, letter in (("GAMMA", "Γ"), ("SIGMA", "Σ"), ("DELTA", "Δ"), ("LAMBDA", "Λ")):
        name = name.replace(word, letter)
    return name
