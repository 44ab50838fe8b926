"""The linear-quadratic regulator, batched and differentiable."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

_SIGN_STEPS = 60
_NEWTON_STEPS = 2
_NO_SOLUTION = (
    "inputs",
    "a system without a stabilising solution",
    "(A, B) stabilisable and (Q, A) detectable",
    "add inputs, or costs of the modes that do not decay",
)


class Regulator(NamedTuple):
    """cost_matrix P [*b, n, n], gain K [*b, m, n], closed_loop A - B K [*b, n, n]."""

    cost_matrix: Tensor
    gain: Tensor
    closed_loop: Tensor


def linear_quadratic_regulator(
    dynamics: Float[Tensor, "*b n n"],
    inputs: Float[Tensor, "*b n m"],
    state_cost: Float[Tensor, "*b n n"],
    input_cost: Float[Tensor, "*b m m"],
) -> Regulator:
    """The feedback c = -K x that minimises int x.Q x + c.R c dt along x' = A x + B c.

        A^T P + P A - P B R^-1 B^T P + Q = 0,    K = R^-1 B^T P,    least cost x.P x

    The stabilising P comes from the sign function of the Hamiltonian matrix; two steps of Newton
    and Kleinman take it to rounding and carry the gradients, first and second. Their Lyapunov
    equations are solved as n^2 linear ones: fit for n up to about 40.

    Args:
        dynamics, inputs: A, B.
        state_cost, input_cost: Q, symmetric without negative eigenvalues; R, positive definite.

    Raises:
        ArgumentError: costs as above they are not; no feedback stabilises (A, B), or a mode on the
            imaginary axis costs nothing.

    Source: Roberts, Int. J. Control 32 (1980); Kleinman, IEEE Trans. Autom. Control 13 (1968).
    """
    _check(dynamics, inputs, state_cost, input_cost)
    given = (dynamics, inputs, state_cost, input_cost)
    with torch.no_grad():
        cost = _by_sign(*(x.detach() for x in given))
        if not _damped(dynamics - inputs @ torch.linalg.solve(input_cost, inputs.mT @ cost)):
            raise ArgumentError(*_NO_SOLUTION)
    for _ in range(_NEWTON_STEPS):
        cost = _kleinman(cost, *given)
    gain = torch.linalg.solve(input_cost, inputs.mT @ cost)
    closed = dynamics - inputs @ gain
    with torch.no_grad():
        left = _riccati(cost, *given).abs().amax((-1, -2))
        scale = (1 + cost.abs().amax((-1, -2))) * (1 + dynamics.abs().amax((-1, -2)))
        accurate = left <= torch.finfo(dynamics.dtype).eps ** 0.5 * scale
    if not (bool(accurate.all()) and _damped(closed)):
        raise ArgumentError(*_NO_SOLUTION)
    return Regulator(cost, gain, closed)


def lyapunov_solution(
    matrix: Float[Tensor, "*b n n"], right: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b n n"]:
    """X with A^T X + X A + Q = 0, for A without two eigenvalues of sum 0."""
    n = matrix.shape[-1]
    eye = torch.eye(n, dtype=matrix.dtype, device=matrix.device)
    # Row-major vec: vec(A^T X) = (A^T x 1) vec X, vec(X A) = (1 x A^T) vec X.
    transposed = matrix.mT
    first = torch.einsum("...ij,kl->...ikjl", transposed, eye)
    second = torch.einsum("ij,...kl->...ikjl", eye, transposed)
    large = (first + second).reshape(*matrix.shape[:-2], n * n, n * n)
    flat = right.expand(matrix.shape).reshape(*matrix.shape[:-2], n * n)
    solved, failed = torch.linalg.solve_ex(large, -flat)
    if bool(failed.any()):
        raise ArgumentError(
            "matrix", "eigenvalues of which two add up to 0", "none such", "use a stable matrix"
        )
    found: Tensor = solved
    return found.reshape(matrix.shape)


def _damped(closed: Tensor) -> bool:
    return bool((torch.linalg.eigvals(closed.detach()).real < 0).all())


def _riccati(cost: Tensor, a: Tensor, b: Tensor, q: Tensor, r: Tensor) -> Tensor:
    gain = torch.linalg.solve(r, b.mT @ cost)
    left: Tensor = a.mT @ cost + cost @ a - cost @ b @ gain + q
    return left


def _kleinman(cost: Tensor, a: Tensor, b: Tensor, q: Tensor, r: Tensor) -> Tensor:
    gain = torch.linalg.solve(r, b.mT @ cost)
    found = lyapunov_solution(a - b @ gain, q + gain.mT @ r @ gain)
    return (found + found.mT) / 2


def _by_sign(a: Tensor, b: Tensor, q: Tensor, r: Tensor) -> Tensor:
    """P from the sign W of [[A, -B R^-1 B^T], [-Q, -A^T]]: W [1; P] = -[1; P]."""
    n = a.shape[-1]
    spread = b @ torch.linalg.solve(r, b.mT)
    top = torch.cat([a, -spread], -1)
    sign = torch.cat([top, torch.cat([-q.expand(a.shape), -a.mT], -1)], -2)
    for _ in range(_SIGN_STEPS):
        inverse, failed = torch.linalg.inv_ex(sign)
        if bool(failed.any()):
            break
        log_size = torch.linalg.slogdet(sign).logabsdet / (2 * n)
        scale = (-log_size).exp()[..., None, None]
        following = (scale * sign + inverse / scale) / 2
        change = (following - sign).abs().amax()
        sign = following
        if bool(change <= 1e-12 * sign.abs().amax()):
            break
    eye = torch.eye(n, dtype=a.dtype, device=a.device)
    left = torch.cat([sign[..., :n, n:], sign[..., n:, n:] + eye], -2)
    right = -torch.cat([sign[..., :n, :n] + eye, sign[..., n:, :n]], -2)
    if not bool(sign.isfinite().all()):
        raise ArgumentError(*_NO_SOLUTION)
    found: Tensor = torch.linalg.pinv(left) @ right
    return (found + found.mT) / 2


def _check(a: Tensor, b: Tensor, q: Tensor, r: Tensor) -> None:
    n, m = a.shape[-1], b.shape[-1]
    for name, matrix, shape in (
        ("dynamics", a, (n, n)),
        ("inputs", b, (n, m)),
        ("state_cost", q, (n, n)),
        ("input_cost", r, (m, m)),
    ):
        if tuple(matrix.shape[-2:]) != shape or not bool(matrix.isfinite().all()):
            raise ArgumentError(
                name, list(matrix.shape), f"numbers [*b, {shape[0]}, {shape[1]}]", "check the axes"
            )
    for name, matrix, least in (("state_cost", q, -1e-10), ("input_cost", r, 0.0)):
        values = matrix.detach()
        if not torch.allclose(values, values.mT, atol=1e-10) or not bool(
            (torch.linalg.eigvalsh(values) > least).all()
        ):
            sort = "positive definite" if least == 0 else "without negative eigenvalues"
            raise ArgumentError(name, "another matrix", f"symmetric, {sort}", "use the identity")
