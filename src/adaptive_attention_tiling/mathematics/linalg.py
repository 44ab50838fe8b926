"""Roots, norms and functions of symmetric matrices that can be differentiated twice anywhere.

For symmetric A = V diag(l) V^T and f(A) = V diag(f(l)) V^T (Daleckii and Krein, 1965; Higham,
Functions of Matrices, 2008, theorem 3.11; Bhatia, Matrix Analysis, 1997, section V.3), with
E~ = V^T E V,

    (V^T D f(A)[E] V)_ij      = f[l_i, l_j] E~_ij
    (V^T D^2 f(A)[E, H] V)_ij = sum_k f[l_i, l_k, l_j] (E~_ik H~_kj + H~_ik E~_kj)

so that equal eigenvalues, which autograd through `eigh` divides by, are like any others. Matrices
are [*b, n, n]; functions act on the symmetric part (A + A^T) / 2, so that gradients are symmetric.
Eigenvalues come with an error of about 1e-16 (float64) of the largest one.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError, UnsupportedError
from .divided_differences import EXP, EXPM1, INVERSE_SQRT, LOG, LOG1P, SQRT, ScalarFunction, power


def safe_sqrt(values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """sqrt(x), with value 0 and all derivatives 0 at x = 0; NaN below 0."""
    zero = values == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, values).sqrt())


def safe_norm(vectors: Float[Tensor, "*b n"], *, keepdim: bool = False) -> Float[Tensor, "*b"]:
    """|x| over the last axis, with value 0 and all derivatives 0 at x = 0.

    Entries are measured in units of the largest one, so that no square runs over or under.
    """
    unit = vectors.detach().abs().amax(-1, keepdim=True)
    unit = torch.where((unit > 0) & unit.isfinite(), unit, 1.0)
    norm = unit * safe_sqrt((vectors / unit).square().sum(-1, keepdim=True))
    return norm if keepdim else norm.squeeze(-1)


def symmetric_part(matrix: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """(A + A^T) / 2."""
    return (matrix + matrix.mT) / 2


def matrix_sqrt(matrix: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """A^(1/2), the positive definite root of a positive definite A."""
    return _matrix_function(matrix, SQRT)


def matrix_inverse_sqrt(matrix: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """A^(-1/2) of a positive definite A."""
    return _matrix_function(matrix, INVERSE_SQRT)


def matrix_log(matrix: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """log A, the symmetric logarithm of a positive definite A."""
    return _matrix_function(matrix, LOG)


def matrix_exp(matrix: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """e^A of a symmetric A; `torch.matrix_exp` is for others."""
    return _matrix_function(matrix, EXP)


def matrix_expm1(matrix: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """e^A - I of a symmetric A, to all digits where A is small."""
    return _matrix_function(matrix, EXPM1)


def matrix_log1p(matrix: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """log(I + A) of a symmetric A with eigenvalues above -1, to all digits where A is small."""
    return _matrix_function(matrix, LOG1P)


def matrix_power(matrix: Float[Tensor, "*b n n"], exponent: float) -> Float[Tensor, "*b n n"]:
    """A^p of a positive definite A, for any real p (a constant: no gradient reaches it)."""
    return _matrix_function(matrix, power(exponent))


def cholesky(
    matrix: Float[Tensor, "*b n n"], *, jitter: float = 0.0, name: str = "matrix"
) -> Float[Tensor, "*b n n"]:
    """L, lower triangular, of L L^T = A + jitter I.

    Args:
        matrix: positive definite, [*b, n, n].
        jitter: what is added to the diagonal, >= 0.
        name: what the matrix is called in an error.

    Raises:
        ArgumentError: not square, not finite, not symmetric, or not positive definite.
    """
    if not jitter >= 0:
        raise ArgumentError("jitter", jitter, "a number >= 0", "pass jitter=0.0")
    check_symmetric(name, matrix)
    moved = matrix + jitter * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    factor, info = torch.linalg.cholesky_ex(moved)
    if bool((info != 0).any()):
        raise _too_small(name, torch.linalg.eigvalsh(moved.detach()))
    return torch.as_tensor(factor)


def check_symmetric(name: str, matrix: Tensor) -> None:
    """Raise an ArgumentError unless this is [*b, n, n], finite and symmetric up to rounding.

    Rounding is sqrt(eps) of each matrix's largest entry: 1.5e-8 in float64, 3.5e-4 in float32.
    """
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2] or not matrix.is_floating_point():
        raise ArgumentError(
            name, f"{matrix.dtype} {list(matrix.shape)}", "floating [*b, n, n]", "pass matrices"
        )
    if not bool(matrix.isfinite().all()):
        raise ArgumentError(name, "NaN or infinity", "finite numbers", "look where they come from")
    if matrix.numel() == 0:
        return
    skew = (matrix - matrix.mT).detach().abs().amax((-2, -1))
    uneven = skew > torch.finfo(matrix.dtype).eps ** 0.5 * matrix.detach().abs().amax((-2, -1))
    if bool(uneven.any()):
        raise ArgumentError(
            name,
            f"A - A^T up to {float(skew[uneven].max()):.3g}",
            "a symmetric matrix",
            "pass (A + A^T) / 2",
        )


def check_positive_definite(name: str, matrix: Tensor) -> None:
    """Raise an ArgumentError unless this is symmetric with eigenvalues above 0."""
    check_symmetric(name, matrix)
    eigenvalues = torch.linalg.eigvalsh(symmetric_part(matrix.detach()))
    if bool((eigenvalues <= 0).any()):
        raise _too_small(name, eigenvalues)


def _too_small(name: str, eigenvalues: Tensor, above: float = 0.0) -> ArgumentError:
    return ArgumentError(
        name,
        f"smallest eigenvalue {float(eigenvalues.min()):.6g}",
        "a symmetric positive definite matrix" if above == 0 else f"eigenvalues above {above:g}",
        "add a multiple of the identity, or project the matrix",
    )


def _matrix_function(matrix: Tensor, function: ScalarFunction) -> Tensor:
    result: Tensor = _Function.apply(matrix, function)[0]  # type: ignore[no-untyped-call]
    return result


class _Function(torch.autograd.Function):
    """(A) -> f(A), l, V."""

    @staticmethod
    def forward(matrix: Tensor, function: ScalarFunction) -> tuple[Tensor, Tensor, Tensor]:
        check_symmetric("matrix", matrix)
        eigenvalues, vectors = torch.linalg.eigh(symmetric_part(matrix))
        if bool((eigenvalues <= function.above).any()):
            raise _too_small("matrix", eigenvalues, function.above)
        values = function.value(eigenvalues)
        return (vectors * values[..., None, :]) @ vectors.mT, eigenvalues, vectors

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        matrix, ctx.function = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(matrix, *output[1:])
        ctx.save_for_forward(matrix, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _First.apply(grads[0], *ctx.saved_tensors, ctx.function), None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        change = _First.apply(tangents[0], *ctx.saved_tensors, ctx.function)  # type: ignore[no-untyped-call]
        return change, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, matrix: Tensor, function: ScalarFunction) -> Any:
        return _Function.apply(matrix.movedim(in_dims[0], 0), function), 0  # type: ignore[no-untyped-call]


class _First(torch.autograd.Function):
    """(E, A) -> D f(A)[sym E]; l and V of A are handed on, and constants."""

    @staticmethod
    def forward(
        change: Tensor, matrix: Tensor, values: Tensor, vectors: Tensor, function: ScalarFunction
    ) -> Tensor:
        inside = vectors.mT @ symmetric_part(change) @ vectors
        slopes = function.first(values[..., :, None], values[..., None, :])
        return vectors @ (slopes * inside) @ vectors.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.function = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        change, matrix, values, vectors = ctx.saved_tensors
        first = _First.apply(grads[0], matrix, values, vectors, ctx.function)  # type: ignore[no-untyped-call]
        second = None
        if ctx.needs_input_grad[1]:
            second = _Second.apply(grads[0], change, values, vectors, ctx.function, matrix)  # type: ignore[no-untyped-call]
        return first, second, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        change, matrix, values, vectors = ctx.saved_tensors
        total = None
        if tangents[0] is not None:
            total = _First.apply(tangents[0], matrix, values, vectors, ctx.function)  # type: ignore[no-untyped-call]
        if tangents[1] is not None:
            bent = _Second.apply(tangents[1], change, values, vectors, ctx.function, matrix)  # type: ignore[no-untyped-call]
            total = bent if total is None else total + bent
        return total

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return _First.apply(*_leading(info, in_dims, inputs)), 0  # type: ignore[no-untyped-call]


class _Second(torch.autograd.Function):
    """(E, H; A) -> D^2 f(A)[sym E, sym H]."""

    @staticmethod
    def forward(
        one: Tensor,
        other: Tensor,
        values: Tensor,
        vectors: Tensor,
        function: ScalarFunction,
        matrix: Tensor,
    ) -> Tensor:
        e, h = (vectors.mT @ symmetric_part(x) @ vectors for x in (one, other))
        bends = function.second(
            values[..., :, None, None], values[..., None, :, None], values[..., None, None, :]
        )
        inside = torch.einsum("...ikj,...ik,...kj->...ij", bends, e, h)
        return vectors @ (inside + inside.mT) @ vectors.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise UnsupportedError("functions of matrices have first and second derivatives only")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return _Second.apply(*_leading(info, in_dims, inputs)), 0  # type: ignore[no-untyped-call]


def _leading(info: Any, in_dims: Any, inputs: Any) -> list[Any]:
    """Every tensor with the mapped axis first."""
    moved = []
    for x, axis in zip(inputs, in_dims, strict=True):
        if not isinstance(x, Tensor):
            moved.append(x)
        elif axis is None:
            moved.append(x.expand(info.batch_size, *x.shape))
        else:
            moved.append(x.movedim(axis, 0))
    return moved
