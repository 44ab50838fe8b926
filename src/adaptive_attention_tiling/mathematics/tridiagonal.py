"""Symmetric tridiagonal systems, many at once, with gradients that are such systems too."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ..errors import ArgumentError


def solve_tridiagonal(
    diagonal: Float[Tensor, "*n M"],
    beside: Float[Tensor, "*n M-1"],
    right: Float[Tensor, "*n M"],
) -> Float[Tensor, "*n M"]:
    """The x with beside_{i-1} x_{i-1} + diagonal_i x_i + beside_i x_{i+1} = right_i.

    Cyclic reduction without pivots: O(M) work in O(log M) steps, stable where diagonal_i exceeds
    |beside_{i-1}| + |beside_i|. As A is symmetric, the adjoint of x = A^-1 b is a solve with A:
    y = A^-1 dx, db = y, dA = -y x^T on the entries that A has. Source: Buzbee, Golub and Nielson,
    "On direct methods for solving Poisson's equations", 1970.
    """
    if beside.shape[-1] + 1 != diagonal.shape[-1]:
        raise ArgumentError(
            "beside",
            f"{beside.shape[-1]} entries a row",
            f"{diagonal.shape[-1] - 1}, one between each two of the diagonal",
            "pass the entries next to the diagonal once",
        )
    shape = torch.broadcast_shapes(diagonal.shape, right.shape, (*beside.shape[:-1], 1))
    wide = (*shape[:-1], shape[-1] - 1)
    rows = diagonal.expand(shape), beside.expand(wide), right.expand(shape)
    solution: Tensor = _Solve.apply(*rows)  # type: ignore[no-untyped-call]
    return solution


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(diagonal: Tensor, beside: Tensor, right: Tensor) -> Tensor:
        return _eliminate(diagonal, beside, right)

    @staticmethod
    def setup_context(
        ctx: torch.autograd.function.FunctionCtx,
        inputs: tuple[Tensor, Tensor, Tensor],
        output: Tensor,
    ) -> None:
        ctx.save_for_backward(inputs[0], inputs[1], output)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        diagonal, beside, x = ctx.saved_tensors  # type: ignore[attr-defined]
        y = solve_tridiagonal(diagonal, beside, gradient)
        crossed = y[..., 1:] * x[..., :-1] + y[..., :-1] * x[..., 1:]
        return -y * x, -crossed, y


def _eliminate(diagonal: Tensor, beside: Tensor, right: Tensor) -> Tensor:
    """Without every second unknown the system is tridiagonal and symmetric again, and half as long.

    An odd unknown i is (right_i - beside_{i-1} x_{i-1} - beside_i x_{i+1}) / diagonal_i.
    """
    if diagonal.shape[-1] == 1:
        return right / diagonal
    pivot, known = diagonal[..., 1::2], right[..., 1::2]
    left, after = beside[..., ::2], beside[..., 1::2]  # of the odd ones; the last may have no after
    number = after.shape[-1]
    to_left, to_after = left / pivot, after / pivot[..., :number]
    spare = (0, diagonal.shape[-1] % 2)
    kept = _eliminate(
        diagonal[..., ::2] - pad(left * to_left, spare) - pad(after * to_after, (1, 0)),
        -left[..., :number] * to_after,
        right[..., ::2] - pad(to_left * known, spare) - pad(to_after * known[..., :number], (1, 0)),
    )
    odd = known / pivot - to_left * kept[..., : pivot.shape[-1]]
    odd = odd - pad(to_after * kept[..., 1:], (0, pivot.shape[-1] - number))
    solution = torch.empty_like(right)
    solution[..., ::2], solution[..., 1::2] = kept, odd
    return solution
