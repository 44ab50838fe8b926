"""Variances and what commutes, of two observables in a state or as they were measured."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex
from torch import Tensor


class Moments(NamedTuple):
    """What was measured of two observables A and B, each [*b], where no state is known.

    Args:
        first, second: the variances of A and of B.
        covariance: <A_0 B_0 + B_0 A_0> / 2 with A_0 = A - <A>.
        commutator: <[A, B]> / i; 1 for a position and its momentum.
    """

    first: Tensor
    second: Tensor
    covariance: Tensor
    commutator: Tensor


def moments_of(
    rho: Complex[Tensor, "*b d d"], one: Complex[Tensor, "d d"], other: Complex[Tensor, "d d"]
) -> Moments:
    """With centred observables, so that no digits cancel."""
    identity = torch.eye(rho.shape[-1], dtype=rho.dtype, device=rho.device)
    means = [_trace(rho, a).real[..., None, None] for a in (one, other)]
    a, b = (x - mean * identity for x, mean in zip((one, other), means, strict=True))
    product = _trace(rho, a @ b)
    return Moments(_trace(rho, a @ a).real, _trace(rho, b @ b).real, product.real, 2 * product.imag)


def variance_rounding(rho: Tensor, one: Tensor, other: Tensor) -> float:
    """64 roundings of the largest variances that A and B can have, of which one is small."""
    spreads = [torch.linalg.eigvalsh(a)[[0, -1]].diff().item() / 2 for a in (one, other)]
    return float(64 * torch.finfo(rho.dtype).eps * (spreads[0] * spreads[1]) ** 2)


def _trace(rho: Tensor, operator: Tensor) -> Tensor:
    return (rho * operator.mT).sum((-2, -1))
