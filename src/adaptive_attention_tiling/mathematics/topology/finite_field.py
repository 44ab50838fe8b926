"""Linear algebra over the field of p elements, on int64 tensors."""

from __future__ import annotations

from math import isqrt, prod

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ...errors import ArgumentError


def check_residue_prime(prime: int) -> int:
    """Return `prime` if it is a prime below 2^31, so that products of residues fit int64.

    Raises:
        ArgumentError: for anything else; a composite is told with its least factor.
    """
    if isinstance(prime, bool) or not isinstance(prime, int) or not 2 <= prime < 2**31:
        raise ArgumentError("prime", prime, "a prime from 2 to 2^31 - 1", "pass a smaller prime")
    factor = next((d for d in range(2, isqrt(prime) + 1) if prime % d == 0), None)
    if factor is not None:
        raise ArgumentError(
            "prime",
            f"{prime} = {factor} * {prime // factor}",
            "a prime",
            "residues of a composite are no field",
        )
    return prime


def row_reduce(
    matrix: Int[Tensor, "*b n m"], prime: int
) -> tuple[Int[Tensor, "*b n m"], Bool[Tensor, "*b m"]]:
    """The reduced row echelon form over F_p, and which columns hold a pivot.

    Args:
        matrix: [*b, n, m] integers, taken modulo p.
        prime: p.

    Source: Cohen, A Course in Computational Algebraic Number Theory (1993), section 2.3.
    """
    check_residue_prime(prime)
    _check_integer("matrix", matrix)
    *batch, rows, columns = matrix.shape
    work = (matrix.to(torch.int64) % prime).reshape(prod(batch), rows, columns)
    pivots = torch.zeros(len(work), columns, dtype=torch.bool, device=matrix.device)
    ranks = torch.zeros(len(work), dtype=torch.int64, device=matrix.device)
    places = torch.arange(rows, device=matrix.device)
    each = torch.arange(len(work), device=matrix.device)
    for column in range(columns if rows else 0):
        usable = (work[:, :, column] != 0) & (places >= ranks[:, None])
        found = usable.any(1)
        source = usable.to(torch.int8).argmax(1)
        target = ranks.clamp_max(rows - 1)
        source = torch.where(found, source, target)
        pivot_row, other = work[each, source], work[each, target]
        work[each, source] = other
        pivot_row = pivot_row * inverse_modulo(pivot_row[:, column], prime)[:, None] % prime
        eliminated = (work - work[:, :, column, None] * pivot_row[:, None, :]) % prime
        eliminated[each, target] = pivot_row
        work = torch.where(found[:, None, None], eliminated, work)
        pivots[:, column] = found
        ranks = ranks + found
    return work.reshape(matrix.shape), pivots.reshape(*batch, columns)


def inverse_modulo(residues: Int[Tensor, "*b"], prime: int) -> Int[Tensor, "*b"]:
    """x^(p-2) modulo p, the inverse of x by Fermat's little theorem; 0 for x = 0 if p > 2."""
    power, base, exponent = torch.ones_like(residues), residues % prime, prime - 2
    while exponent:
        if exponent & 1:
            power = power * base % prime
        base = base * base % prime
        exponent >>= 1
    return power


def rank(matrix: Int[Tensor, "*b n m"], prime: int) -> Int[Tensor, "*b"]:
    """The rank over F_p of each matrix."""
    return row_reduce(matrix, prime)[1].sum(-1)


def null_space(matrix: Int[Tensor, "n m"], prime: int) -> Int[Tensor, "m k"]:
    """A basis of {x : A x = 0 mod p}, one column a vector; each free variable is 1 once."""
    _check_one_matrix(matrix)
    reduced, pivots = row_reduce(matrix, prime)
    free = (~pivots).nonzero().flatten()
    basis = matrix.new_zeros((matrix.shape[1], len(free)), dtype=torch.int64)
    basis[free, torch.arange(len(free), device=matrix.device)] = 1
    basis[pivots] = -reduced[: int(pivots.sum())][:, free] % prime
    return basis


def solve(
    matrix: Int[Tensor, "n m"], right: Int[Tensor, "n k"], prime: int
) -> Int[Tensor, "m k"] | None:
    """An X with A X = B modulo p, or None if there is none; free variables are 0."""
    _check_one_matrix(matrix)
    if right.dim() != 2 or len(right) != len(matrix):
        raise ArgumentError(
            "right", f"shape {list(right.shape)}", f"[{len(matrix)}, k]", "pass a row an equation"
        )
    columns = matrix.shape[1]
    reduced, pivots = row_reduce(torch.cat([matrix, right], 1), prime)
    if bool(pivots[columns:].any()):
        return None
    solution = matrix.new_zeros((columns, right.shape[1]), dtype=torch.int64)
    solution[pivots[:columns]] = reduced[: int(pivots.sum()), columns:]
    return solution


def _check_integer(name: str, tensor: Tensor) -> None:
    if tensor.dim() < 2 or tensor.is_floating_point() or tensor.is_complex():
        raise ArgumentError(
            name,
            f"{tensor.dtype} {list(tensor.shape)}",
            "integers [..., n, m]",
            "round it yourself if rounding is meant",
        )


def _check_one_matrix(matrix: Tensor) -> None:
    _check_integer("matrix", matrix)
    if matrix.dim() != 2:
        raise ArgumentError(
            "matrix", f"shape {list(matrix.shape)}", "[n, m]", "pass one matrix at a time"
        )
