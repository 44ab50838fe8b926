"""Quantum channels by Kraus operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .density_matrix import check_density_matrix, check_factors, split_factors


@dataclass(frozen=True)
class Channel:
    """rho -> sum_k K_k rho K_k^H, which keeps the trace: sum_k K_k^H K_k = 1.

    Args:
        operators: K_k, complex [*b, k, d, d].

    Nielsen and Chuang, Quantum Computation and Quantum Information (2010), section 8.2.3.
    """

    operators: Complex[Tensor, "*b k d d"]

    def __post_init__(self) -> None:
        shape = self.operators.shape
        if self.operators.dim() < 3 or shape[-1] != shape[-2] or not self.operators.is_complex():
            raise ArgumentError(
                "operators",
                f"{self.operators.dtype} {list(shape)}",
                "complex [..., k, d, d]",
                "pass Kraus operators",
            )
        total = (self.operators.mH @ self.operators).sum(-3).detach()
        defect = float((total - torch.eye(shape[-1]).to(total)).abs().max())
        if not defect <= math.sqrt(torch.finfo(total.dtype).eps):
            raise ArgumentError(
                "operators",
                f"sum K^H K with a defect of {defect:.3g}",
                "sum K^H K = 1",
                "scale them, or add the missing operator",
            )

    def __call__(self, state: Complex[Tensor, "*b d d"]) -> Complex[Tensor, "*b d d"]:
        """The state that comes out."""
        return self.on_factor(state, state.shape[-1:], 0)

    def on_factor(
        self, state: Complex[Tensor, "*b d d"], dimensions: Sequence[int], factor: int
    ) -> Complex[Tensor, "*b d d"]:
        """The state that comes out if one factor of a product space goes through.

        Args:
            state: rho.
            dimensions: of the factors, with product d.
            factor: which one; its dimension is that of the operators.
        """
        split_factors(state, dimensions)
        check_factors((factor,), dimensions)
        check_density_matrix(state)
        if dimensions[factor] != self.operators.shape[-1]:
            raise ArgumentError(
                "factor",
                f"{factor} of dimension {dimensions[factor]}",
                f"one of dimension {self.operators.shape[-1]}",
                "name the factor that the operators act on",
            )
        before = math.prod(dimensions[:factor])
        after = math.prod(dimensions[factor + 1 :])
        size = dimensions[factor]
        blocks = state.reshape(*state.shape[:-2], before, size, after, before, size, after)
        found: Tensor = torch.einsum(
            "...kij,...ajbcld,...kml->...aibcmd", self.operators, blocks, self.operators.conj()
        )
        return found.reshape(*found.shape[:-6], *state.shape[-2:])


def amplitude_damping(rate: Float[Tensor, "*b"]) -> Channel:
    """|1> decays to |0> with probability gamma.

        K_0 = diag(1, sqrt(1 - gamma)),   K_1 = sqrt(gamma) |0><1|

    Args:
        rate: gamma, from 0 to 1; gradients are finite inside.

    Nielsen and Chuang (2010), section 8.3.5.
    """
    _check_probability("rate", rate)
    zero, one = torch.zeros_like(rate), torch.ones_like(rate)
    kept = _matrix([[one, zero], [zero, (1 - rate).sqrt()]])
    lost = _matrix([[zero, rate.sqrt()], [zero, zero]])
    return Channel(torch.stack([kept, lost], -3))


def depolarising(probability: Float[Tensor, "*b"]) -> Channel:
    """rho -> (1 - p) rho + p / 2 of a qubit: with probability p it is replaced by noise.

    K_0 = sqrt(1 - 3 p / 4), and sqrt(p) / 2 times each Pauli matrix.

    Args:
        probability: p, from 0 to 1; gradients are finite inside.

    Nielsen and Chuang (2010), section 8.3.4.
    """
    _check_probability("probability", probability)
    dtype = probability.dtype.to_complex()
    pauli = torch.tensor(
        [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]],
        dtype=dtype,
        device=probability.device,
    )
    root = probability.sqrt() / 2
    weights = torch.stack([(1 - 3 * probability / 4).sqrt(), root, root, root], -1)
    return Channel(weights[..., None, None] * pauli)


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    stacked = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return stacked.to(stacked.dtype.to_complex())


def _check_probability(name: str, values: Tensor) -> None:
    found = values.detach()
    if not found.is_floating_point() or not bool(((found >= 0) & (found <= 1)).all()):
        raise ArgumentError(
            name,
            f"{found.dtype} from {found.min().item()} to {found.max().item()}",
            "floating, from 0 to 1",
            "pass probabilities",
        )
