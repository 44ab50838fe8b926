"""Densities of states by linear interpolation in simplices of a periodic grid of wavevectors."""

from __future__ import annotations

from itertools import permutations, product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError


def states_below(
    energies: Float[Tensor, "*grid bands"], levels: Float[Tensor, " e"]
) -> Float[Tensor, " e"]:
    """N(E), number of states of a cell below each level: 0 under all bands, `bands` above them.

    The grid is cut into n! simplices (segments, triangles, tetrahedra) a cell, in which energies
    are interpolated linearly; each counts by the part of it that lies below E. The error is of
    the second order in the step of the grid, also where the density has its singularities.

    Args:
        energies: of bands or frequencies of phonons at k = sum (i_c / N_c) b_c, i_c = 0 to
            N_c - 1, b the reciprocal primitive vectors; one to three grid axes, then bands.
        levels: E.

    Lehmann and Taut, Phys. Status Solidi B 54 (1972) 469; Blochl, Jepsen and Andersen, Phys. Rev.
    B 49 (1994) 16223.
    """
    _check_grid(energies)
    if levels.dim() != 1 or not bool(levels.detach().isfinite().all()):
        raise ArgumentError("levels", f"shape {list(levels.shape)}", "finite [e]", "pass energies")
    corners = _simplices(energies)
    # One level at a time: memory is that of the corners.
    below = [_part_below(corners, level) for level in levels]
    total = torch.stack([part.sum() for part in below]) if below else levels.new_zeros(0)
    number: Tensor = total * (energies.shape[-1] / corners[..., 0].numel())
    return number


def histogram_of_states(
    energies: Float[Tensor, "*grid bands"], edges: Float[Tensor, " e"]
) -> Float[Tensor, " e-1"]:
    """g in each bin between ascending edges: (N(E_2) - N(E_1)) / (E_2 - E_1), N = `states_below`.

    Its integral over bins that hold all energies is the number of bands, exactly, and flat bands
    fill one bin; `density_of_states` spreads by a Gaussian instead, and its integral is 1.

    Args:
        energies: as in `states_below`.
        edges: of the bins, at least two.
    """
    if edges.dim() != 1 or len(edges) < 2 or not bool((edges.detach().diff() > 0).all()):
        raise ArgumentError("edges", f"shape {list(edges.shape)}", "ascending [e >= 2]", "sort")
    density: Tensor = states_below(energies, edges).diff() / edges.diff()
    return density


def _simplices(energies: Float[Tensor, "*grid bands"]) -> Float[Tensor, "simplices n+1"]:
    """Energies at the corners, ascending, of all simplices of all bands."""
    size = energies.dim() - 1
    offsets: Int[Tensor, "c n"] = torch.tensor(list(product((0, 1), repeat=size)))
    moved = {
        tuple(offset): energies.roll([-step for step in offset], list(range(size)))
        for offset in offsets.tolist()
    }
    pieces = []
    for order in permutations(range(size)):
        # From corner 0 one axis after another: the simplices of all orders fill the cube.
        walk = [
            tuple(int(axis in order[:steps]) for axis in range(size)) for steps in range(size + 1)
        ]
        pieces.append(torch.stack([moved[corner] for corner in walk], -1).flatten(0, -2))
    ordered: Tensor = torch.cat(pieces).sort(-1).values
    return ordered


def _part_below(corners: Float[Tensor, "s c"], level: Tensor) -> Float[Tensor, " s"]:
    """The part of each simplex where a linear function is below the level.

    It is the integral of the B-spline whose knots are the corners: a sum of B-splines of the next
    order over knots repeated beyond the last, by the recursion of Cox and de Boor, which adds
    positive terms only and takes equal corners as they come.
    """
    size = corners.shape[-1] - 1
    # Where they lie beyond the last corner and the level changes nothing.
    last = torch.maximum(corners[:, -1:], level).detach()
    step = 1 + corners.detach().abs().amax(-1, keepdim=True) + level.detach().abs()
    far = last + step * torch.arange(1, size + 2).to(corners)
    knots = torch.cat([corners, far], -1)
    splines = ((knots[:, :-1] <= level) & (level < knots[:, 1:])).to(corners)
    for order in range(1, size + 1):
        width = knots[:, order:] - knots[:, :-order]
        inverse = torch.where(width > 0, 1 / torch.where(width > 0, width, 1.0), 0.0)
        rising = (level - knots[:, :-order]) * inverse
        splines = rising[:, :-1] * splines[:, :-1] + (1 - rising)[:, 1:] * splines[:, 1:]
    return splines.sum(-1)


def _check_grid(energies: Tensor) -> None:
    if not 2 <= energies.dim() <= 4 or not energies.numel():
        raise ArgumentError(
            "energies",
            f"shape {list(energies.shape)}",
            "[*grid, bands] with one to three grid axes",
            "keep the grid's axes",
        )
    if not bool(energies.detach().isfinite().all()):
        raise ArgumentError("energies", "NaN or infinity", "finite numbers", "pass bands")
