"""Symmetric tridiagonal systems, many at once, with gradients that are such systems too."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


def solve_tridiagonal(
    diagonal: Float[Tensor, "*n M"],
    beside: Float[Tensor, "*n M-1"],
    right: Float[Tensor, "*n M"],
) -> Float[Tensor, "*n M"]:
    """The x with beside_{i-1} x_{i-1} + diagonal_i x_i + beside_i x_{i+1} = right_i.

    Elimination without pivots (Thomas), O(M) and stable where diagonal_i exceeds |beside_{i-1}| +
    |beside_i|. As A is symmetric, the adjoint of x = A^-1 b is a solve with A: y = A^-1 dx,
    db = y, dA = -y x^T on the entries that A has.
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
    pivots, rows = [diagonal[..., 0]], [right[..., 0]]
    above = beside.unbind(-1)
    for i, (d, b) in enumerate(zip(diagonal.unbind(-1)[1:], right.unbind(-1)[1:], strict=True)):
        factor = above[i] / pivots[-1]
        pivots.append(d - factor * above[i])
        rows.append(b - factor * rows[-1])
    x = [rows[-1] / pivots[-1]]
    for i in range(len(above) - 1, -1, -1):
        x.append((rows[i] - above[i] * x[-1]) / pivots[i])
    return torch.stack(x[::-1], -1)
