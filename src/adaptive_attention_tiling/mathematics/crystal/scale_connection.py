"""Transport of small changes and of observables between scales: the connection over scale.

Over the axis of scales, which has one dimension, every connection is flat: transport depends on
its ends alone, and there and back is the identity.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..runge_kutta import integrate
from .beta_function import Beta
from .block_map import BlockMap, applied


class ScaleConnection(NamedTuple):
    """The derivative dK(to) / dK(from) along one flow, and ln of the ratio of scales."""

    matrix: Tensor
    """[*b, n, n], rows are couplings at the scale that is reached."""
    log_scale: float
    """ln(length reached / length left); negative towards finer scales."""

    def transport(self, change: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """A small change of couplings, M v, at the other scale."""
        moved: Tensor = (self.matrix @ change[..., None])[..., 0]
        return moved

    def pull_back(self, gradient: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """Gradient of an observable of the reached couplings, in those that were left: M^T w."""
        moved: Tensor = (self.matrix.mT @ gradient[..., None])[..., 0]
        return moved

    def then(self, later: ScaleConnection) -> ScaleConnection:
        """This transport followed by a later one."""
        return ScaleConnection(later.matrix @ self.matrix, self.log_scale + later.log_scale)

    def inverse(self) -> ScaleConnection:
        """Back again, where no direction has been lost.

        Raises:
            ArgumentError: the matrix is singular to rounding.
        """
        spread = torch.linalg.svdvals(self.matrix.detach())
        limit = self.matrix.shape[-1] * torch.finfo(self.matrix.dtype).eps
        if not bool((spread[..., -1] > limit * spread[..., 0]).all()):
            raise ArgumentError(
                "connection",
                "a direction that coarsening has erased",
                "an invertible matrix",
                "ask for the transport towards larger scales",
            )
        return ScaleConnection(torch.linalg.inv(self.matrix), -self.log_scale)

    def exponents(self) -> Float[Tensor, "*b n"]:
        """ln(singular values) / |ln scale|, largest first: growth of changes over these scales.

        Far along a flow that rests at a fixed point they come to its scaling dimensions.
        """
        if self.log_scale == 0:
            raise ArgumentError("scales", "one scale twice", "two scales", "pass unlike scales")
        growth: Tensor = torch.linalg.svdvals(self.matrix).log() / abs(self.log_scale)
        return growth


def block_connection(
    block_map: BlockMap,
    couplings: Float[Tensor, "*b n"],
    first: int,
    last: int,
    scale: float = 2.0,
) -> ScaleConnection:
    """dK_last / dK_first = prod_j dR(K_j) along K_{j+1} = R(K_j), K_0 = couplings.

    connection(1, 3) = connection(2, 3) connection(1, 2), and connection(3, 1) is the inverse of
    connection(1, 3).

    Args:
        block_map: R, of couplings [*b, n], each of the batch by itself.
        couplings: K_0, at scale number 0.
        first: number of the scale that is left, >= 0.
        last: number of the scale that is reached, >= 0.
        scale: b > 1, the factor by which R coarsens.
    """
    if min(first, last) < 0:
        raise ArgumentError("scales", (first, last), "whole numbers >= 0", "count from couplings")
    if not 1 < scale < math.inf:
        raise ArgumentError("scale", scale, "a number > 1", "pass the factor of coarsening")
    size = couplings.shape[-1]
    unit = torch.eye(size, dtype=couplings.dtype, device=couplings.device)
    flat = couplings.reshape(-1, size)
    matrix = unit.expand(len(flat), size, size)
    for number in range(max(first, last)):
        if number >= min(first, last):
            matrix = _slopes(block_map, flat) @ matrix
        flat = applied(block_map, flat)
    matrix = matrix.reshape(*couplings.shape, size)
    forward = ScaleConnection(matrix, abs(last - first) * math.log(scale))
    return forward if last >= first else forward.inverse()


def beta_connection(
    beta: Beta,
    couplings: Float[Tensor, "*b n"],
    first: float,
    last: float,
    tolerance: float = 1e-10,
) -> ScaleConnection:
    """dK(last) / dK(first), the path-ordered exponential of d beta / dK along the flow.

    dM / dl = (d beta / dK)(K(l)) M with M(first) = 1, solved together with dK / dl = beta(K),
    K(0) = couplings.

    Args:
        beta: takes and gives couplings [*b, n], each of the batch by itself.
        couplings: at l = 0.
        first: l = ln(length) that is left.
        last: l that is reached, either way.
        tolerance: relative error of a step.
    """
    size = couplings.shape[-1]
    flat = couplings.reshape(-1, size)

    def field(_: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        k, matrix = state
        return applied(beta, k), _slopes(beta, k) @ matrix

    start = flat
    if first != 0:
        start = integrate(
            lambda _, k: applied(beta, k),
            flat,
            flat.new_tensor([0.0, first]),
            relative_tolerance=tolerance,
            absolute_tolerance=1e-3 * tolerance,
        )[1]
    matrix = torch.eye(size, dtype=flat.dtype, device=flat.device).expand(len(flat), size, size)
    if first != last:
        _, path = integrate(
            field,
            (start, matrix),
            flat.new_tensor([first, last]),
            relative_tolerance=tolerance,
            absolute_tolerance=1e-3 * tolerance,
        )
        matrix = path[1]
    return ScaleConnection(matrix.reshape(*couplings.shape, size), float(last - first))


def _slopes(function: BlockMap, couplings: Float[Tensor, "b n"]) -> Float[Tensor, "b n n"]:
    """Jacobians of each row; rows do not know of each other, so that their sum tells them apart."""
    slopes: Tensor = torch.func.jacrev(lambda k: applied(function, k).sum(0))(couplings)
    return slopes.movedim(0, 1)
