"""Green functions of maps of the projective line at the archimedean place, in torch."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import ArgumentError


def green_function(
    numerator: Float[Tensor, "*b d1"],
    denominator: Float[Tensor, "*b d1"],
    point: Float[Tensor, "*b 2"],
    iterations: int | None = None,
) -> Float[Tensor, "*b"]:
    """G(X, Z) = lim d^-n log |F^n(X, Z)| of F = (sum_i p_i X^i Z^(d-i), sum_i q_i X^i Z^(d-i)).

    G(F(X, Z)) = d G(X, Z) and G(c X, c Z) = G(X, Z) + log|c|. Each step is divided by its
    Euclidean norm N_n, so that G = sum_n d^-n log N_n neither overflows nor cancels. Of orbits
    that stay in the Julia set derivatives grow as d^(n/2) at the typical point, against d^-n: by
    default as many steps are taken as first derivatives need there.

    Source: Silverman, The Arithmetic of Dynamical Systems, theorem 5.59.

    Args:
        numerator: p_0, ..., p_d, real or complex.
        denominator: q_0, ..., q_d; p and q without a common root.
        point: homogeneous coordinates (X, Z), not both 0.
        iterations: n; None takes 2 log(1/eps) / log d.

    Raises:
        ArgumentError: for shapes that do not fit, degrees below 2, (0, 0) and NaN.
    """
    degree = _checked_degree(numerator, denominator, point)
    if iterations is None:
        digits = -math.log2(torch.finfo(point.dtype).eps)
        iterations = math.ceil(2 * digits / math.log2(degree))
    x, z, norm = _unit(*point.unbind(-1))
    total, weight = norm.log(), 1.0
    for _ in range(iterations):
        powers = _monomials(x, z, degree)
        x, z, norm = _unit((numerator * powers).sum(-1), (denominator * powers).sum(-1))
        weight /= degree
        total = total + weight * norm.log()
    return total


def polynomial_green_function(
    coefficients: Float[Tensor, "*b d1"],
    point: Float[Tensor, "*b"],
    iterations: int | None = None,
) -> Float[Tensor, "*b"]:
    """g(x) = lim d^-n log max(1, |f^n(x)|): how fast x escapes; 0 on the filled Julia set.

    Args:
        coefficients: a_0, ..., a_d of f, the constant one first, d >= 2.
        point: x, real or complex.
        iterations: n as in `green_function`.
    """
    coefficients, _ = torch.broadcast_tensors(coefficients, point[..., None])
    constant = torch.zeros_like(coefficients)
    constant[..., 0] = 1
    pair = torch.stack([point.expand(coefficients.shape[:-1]), constant[..., 0]], -1)
    return green_function(coefficients, constant, pair, iterations)


def _monomials(x: Tensor, z: Tensor, degree: int) -> Tensor:
    """X^i Z^(d-i) for i = 0, ..., d, on a new last axis."""
    ones = torch.ones_like(x)
    rising, falling = [ones], [ones]
    for _ in range(degree):
        rising.append(rising[-1] * x)
        falling.append(falling[-1] * z)
    return torch.stack([a * b for a, b in zip(rising, reversed(falling), strict=True)], -1)


def _unit(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(X, Z) of norm 1, its larger coordinate positive, and the Euclidean norm it had.

    Signs and phases are divided out too: f turns them by d times their angle at each step, which
    gradients would follow.
    """
    x_leads = x.detach().abs() >= z.detach().abs()
    leader = torch.where(x_leads, x, z)
    other = torch.where(x_leads, z, x) / leader
    norm = (1 + other.abs().square()).sqrt()
    one, other = torch.ones_like(other) / norm, other / norm
    return (
        torch.where(x_leads, one, other),
        torch.where(x_leads, other, one),
        leader.abs() * norm,
    )


def _checked_degree(numerator: Tensor, denominator: Tensor, point: Tensor) -> int:
    if numerator.shape[-1:] != denominator.shape[-1:] or numerator.shape[-1] < 3:
        raise ArgumentError(
            "numerator",
            f"{list(numerator.shape)} over {list(denominator.shape)}",
            "two rows of d + 1 coefficients, d >= 2",
            "pad the shorter with zeros at the end",
        )
    if point.shape[-1:] != (2,) or not (point.is_floating_point() or point.is_complex()):
        raise ArgumentError(
            "point", f"{point.dtype} {list(point.shape)}", "[*b, 2]", "pass (X, Z) = (x, 1)"
        )
    for name, values in (("numerator", numerator), ("denominator", denominator)):
        if not bool(values.detach().isfinite().all()):
            raise ArgumentError(name, "NaN or infinity", "finite coefficients", "check the map")
    size = point.detach().abs().sum(-1)
    if not bool((size > 0).all()) or not bool(size.isfinite().all()):
        raise ArgumentError(
            "point", "(0, 0), NaN or infinity", "finite coordinates, not both 0", "pass (x, 1)"
        )
    return numerator.shape[-1] - 1
