"""Closed Euclidean paths drawn with weight e^(-S)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .hybrid_monte_carlo import hybrid_monte_carlo
from .path_integral import PathIntegralFramework
from .path_integral_grid import GridPathIntegral


@dataclass(frozen=True)
class SampledPaths:
    """Paths of independent chains and the fraction of moves accepted.

    Args:
        paths: [chains, draws, slices] on a line, [chains, draws, slices, d] in d dimensions.
        acceptance: the fraction.
    """

    paths: Float[Tensor, "c n t *d"]
    acceptance: float


def sample_paths(
    framework: PathIntegralFramework | GridPathIntegral,
    temperature: float,
    slices: int,
    *,
    chains: int = 64,
    draws: int = 200,
    burn_in: int = 50,
    leapfrog_steps: int = 10,
    step_length: float = 0.4,
    generator: torch.Generator | None = None,
) -> SampledPaths:
    """Closed paths of N slices with weight e^(-S), by hybrid Monte Carlo.

    Means over them are those of the transfer matrix of N steps: exact in
    distribution, with an error of order N^-2 against continuous time. Chains start at the path
    x = 0; in a double well whose barrier they cannot cross they all stay on one side, and no error
    bar tells.

    Args:
        framework: its action; the grid is not used.
        temperature: T > 0; a path lasts 1 / T.
        slices: N.
        chains: run at once, independent of each other.
        draws: kept of each chain.
        burn_in: left out before.
        leapfrog_steps: of one move.
        step_length: of each, in units of sqrt(e / m), give or take a fifth; stable below 0.8.
        generator: of random numbers.

    Duane, Kennedy, Pendleton and Roweth, Hybrid Monte Carlo (1987).
    """
    if not 0 < temperature < math.inf:
        raise ArgumentError("temperature", temperature, "a number above 0", "pass temperature=1.0")
    for name, value in {"slices": slices, "chains": chains}.items():
        if value < 1:
            raise ArgumentError(name, value, "at least 1", f"pass {name}=16")
    duration = 1 / temperature
    if not 0 < step_length < 0.8:
        raise ArgumentError("step_length", step_length, "above 0, below 0.8", "pass 0.4")
    if isinstance(framework, GridPathIntegral):
        masses, like = (
            torch.tensor(framework.masses, dtype=framework.places.dtype),
            framework.places,
        )
    else:
        masses, like = torch.tensor(framework.mass, dtype=framework.grid.dtype), framework.grid
    found = hybrid_monte_carlo(
        lambda path: framework.action_functional(path, duration, periodic=True),
        torch.zeros(chains, slices, *masses.shape).to(like),
        step_length * (duration / slices / masses).sqrt(),
        draws=draws,
        burn_in=burn_in,
        leapfrog_steps=leapfrog_steps,
        generator=generator,
    )
    return SampledPaths(found.states, found.acceptance)
