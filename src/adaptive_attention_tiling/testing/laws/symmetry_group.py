"""Groups of symmetries: how far they move a pattern, and whether they are groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.crystal import SymmetryOperations

Group = SymmetryOperations | Tensor | Sequence[Callable[[Tensor], Tensor]]

_KINDS = (
    "SymmetryOperations beside a Crystal, or beside a tensor permutations [s, m] of its first axis "
    "or a list of functions"
)


class Crystal(NamedTuple):
    """Atoms in a periodic cell.

    Args:
        lattice: primitive vectors as rows, [n, n].
        positions: as fractions of them, [m, n].
        species: one number for each kind of atom, [m].
    """

    lattice: Float[Tensor, "n n"]
    positions: Float[Tensor, "m n"]
    species: Int[Tensor, " m"]


class Moved(NamedTuple):
    """What operations do to a pattern, in units of its spread or its longest vector.

    Args:
        pattern: how far each one moves it, [s].
        identity: how far the nearest one is from doing nothing, [].
        products: how far each product is from the nearest one, [s, s].
        inverses: how far the nearest one is from undoing each, [s].
    """

    pattern: Tensor
    identity: Tensor
    products: Tensor
    inverses: Tensor


def moved(pattern: Tensor | Crystal, group: Group, seed: int) -> Moved:
    """How far a group moves a pattern, and how far it is from a group.

    Functions are composed on a random tensor of the pattern's shape, for on the pattern itself all
    of its symmetries are alike.

    Raises:
        ArgumentError: another kind, no operation, or rows that are no permutations.
    """
    if isinstance(pattern, Crystal) and isinstance(group, SymmetryOperations):
        return _crystal_moved(pattern, group)
    if not isinstance(pattern, Tensor) or isinstance(group, SymmetryOperations):
        raise ArgumentError(
            "symmetry_group", f"{type(group).__name__} beside {type(pattern).__name__}", _KINDS,
            "pass one of these",
        )  # fmt: skip
    if not pattern.is_floating_point() or not pattern.numel():
        raise ArgumentError(
            "pattern", f"{pattern.dtype} {list(pattern.shape)}", "real numbers, one or more",
            "convert it, and stack real and imaginary parts",
        )  # fmt: skip
    maps = _maps(pattern, group)
    generator = torch.Generator().manual_seed(seed)
    probe = torch.randn(pattern.shape, generator=generator, dtype=torch.float64).to(pattern)
    once = [apply(probe) for apply in maps]
    if any(image.shape != probe.shape for image in once):
        raise ArgumentError(
            "symmetry_group", f"images {[list(image.shape) for image in once]}",
            f"{list(probe.shape)} each", "keep the pattern's shape",
        )  # fmt: skip
    images = torch.stack(once).flatten(1)
    # One product at a time: all of them at once would be s * s * s patterns.
    nearest, inverses = probe.new_empty(len(maps), len(maps)), probe.new_empty(len(maps))
    for row, image in enumerate(once):
        twice = torch.stack([late(image) for late in maps]).flatten(1)
        nearest[row] = torch.stack([_apart(product, images).amin() for product in twice])
        inverses[row] = _apart(twice, probe.flatten()).amin()
    unit = _spread(probe)
    away = torch.stack([_apart(apply(pattern).flatten(), pattern.flatten()) for apply in maps])
    return Moved(
        away / _spread(pattern), _apart(images, probe.flatten()).amin() / unit, nearest / unit,
        inverses / unit,
    )  # fmt: skip


def _maps(
    pattern: Tensor, group: Tensor | Sequence[Callable[[Tensor], Tensor]]
) -> list[Callable[[Tensor], Tensor]]:
    if isinstance(group, Tensor):
        wanted = torch.arange(len(pattern)) if pattern.dim() else torch.empty(0)
        whole = group.dim() == 2 and len(group) and not group.is_floating_point()
        if (
            not whole
            or group.shape[1] != len(wanted)
            or bool((group.sort(1).values.cpu() != wanted).any())
        ):
            raise ArgumentError(
                "symmetry_group", f"{group.dtype} {list(group.shape)}",
                f"permutations of 0 to {len(wanted) - 1}, [s, {len(wanted)}]",
                "say where each entry of the first axis comes from",
            )  # fmt: skip
        return [lambda u, row=row: u[row] for row in group]  # type: ignore[misc]
    if not isinstance(group, Sequence) or not group or not all(callable(g) for g in group):
        raise ArgumentError("symmetry_group", type(group).__name__, _KINDS, "pass one of these")
    return list(group)


def _apart(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().amax(-1)


def roundings_of(pattern: Tensor | Crystal) -> tuple[float, float]:
    """64 roundings, in units of the spread, of the pattern's largest entry and of one like it.

    Of a crystal there are none, and none of what is not finite.
    """
    if isinstance(pattern, Crystal):
        return 0.0, 0.0
    one = 64 * torch.finfo(pattern.dtype).eps
    share = float(pattern.abs().max() / _spread(pattern))
    return one * max(share, 1.0) if math.isfinite(share) else one, one


def _spread(pattern: Tensor) -> Tensor:
    """max - min, so that a small modulation of a large constant counts as what it is."""
    spread = pattern.max() - pattern.min()
    rounding = 8 * torch.finfo(pattern.dtype).eps * pattern.abs().max()
    return torch.where(spread > rounding, spread, pattern.abs().max().clamp(min=1e-300))


def _crystal_moved(crystal: Crystal, group: SymmetryOperations) -> Moved:
    rows = crystal.lattice.detach().double()
    fractions = crystal.positions.detach().double()
    whole, shifts = group.rotations.double(), group.translations.double()
    if not len(whole) or not len(fractions):
        raise ArgumentError("symmetry_group", "no operation or no atom", "one or more", "pass some")
    longest = rows.norm(dim=1).max()
    other = crystal.species[:, None] != crystal.species
    images = fractions @ whole + shifts[:, None]
    gaps = _lengths(images[:, :, None] - fractions, rows).masked_fill(other, math.inf)
    gram = rows @ rows.mT
    bent = (whole @ gram @ whole.mT - gram).abs().amax((1, 2)).sqrt()
    away = torch.maximum(gaps.amin(2).amax(1), torch.where(bent > 1e-6 * longest, bent, 0.0))
    products = whole[:, None] @ whole
    carried = torch.einsum("si,tij->stj", shifts, whole) + shifts
    nothing = torch.eye(len(rows), dtype=torch.float64), torch.zeros(len(rows)).double()
    nearest = _operations_apart(products[:, :, None], carried[:, :, None], whole, shifts, rows)
    undone = _operations_apart(products, carried, *nothing, rows)
    still = _operations_apart(whole, shifts, *nothing, rows)
    return Moved(
        away / longest, still.amin() / longest, nearest.amin(-1) / longest,
        undone.amin(-1) / longest,
    )  # fmt: skip


def _operations_apart(
    w: Tensor, t: Tensor, rotation: Tensor, shift: Tensor, rows: Tensor
) -> Tensor:
    """How far translations differ, or infinity where rotations do."""
    same = (w == rotation).all(-1).all(-1)
    return torch.where(same, _lengths(t - shift, rows), math.inf)


def _lengths(apart: Tensor, rows: Tensor) -> Tensor:
    """Of short vectors between points of a periodic cell, given as fractions."""
    lengths: Tensor = ((apart - apart.round()) @ rows).norm(dim=-1)
    return lengths
