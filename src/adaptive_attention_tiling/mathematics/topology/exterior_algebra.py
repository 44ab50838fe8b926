"""Alternating forms on R^n by components, in the order of increasing multi-indices.

The components of a k-form are those of e^I = e^{i_1} wedge ... wedge e^{i_k} with
i_1 < ... < i_k, sorted lexicographically: C(n, k) of them on the last axis.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError


@lru_cache(maxsize=256)
def multi_indices(dimension: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """The increasing k-tuples of 0 ... n-1, lexicographically; none for k < 0 or k > n."""
    return tuple(combinations(range(dimension), degree)) if degree >= 0 else ()


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept serves training too
def wedge_table(dimension: int, first: int, second: int) -> Int[Tensor, "i j k"]:
    """T[I, J, K] in e^I wedge e^J = sum_K T[I, J, K] e^K, each 0, 1 or -1; int8."""
    lefts, rights, outs = (
        multi_indices(dimension, degree) for degree in (first, second, first + second)
    )
    table = torch.zeros(len(lefts), len(rights), len(outs), dtype=torch.int8)
    places = {index: place for place, index in enumerate(outs)}
    for i, left in enumerate(lefts):
        for j, right in enumerate(rights):
            if not set(left) & set(right):
                inversions = sum(x > y for x in left for y in right)
                table[i, j, places[tuple(sorted(left + right))]] = (-1) ** inversions
    return table


def wedge_components(
    first: Float[Tensor, "*b i"],
    second: Float[Tensor, "*b j"],
    dimension: int,
    first_degree: int,
    second_degree: int,
) -> Float[Tensor, "*b k"]:
    """(a wedge b)_K = sum over I and J with union K of sign(I, J) a_I b_J.

    Args:
        first: the components of a, [*b, C(n, p)].
        second: the components of b, [*b, C(n, q)].
        dimension, first_degree, second_degree: n, p, q.

    Source: Lee, Introduction to Smooth Manifolds (2013), chapter 14, with the convention
    e^1 wedge e^2 (e_1, e_2) = 1 (the determinant convention).
    """
    check_components("first", first, dimension, first_degree)
    check_components("second", second, dimension, second_degree)
    table = wedge_table(dimension, first_degree, second_degree).to(first)
    return torch.einsum("...i,...j,ijk->...k", first, second, table)


def contraction(
    vector: Float[Tensor, "*b n"], components: Float[Tensor, "*b k"], degree: int
) -> Float[Tensor, "*b m"]:
    """(i_X a)_I = sum_j X^j a_{jI}: the vector is put in the first place; 0 for degree 0."""
    dimension = vector.shape[-1]
    check_components("components", components, dimension, degree)
    table = wedge_table(dimension, 1, degree - 1).to(components)
    return torch.einsum("...j,...k,jik->...i", vector, components, table)


def compound(matrix: Float[Tensor, "*b n m"], degree: int) -> Float[Tensor, "*b i j"]:
    """The minors det A[I, J] of order k, which are what A does to k-vectors.

    They are built as wedge products of rows, so that every derivative exists, at singular
    matrices too. Source: Horn and Johnson, Matrix Analysis (2013), section 0.8.1.
    """
    *batch, rows, columns = matrix.shape
    result = matrix.new_ones(*batch, 1, 1)
    for size in range(1, degree + 1):
        lower = {index: place for place, index in enumerate(multi_indices(rows, size - 1))}
        indices = multi_indices(rows, size)
        first = matrix[..., [index[0] for index in indices], :]
        rest = result[..., [lower[index[1:]] for index in indices], :]
        result = wedge_components(first, rest, columns, 1, size - 1)
    return result


def star_components(
    components: Float[Tensor, "*b k"], degree: int, metric: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b m"]:
    """Hodge star: a wedge star b = <a, b> sqrt(det g) e^1 wedge ... wedge e^n.

    (star b)_J = sqrt(det g) sign(I, J) b^I with J the complement of I and b^I = sum over K of
    det(g^{-1})[I, K] b_K. Then star star b = (-1)^{k(n-k)} b.

    Args:
        components: b, [*b, C(n, k)].
        degree: k.
        metric: g_ij, [*b, n, n], symmetric positive definite.

    Raises:
        ArgumentError: for a matrix that is not positive definite.

    Source: Lee (2013), problem 16-18.
    """
    dimension = metric.shape[-1]
    check_components("components", components, dimension, degree)
    factor = checked_cholesky(metric)
    raised = compound(torch.cholesky_inverse(factor), degree) @ components[..., None]
    table = wedge_table(dimension, degree, dimension - degree)[..., 0].to(components)
    volume = factor.diagonal(dim1=-2, dim2=-1).prod(-1, keepdim=True)
    return volume * (raised[..., 0] @ table)


def checked_cholesky(metric: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """The lower triangular L with L L^T = g, or an ArgumentError where there is none."""
    try:
        factor: Tensor = torch.linalg.cholesky(metric)
    except RuntimeError as error:  # torch.linalg.LinAlgError is one
        if "positive-definite" not in str(error):
            raise
        raise ArgumentError(
            "metric",
            "a matrix that is not positive definite",
            "symmetric positive definite matrices",
            "add a multiple of the identity",
        ) from error
    return factor


def check_components(name: str, tensor: Tensor, dimension: int, degree: int) -> None:
    """Raise an ArgumentError unless the last axis holds the components of a k-form on R^n."""
    expected = len(multi_indices(dimension, degree))
    if tensor.dim() < 1 or tensor.shape[-1] != expected or not tensor.is_floating_point():
        raise ArgumentError(
            name,
            f"{tensor.dtype} {list(tensor.shape)}",
            f"floating [..., {expected}] for degree {degree} on R^{dimension}",
            "give a component to every increasing multi-index",
        )
