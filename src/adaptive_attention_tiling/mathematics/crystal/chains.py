"""Vibrations of chains: one or two masses in a cell, joined by equal springs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


class ChainModes(NamedTuple):
    """Angular frequencies of the two branches [*b]."""

    acoustic: Tensor
    optical: Tensor


def diatomic_chain(
    phase: Float[Tensor, "*b"],
    masses: tuple[Tensor | float, Tensor | float],
    spring: Tensor | float = 1.0,
) -> ChainModes:
    """w^2 = C (1/M_1 + 1/M_2) +- C sqrt((1/M_1 + 1/M_2)^2 - 4 sin^2(q a / 2) / (M_1 M_2)).

    The lower branch is found from the product of the roots, so it is 0 at q = 0 and keeps its
    digits for long waves, where w = a |q| sqrt(C / (2 (M_1 + M_2))).

    Args:
        phase: q a, in radians, a the length of a cell of two atoms.
        masses: M_1 and M_2.
        spring: C between neighbours, in units of mass a time squared.

    Kittel, Introduction to Solid State Physics, 8th edition (2005), chapter 4, equation 21.
    """
    first, second, stiff = (
        torch.as_tensor(value, dtype=phase.dtype, device=phase.device)
        for value in (*masses, spring)
    )
    for name, value in (("masses", first), ("masses", second), ("spring", stiff)):
        if not bool((value.detach() > 0).all()) or not bool(value.detach().isfinite().all()):
            raise ArgumentError(name, value.tolist(), "numbers > 0", "pass masses and a spring")
    if not bool(phase.detach().isfinite().all()):
        raise ArgumentError("phase", "NaN or infinity", "finite numbers", "pass q a")
    total = 1 / first + 1 / second
    # Under the root, as a sum of squares: never below 0, and 0 only where branches meet.
    gap = (1 / first - 1 / second).square() + 4 * (phase / 2).cos().square() / (first * second)
    optical = (stiff * (total + gap.sqrt())).sqrt()
    acoustic = 2 * stiff * (phase / 2).sin().abs() / (first * second).sqrt() / optical
    return ChainModes(acoustic, optical)
