"""Path-ordered exponentials: U' = -A(gamma') U, one step at a time and within the group."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ....errors import ArgumentError

ORDERS = (2, 4)


def gauss_nodes(order: int) -> list[float]:
    """Where in a step, as shares of it, the Magnus method of this order asks for generators."""
    if order not in ORDERS:
        raise ArgumentError("order", order, f"one of {list(ORDERS)}", "pass order=4")
    if order == 2:
        return [0.5]
    return [0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6]


def magnus_exponent(generators: Tensor, step: float | Tensor) -> Tensor:
    """Omega of Y(t + h) = exp(Omega) Y(t) for Y' = B(t) Y, up to O(h^3) or O(h^5).

        order 2: h B(1/2)
        order 4: h (B_1 + B_2) / 2 - sqrt(3) h^2 [B_1, B_2] / 12

    It is in the Lie algebra if B is, and changes its sign if time runs back: steps there and back
    are inverse to each other.

    Args:
        generators: B at the gauss_nodes of the order, [*k, nodes, r, r].
        step: h.

    Iserles, Munthe-Kaas, Norsett, Zanna, Lie-group methods (2000), equation 5.14.
    """
    first = generators[..., 0, :, :]
    if generators.shape[-3] == 1:
        return step * first
    last = generators[..., 1, :, :]
    commutator = first @ last - last @ first
    return step / 2 * (first + last) - step**2 * math.sqrt(3) / 12 * commutator


def ordered_product(matrices: Tensor) -> Tensor:
    """M_(k-1) ... M_1 M_0 of matrices [*b, k, r, r], the first one rightmost; k is 1 or more.

    Neighbours are multiplied in pairs, so that there are log2(k) rounds.
    """
    while matrices.shape[-3] > 1:
        even = matrices.shape[-3] // 2 * 2
        pairs = matrices[..., 1:even:2, :, :] @ matrices[..., 0:even:2, :, :]
        matrices = torch.cat([pairs, matrices[..., even:, :, :]], -3)
    return matrices[..., 0, :, :]
