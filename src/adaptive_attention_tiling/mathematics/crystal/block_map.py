"""Renormalization by block maps of couplings: flows, fixed points, exponents.

A block map sends couplings K [n] at one scale to those at a scale `scale` times as coarse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

BlockMap = Callable[[Tensor], Tensor]


def ising_decimation(coupling: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """K' = ln(cosh 2K) / 2: every second spin of the Ising chain summed out.

    tanh K' = tanh(K)^2, so the correlation length -1 / ln tanh K halves, and the free energy a
    spin, ln of the partition function, obeys f(K) = f(K') / 2 + ln(4 cosh 2K) / 4.

    Args:
        coupling: K = J / (k T), of any sign.

    Cardy, Scaling and Renormalization in Statistical Physics (1996), section 3.1.
    """
    return _log_cosh(2 * coupling) / 2


def migdal_kadanoff(coupling: Float[Tensor, "*b"], bonds_first: bool = True) -> Float[Tensor, "*b"]:
    """The Ising model of the plane, coarsened by 2, bonds moved: K' = ln(cosh 4K) / 2.

    Args:
        coupling: K = J / (k T).
        bonds_first: move bonds, then decimate. Otherwise decimate, then move: K' = ln cosh 2K,
            whose fixed point is twice as large, with the same exponent.

    Migdal, Sov. Phys. JETP 42 (1976) 743; Kadanoff, Ann. Phys. 100 (1976) 359.
    """
    if bonds_first:
        return _log_cosh(4 * coupling) / 2
    return _log_cosh(2 * coupling)


def renormalization_flow(
    block_map: BlockMap, couplings: Float[Tensor, "*b n"], steps: int
) -> Float[Tensor, "t *b n"]:
    """Couplings at every scale, K_0 = K and K_{j+1} = R(K_j), for t = steps + 1.

    Args:
        block_map: R; it takes and gives couplings [*b, n].
        couplings: K_0.
        steps: how often to coarsen. Differentiable through all of them.
    """
    if steps < 0:
        raise ArgumentError("steps", steps, "a whole number >= 0", "coarsen at least not at all")
    path = [couplings]
    for _ in range(steps):
        path.append(_applied(block_map, path[-1]))
    return torch.stack(path)


class FixedPoint(NamedTuple):
    """Couplings that a block map keeps, and its linear part there."""

    couplings: Tensor
    """K* [n]."""
    eigenvalues: Tensor
    """Of dK'/dK at K*, complex [n], largest first."""
    exponents: Tensor
    """Scaling dimensions y = ln |eigenvalue| / ln scale [n]: > 0 relevant, < 0 irrelevant."""

    @property
    def relevant(self) -> int:
        """How many directions grow with scale."""
        return int((self.exponents > 0).sum())

    @property
    def correlation_exponent(self) -> Tensor:
        """nu = 1 / y of the most relevant direction."""
        return 1 / self.exponents[0]


def fixed_point(
    block_map: BlockMap, start: Float[Tensor, " n"], scale: float = 2.0, steps: int = 50
) -> FixedPoint:
    """K* = R(K*) by Newton's method from `start`, with the Jacobian of autograd.

    K* is differentiable in whatever R closes over, by the implicit function theorem; eigenvalues
    and exponents are as well. At a marginal direction (y = 0) K* has no derivative and is a
    constant.

    Args:
        block_map: R from couplings [n] to [n].
        start: near the fixed point that is wanted; Newton's method finds unstable ones too.
        scale: b > 1, the factor by which R coarsens.
        steps: most Newton steps.

    Raises:
        ArgumentError: no fixed point was found to 1e3 roundings.

    Cardy, Scaling and Renormalization in Statistical Physics (1996), section 3.3.
    """
    if not 1 < scale < math.inf:
        raise ArgumentError("scale", scale, "a number > 1", "pass the factor of coarsening")
    if start.dim() != 1 or not bool(start.detach().isfinite().all()):
        raise ArgumentError(
            "start", f"shape {list(start.shape)}", "finite couplings [n]", "pass a guess"
        )
    unit = torch.eye(len(start), dtype=start.dtype, device=start.device)
    rounding = 1e3 * float(torch.finfo(start.dtype).eps)
    point = start.detach()
    for _ in range(steps):
        slope = _jacobian(block_map, point).detach()
        residual = _applied(block_map, point).detach() - point
        # Least squares, for a marginal direction makes the matrix singular.
        point = point + torch.linalg.lstsq(unit - slope, residual[:, None]).solution[:, 0]
    error = (_applied(block_map, point).detach() - point).abs().max()
    if not bool(error <= rounding * max(1.0, float(point.abs().max()))):
        raise ArgumentError(
            "start",
            f"{start.tolist()}, from which K' - K stays {float(error):.2g}",
            "a guess near a fixed point",
            "start nearer, or allow more steps",
        )
    slope = _jacobian(block_map, point).detach()
    if float(torch.linalg.svdvals(unit - slope).min()) > math.sqrt(rounding):
        # One step more with gradients: its derivative is that of the implicit function.
        point = point + torch.linalg.solve(unit - slope, _applied(block_map, point) - point)
    values = torch.linalg.eigvals(_jacobian(block_map, point))
    values = values[values.detach().abs().argsort(descending=True)]
    return FixedPoint(point, values, values.abs().log() / math.log(scale))


def _jacobian(block_map: BlockMap, point: Tensor) -> Tensor:
    slope: Tensor = torch.func.jacrev(lambda k: _applied(block_map, k))(point)
    return slope


def _applied(block_map: BlockMap, couplings: Tensor) -> Tensor:
    coarse = block_map(couplings)
    if coarse.shape != couplings.shape:
        raise ArgumentError(
            "block_map",
            f"couplings {list(couplings.shape)} sent to {list(coarse.shape)}",
            "as many couplings as before",
            "keep the space of couplings",
        )
    return coarse


def _log_cosh(x: Tensor) -> Tensor:
    # Even and without overflow; near 0 it is x^2 / 2 and 2 sinh^2(x / 2) keeps its digits.
    small = x.abs() < 1
    inner = torch.where(small, x, torch.ones_like(x))
    outer = torch.where(small, torch.ones_like(x), x).abs()
    near = torch.log1p(2 * torch.sinh(inner / 2).square())
    return torch.where(small, near, outer + torch.log1p((-2 * outer).exp()) - math.log(2))
