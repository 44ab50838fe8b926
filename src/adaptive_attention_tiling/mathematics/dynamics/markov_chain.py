"""Markov chains on finitely many states: stationary law, entropy rate, mixing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError

# Singular values below this many times the rounding of numbers count as 0.
_SINGULAR = 8


@dataclass(frozen=True)
class MarkovChain:
    """P_ij, the chance of going from i to j; rows of causal attention are one such matrix.

    Everything is batched and differentiable in P. Sources: Levin, Peres and Wilmer, Markov Chains
    and Mixing Times (2009); Kemeny and Snell, Finite Markov Chains (1960); Cover and Thomas,
    section 4.2.

    Args:
        transitions: [*b, n, n], entries >= 0, rows that sum to 1 up to `tolerance`.
        tolerance: of row sums; None takes 1e-10 in float64 and 1e-5 in float32.

    Raises:
        ArgumentError: no square matrix, an entry below 0, NaN, or rows of another sum.
    """

    transitions: Float[Tensor, "*b n n"]
    tolerance: float | None = None

    def __post_init__(self) -> None:
        p = self.transitions
        if p.dim() < 2 or p.shape[-1] != p.shape[-2] or not p.is_floating_point():
            raise ArgumentError(
                "transitions", f"{p.dtype} {list(p.shape)}", "floating [..., n, n]",
                "pass a square matrix",
            )  # fmt: skip
        if not bool((p >= 0).all()):
            raise ArgumentError("transitions", "an entry < 0 or NaN", "chances", "check its rows")
        allowed = self.tolerance or (1e-10 if p.dtype == torch.float64 else 1e-5)
        off = float((p.detach().sum(-1) - 1).abs().max())
        if off > allowed:
            raise ArgumentError(
                "transitions", f"a row sum {off:.3g} away from 1", "rows that sum to 1",
                "divide each row by its sum",
            )  # fmt: skip

    def stationary(self) -> Float[Tensor, "*b n"]:
        """pi with pi P = pi and sum pi = 1, by (I - P^T + 1 1^T / n) pi = 1 / n.

        Raises:
            ArgumentError: more than one such pi, since the states fall into separate classes.
        """
        p = self.transitions
        size = p.shape[-1]
        eye = torch.eye(size, dtype=p.dtype, device=p.device)
        matrix = eye - p.mT + 1 / size
        zero = _SINGULAR * torch.finfo(p.dtype).eps * size
        if float(torch.linalg.svdvals(matrix.detach())[..., -1].min()) < zero:
            raise ArgumentError(
                "transitions", "states in two classes that never meet", "one stationary law",
                "ask each class by itself",
            )  # fmt: skip
        right = p.new_full((*p.shape[:-1], 1), 1 / size)
        found: Tensor = torch.linalg.solve(matrix, right)[..., 0]
        return found

    def entropy_rate(self) -> Float[Tensor, "*b"]:
        """h = -sum_i pi_i sum_j P_ij ln P_ij, in nats a step; 0 ln 0 = 0."""
        p = self.transitions
        safe = torch.where(p > 0, p, torch.ones_like(p))
        return -(self.stationary() * (p * safe.log()).sum(-1)).sum(-1)

    def eigenvalues(self) -> Complex[Tensor, "*b n"]:
        """Eigenvalues of P, largest modulus first: 1 leads."""
        values: Tensor = torch.linalg.eigvals(self.transitions)
        # Of several on the unit circle, 1 goes first.
        order = (values.abs() - 1e-9 * (values - 1).abs()).argsort(-1, descending=True)
        return values.gather(-1, order)

    def second_modulus(self) -> Float[Tensor, "*b"]:
        """|lambda_2|, the rate at which a chain forgets where it began."""
        if self.transitions.shape[-1] == 1:
            return self.transitions.new_zeros(self.transitions.shape[:-2])
        return self.eigenvalues()[..., 1].abs()

    def mixing_depth(self, remaining: float) -> Float[Tensor, "*b"]:
        """ln(remaining) / ln |lambda_2|: steps until that share of a start is left.

        Of attention that is applied again and again, the depth at which tokens have become alike.
        0 where |lambda_2| = 0, infinite where it is 1.
        """
        if not 0 < remaining < 1:
            raise ArgumentError("remaining", remaining, "0 < remaining < 1", "pass 0.01")
        modulus = self.second_modulus().clamp(max=1)
        return -math.log(remaining) / modulus.log().abs()

    def mixing_time(self, distance: float = 0.25, longest: int = 2**40) -> int:
        """The least t with max_i |P^t(i, .) - pi| <= distance in total variation; one chain.

        Found by doubling t and then halving, since the distance never grows (Levin, exercise 4.2).

        Raises:
            ArgumentError: the chain has not mixed after `longest` steps: it may be periodic.
        """
        if self.transitions.dim() != 2:
            raise ArgumentError("transitions", "a batch", "one chain", "ask one after another")
        law = self.stationary().detach()
        powers = [self.transitions.detach()]

        def far(matrix: Tensor) -> bool:
            return float((matrix - law).abs().sum(-1).max()) / 2 > distance

        if not far(torch.eye(len(law), dtype=law.dtype)):
            return 0
        while far(powers[-1]):
            if 2 ** len(powers) > longest:
                raise ArgumentError(
                    "transitions", f"not mixed after {longest} steps", "a chain that mixes",
                    "make it lazy: (P + I) / 2",
                )  # fmt: skip
            powers.append(powers[-1] @ powers[-1])
        # The longest time at which the chain is still far, bit by bit.
        before, reached = torch.eye(len(law), dtype=law.dtype), 0
        for place in range(len(powers) - 2, -1, -1):
            tried = before @ powers[place]
            if far(tried):
                before, reached = tried, reached + 2**place
        return reached + 1

    def kemeny_constant(self) -> Float[Tensor, "*b"]:
        """K = 1 + sum_{i >= 2} 1 / (1 - lambda_i) = tr (I - P + 1 pi)^-1.

        The mean number of steps to a state drawn from pi, wherever the walk starts; a walk that
        starts there counts its return, which is the 1. (Without it the constant is K - 1.)
        """
        p = self.transitions
        eye = torch.eye(p.shape[-1], dtype=p.dtype, device=p.device)
        fundamental: Tensor = torch.linalg.inv(eye - p + self.stationary()[..., None, :])
        return fundamental.diagonal(dim1=-2, dim2=-1).sum(-1)
