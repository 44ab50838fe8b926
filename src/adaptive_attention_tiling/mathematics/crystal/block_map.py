"""Renormalization by block maps of couplings, and what they leave of the free energy.

A block map sends couplings K [n] at one scale to those at a scale `scale` times as coarse.
"""

from __future__ import annotations

import math
from collections.abc import Callable

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
    return log_cosh(2 * coupling) / 2


def migdal_kadanoff(coupling: Float[Tensor, "*b"], bonds_first: bool = True) -> Float[Tensor, "*b"]:
    """The Ising model of the plane, coarsened by 2, bonds moved: K' = ln(cosh 4K) / 2.

    Args:
        coupling: K = J / (k T).
        bonds_first: move bonds, then decimate. Otherwise decimate, then move: K' = ln cosh 2K,
            whose fixed point is twice as large, with the same exponent.

    Migdal, Sov. Phys. JETP 42 (1976) 743; Kadanoff, Ann. Phys. 100 (1976) 359.
    """
    if bonds_first:
        return log_cosh(4 * coupling) / 2
    return log_cosh(2 * coupling)


def ising_decimation_inhomogeneity(coupling: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """g(K) = ln(4 cosh 2K) / 4, what a summed-out spin leaves: f(K) = f(K') / 2 + g(K).

    Args:
        coupling: K = J / (k T).

    Cardy, Scaling and Renormalization in Statistical Physics (1996), section 3.1.
    """
    return (log_cosh(2 * coupling) + math.log(4)) / 4


def migdal_kadanoff_inhomogeneity(coupling: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """g(K) = ln(8 cosh 4K) / 4 of bonds moved first: f(K) = f(K') / 4 + g(K) a spin.

    Of 4 spins one is kept, one lost its bonds and leaves ln 2, two are summed out of chains of
    two bonds 2K and leave ln(4 cosh 4K) / 2 each.

    Args:
        coupling: K = J / (k T).

    Kadanoff, Ann. Phys. 100 (1976) 359.
    """
    return (log_cosh(4 * coupling) + math.log(8)) / 4


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
        path.append(applied(block_map, path[-1]))
    return torch.stack(path)


def applied(block_map: BlockMap, couplings: Tensor) -> Tensor:
    """R(K), which must be as many couplings as K."""
    coarse = block_map(couplings)
    if coarse.shape != couplings.shape:
        raise ArgumentError(
            "block_map",
            f"couplings {list(couplings.shape)} sent to {list(coarse.shape)}",
            "as many couplings as before",
            "keep the space of couplings",
        )
    return coarse


def log_cosh(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """ln cosh x, twice differentiable everywhere."""
    # Even and without overflow; near 0 it is x^2 / 2 and 2 sinh^2(x / 2) keeps its digits.
    small = x.abs() < 1
    inner = torch.where(small, x, torch.ones_like(x))
    outer = torch.where(small, torch.ones_like(x), x).abs()
    near = torch.log1p(2 * torch.sinh(inner / 2).square())
    return torch.where(small, near, outer + torch.log1p((-2 * outer).exp()) - math.log(2))
