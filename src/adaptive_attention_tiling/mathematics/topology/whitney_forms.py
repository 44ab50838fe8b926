"""Whitney's inner products of simplicial cochains, from positions of the vertices."""

from __future__ import annotations

from math import factorial

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .exterior_algebra import compound, multi_indices
from .simplicial_complex import SimplicialComplex


def whitney_mass_matrix(
    complex_: SimplicialComplex, positions: Float[Tensor, "v D"], degree: int
) -> Float[Tensor, "n n"]:
    """M[s, t] = the integral of <W_s, W_t> over the facets, for k-simplices s and t.

    W_s = k! sum_i (-1)^i l_{s_i} d l_{s_0} wedge ... (without i) ... wedge d l_{s_k}, with the
    barycentric coordinates l, is the form whose integral over s is 1 and over other k-simplices
    0; d W = W d, so that d^T M_1 d is the stiffness matrix of linear elements (the cotangent
    Laplacian). Differentiable in the positions.

    Args:
        complex_: facets all of one dimension n.
        positions: of the vertices in the order of `simplices(0)`, in R^D with D >= n.
        degree: k.

    Raises:
        ArgumentError: for other shapes, facets of several dimensions, or flat facets.

    Source: Whitney, Geometric Integration Theory (1957), section IV.27; Arnold, Falk and Winther,
    Finite element exterior calculus, Acta Numerica 15 (2006), section 4.
    """
    n = complex_.dimension
    facets = complex_.simplices(n)
    if any(len(facet) != n + 1 for facet in complex_.facets()):
        raise ArgumentError(
            "complex_", "facets of several dimensions", "one dimension", "leave the small ones out"
        )
    if positions.dim() != 2 or len(positions) != complex_.count(0) or positions.shape[1] < n:
        raise ArgumentError(
            "positions",
            f"shape {list(positions.shape)}",
            f"[{complex_.count(0)}, D] with D >= {n}",
            "pass a point a vertex",
        )
    corners = positions[complex_.numbers(facets[..., None])]
    volume, products = _gradients(corners)
    coefficients = _first_factors(n, degree).to(positions)
    moments = (1 + torch.eye(n + 1).to(positions)) / ((n + 1) * (n + 2))
    minors = compound(products, degree)
    local = torch.einsum("sia,tjb,ij,fab->fst", coefficients, coefficients, moments, minors)
    local = factorial(degree) ** 2 * volume[:, None, None] * local
    faces = multi_indices(n + 1, degree + 1)
    numbers = torch.stack([complex_.numbers(facets[:, list(face)]) for face in faces], 1)
    rows, columns = numbers[:, :, None].expand_as(local), numbers[:, None, :].expand_as(local)
    empty = positions.new_zeros(complex_.count(degree), complex_.count(degree))
    return empty.index_put((rows, columns), local, accumulate=True)


def _gradients(corners: Tensor) -> tuple[Tensor, Tensor]:
    """The volume [f] of each facet and <grad l_a, grad l_b> [f, n+1, n+1]."""
    edges = corners[:, 1:] - corners[:, :1]
    n = edges.shape[1]
    factor, failed = torch.linalg.cholesky_ex(edges @ edges.mT)
    for place in failed.nonzero().flatten().tolist():
        raise ArgumentError(
            "positions", f"a flat facet, number {place}", "facets with a volume", "move a vertex"
        )
    inverse = torch.cholesky_inverse(factor)
    sums = torch.cat([-torch.ones(1, n).to(corners), torch.eye(n).to(corners)])
    return factor.diagonal(dim1=-2, dim2=-1).prod(-1) / factorial(n), sums @ inverse @ sums.mT


def _first_factors(n: int, degree: int) -> Tensor:
    """X[s, i, I] = (-1)^p where vertex i is the p-th one of s and I the other ones."""
    faces, rests = multi_indices(n + 1, degree + 1), multi_indices(n + 1, degree)
    table = torch.zeros(len(faces), n + 1, len(rests))
    for s, face in enumerate(faces):
        for p, vertex in enumerate(face):
            table[s, vertex, rests.index(face[:p] + face[p + 1 :])] = (-1) ** p
    return table
