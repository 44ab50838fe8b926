"""Ricci flow of left-invariant metrics on the unimodular Lie groups of dimension three.

In a Milnor frame [e_2, e_3] = l_1 e_1, [e_3, e_1] = l_2 e_2, [e_1, e_2] = l_3 e_3 the metric stays
diag(A, B, C) along the flow, which so is one of three numbers. Signs of l name the group: + + +
SU(2) (the unit S^3 is l = (2, 2, 2), A = B = C = 1), + + - SL(2, R), + + 0 E(2), + - 0 Sol, + 0 0
Heisenberg's Nil, 0 0 0 flat R^3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..runge_kutta import integrate

_MAX_STEPS = 300  # between neighbouring times; more are taken only before an end


@dataclass(frozen=True)
class LeftInvariantFlow:
    """A flow of left-invariant metrics.

    Args:
        times: of the states, [t].
        scales: A, B and C, [t, 3].
        structure: the l_i, [3].
    """

    times: Float[Tensor, " t"]
    scales: Float[Tensor, "t 3"]
    structure: Float[Tensor, " 3"]
    dimension = 3

    @property
    def curvatures(self) -> Float[Tensor, " t"]:
        """The largest |K|, of a plane between two of the frame's directions."""
        return left_invariant_curvatures(self.scales, self.structure)[1].abs().amax(-1)

    @property
    def volumes(self) -> Float[Tensor, " t"]:
        """sqrt(A B C), the volume of the frame's unit cube."""
        return self.scales.prod(-1).sqrt()

    @property
    def places(self) -> Float[Tensor, "t 0"]:
        """Nothing: every place is like every other."""
        return self.scales[:, :0]

    def rescaled(
        self, factors: Float[Tensor, " t"], times: Float[Tensor, " t"]
    ) -> LeftInvariantFlow:
        """Each metric times a number, at other times."""
        return LeftInvariantFlow(times, factors[:, None] * self.scales, self.structure)


def left_invariant_curvatures(
    scales: Float[Tensor, "*b 3"], structure: Float[Tensor, "*b 3"]
) -> tuple[Float[Tensor, "*b 3"], Float[Tensor, "*b 3"]]:
    """Ric(u_i, u_i) of unit vectors u_i along e_i, and K across them: of (2, 3), (3, 1), (1, 2).

        Ric_1 = 2 m_2 m_3,    m_i = (k_1 + k_2 + k_3) / 2 - k_i,    k_1 = l_1 sqrt(A / (B C)),

    and K_23 = R / 2 - Ric_1, all cyclically; these K are the extreme ones.

    Args:
        scales: A, B and C, > 0.
        structure: the l_i.

    Source: Milnor, Curvatures of left invariant metrics on Lie groups (1976), theorem 4.3.
    """
    if scales.shape[-1] != 3 or structure.shape[-1] != 3:
        raise ArgumentError(
            "scales", f"{list(scales.shape)} and {list(structure.shape)}", "[*b, 3] both",
            "pass A, B and C, and the l_i",
        )  # fmt: skip
    if not bool((scales > 0).all()) or not bool(structure.isfinite().all()):
        raise ArgumentError(
            "scales", scales.tolist(), "numbers > 0 and finite l_i", "a metric is positive definite"
        )
    brackets = structure * scales / scales.prod(-1, keepdim=True).sqrt()
    halves = brackets.sum(-1, keepdim=True) / 2 - brackets
    ricci = 2 * halves.roll(-1, -1) * halves.roll(1, -1)
    return ricci, ricci.sum(-1, keepdim=True) / 2 - ricci


def left_invariant_ricci_flow(
    scales: Float[Tensor, " 3"], structure: Float[Tensor, " 3"], times: Float[Tensor, " t"]
) -> LeftInvariantFlow:
    """dA/dt = -2 A Ric_1 and its like for B and C, from given scales at the first of the times.

    SU(2) shrinks to a round point; Nil, Sol, SL(2, R) and E(2) last for ever.

    Args:
        scales: A, B and C, > 0.
        structure: the l_i.
        times: rising, [t].

    Raises:
        ArgumentError: scales <= 0; times beyond the end of the flow.

    Source: Isenberg and Jackson, Ricci flow of locally homogeneous geometries on closed manifolds,
    J. Diff. Geom. 35 (1992).
    """
    if scales.shape != (3,) or structure.shape != (3,):
        raise ArgumentError(
            "scales", f"{list(scales.shape)} and {list(structure.shape)}", "[3] both", "pass three"
        )
    left_invariant_curvatures(scales, structure)

    # Logarithms stay real, where a step beyond the end would turn scales negative.
    def rate(_: Tensor, logs: Tensor) -> Tensor:
        brackets = structure * (logs - logs.sum(-1, keepdim=True) / 2).exp()
        halves = brackets.sum(-1, keepdim=True) / 2 - brackets
        return -4 * halves.roll(-1, -1) * halves.roll(1, -1)

    tolerance = 1e-11 if scales.dtype == torch.float64 else 1e-6
    logs = integrate(
        rate, scales.log(), times, relative_tolerance=tolerance, absolute_tolerance=tolerance,
        max_steps=_MAX_STEPS,
    )  # fmt: skip
    return LeftInvariantFlow(times, logs.exp(), structure)


def nil_ricci_flow(
    scales: Float[Tensor, "*b 3"], time: Float[Tensor, "*b"]
) -> Float[Tensor, "*b 3"]:
    """A, B and C of Nil, l = (1, 0, 0), at a time: A falls and B, C grow as (1 + 3 A t / BC)^(1/3).

    Source: Isenberg and Jackson (1992), section 3; A B and A C stay.
    """
    first, second, third = scales.unbind(-1)
    grown = 1 + 3 * first / (second * third) * time
    if not bool((grown > 0).all()) or not bool((scales > 0).all()):
        raise ArgumentError(
            "time", float(time.detach().min()), "1 + 3 A t / BC > 0 and scales > 0",
            "Nil began at t = -BC / (3 A)",
        )  # fmt: skip
    root = grown ** (1 / 3)
    return torch.stack([first / root, second * root, third * root], -1)
