"""The cohomological equation of a block map, f(K) - f(R(K)) / c = g(K), and free energies.

c_n(K) = sum_{j<n} c^-j g(R^j(K)) is a cocycle twisted by c: c_{m+n}(K) = c_m(K) + c^-m c_n(R^m(K)).
It is the coboundary of f where f solves the equation. Continuous f always does for c > 1 and
bounded g, by c_n's limit; a power series at a fixed point does unless a product of eigenvalues
there is c. The limit less the power series is what is singular at K*, and
f_sing(R(K)) = c f_sing(K) holds exactly.

Katok and Hasselblatt, Introduction to the Modern Theory of Dynamical Systems (1995), section 2.9;
Niemeijer and van Leeuwen, in Phase Transitions and Critical Phenomena 6 (1976), section II.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .block_map import BlockMap, applied
from .carleman import PowerSeries, carleman_matrix, check_order, solve_homological, taylor_series
from .fixed_points import FixedPoint

Inhomogeneity = Callable[[Tensor], Tensor]


class FreeEnergy(NamedTuple):
    """A sum over scales, and how much of it is missing."""

    value: Tensor
    """ln(partition function) a cell, - f / (k T) [*b]."""
    error: Tensor
    """Bound of the scales left out [*b], if |g| grows a step by no more than it last did; else an
    estimate: 0.5 % too small for moved bonds at K = 100, whose growth still rises to 2."""


def scale_cocycle(
    block_map: BlockMap,
    inhomogeneity: Inhomogeneity,
    couplings: Float[Tensor, "*b n"],
    cells: float,
    steps: int,
) -> Float[Tensor, "*b"]:
    """c_n(K) = sum over j < n of cells^-j g(R^j(K)): what n coarsenings leave behind.

    Args:
        block_map: R, of couplings [*b, n].
        inhomogeneity: g, from [*b, n] to [*b].
        couplings: K.
        cells: c = b^d, how many cells become one; 1 for no twist.
        steps: n >= 0.
    """
    return sum(
        _terms(block_map, inhomogeneity, couplings, cells, steps),
        torch.zeros_like(couplings[..., 0]),
    )


def free_energy(
    block_map: BlockMap,
    inhomogeneity: Inhomogeneity,
    couplings: Float[Tensor, "*b n"],
    cells: float,
    steps: int = 60,
) -> FreeEnergy:
    """f(K) = sum over j of cells^-j g(R^j(K)), which solves f(K) = f(R(K)) / cells + g(K).

    Args:
        block_map: R, of couplings [*b, n].
        inhomogeneity: g, from [*b, n] to [*b]. Differentiable through all terms; an n-th
            derivative at a fixed point converges while eigenvalue^n < cells.
        couplings: K.
        cells: c = b^d > 1.
        steps: terms, >= 2.

    Raises:
        ArgumentError: terms that do not fall, so that the sum does not converge.
    """
    if not 1 < cells < math.inf:
        raise ArgumentError("cells", cells, "a number > 1", "pass b^d")
    if steps < 2:
        raise ArgumentError("steps", steps, "2 or more", "pass 60")
    terms = _terms(block_map, inhomogeneity, couplings, cells, steps)
    last, before = terms[-1].detach().abs(), terms[-2].detach().abs()
    ratio = torch.where(last > 0, last / before, 0.0).clamp(min=1 / cells)
    if not bool((ratio < 1).all()):
        raise ArgumentError(
            "inhomogeneity",
            f"one whose terms grow {float(ratio.max()):.3g} times a step",
            f"|g| that grows more slowly than cells = {cells} times a step",
            "look where the flow goes, or pass the right number of cells",
        )
    return FreeEnergy(torch.stack(terms).sum(0), last * ratio / (1 - ratio))


def regular_free_energy(
    block_map: BlockMap,
    inhomogeneity: Inhomogeneity,
    fixed: FixedPoint,
    cells: float,
    order: int = 4,
) -> PowerSeries:
    """The power series at K* that solves f(K) = f(R(K)) / cells + g(K).

    What `free_energy` has beyond it, f_sing, obeys f_sing(R(K)) = cells f_sing(K), and so goes as
    |u|^(d / y) of the relevant scaling field, times a function periodic in ln |u|.

    Args:
        block_map: R.
        inhomogeneity: g, from [n] to [].
        fixed: K*.
        cells: c = b^d; 1 asks for invariance without a twist, which g(K*) = 0 must allow.
        order: largest degree, 1 to 8.

    Raises:
        ArgumentError: a product of eigenvalues up to the order is c. That is the obstruction: the
            class of g is not 0 among analytic cocycles, and f has a logarithm.
    """
    check_order(order)
    centre = fixed.couplings.detach()
    matrix = carleman_matrix(block_map, centre, order).detach()
    right = cells * taylor_series(inhomogeneity, centre, order).detach()
    values = fixed.eigenvalues.detach()
    return PowerSeries(centre, order, solve_homological(matrix, cells, right, 0, values, order))


def _terms(
    block_map: BlockMap, inhomogeneity: Inhomogeneity, couplings: Tensor, cells: float, steps: int
) -> list[Tensor]:
    terms = []
    for number in range(steps):
        term = inhomogeneity(couplings)
        if term.shape != couplings.shape[:-1]:
            raise ArgumentError(
                "inhomogeneity",
                f"couplings {list(couplings.shape)} sent to {list(term.shape)}",
                f"{list(couplings.shape[:-1])}",
                "give one number for each set of couplings",
            )
        terms.append(term * cells**-number)
        couplings = applied(block_map, couplings)
    return terms
