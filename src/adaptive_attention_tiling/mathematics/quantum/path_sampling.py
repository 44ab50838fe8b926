"""Closed Euclidean paths drawn with weight e^(-S), and means over them with their errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .path_integral import PathIntegralFramework


@dataclass(frozen=True)
class SampledMean:
    """A mean of correlated numbers.

    Args:
        value: the mean over all draws of all chains.
        error: its standard error, sqrt(2 tau var / draws).
        autocorrelation_time: tau, in draws; 1/2 if they are independent.
    """

    value: float
    error: float
    autocorrelation_time: float


@dataclass(frozen=True)
class SampledPaths:
    """Paths of independent chains, [chains, draws, slices], and the fraction of moves accepted."""

    paths: Float[Tensor, "c n t"]
    acceptance: float


def sample_paths(
    framework: PathIntegralFramework,
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

    Means over them are those of `sliced_partition_function`'s transfer matrix: exact in
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
    counts = {"slices": slices, "chains": chains, "draws": draws, "steps": leapfrog_steps}
    for name, value in counts.items():
        if value < 1:
            raise ArgumentError(name, value, "at least 1", f"pass {name}=16")
    duration = 1 / temperature
    if not 0 < step_length < 0.8:
        raise ArgumentError("step_length", step_length, "above 0, below 0.8", "pass 0.4")
    length = step_length * math.sqrt(duration / slices / framework.mass)
    path = torch.zeros(chains, slices, dtype=framework.grid.dtype)
    kept, accepted = [], 0.0
    for move in range(burn_in + draws):
        momentum = torch.randn(path.shape, dtype=path.dtype, generator=generator)
        jitter = float(torch.rand((), generator=generator)) * 0.4 + 0.8
        proposal, change = _move(
            framework, duration, path, momentum, length * jitter, leapfrog_steps
        )
        taken = torch.rand(chains, dtype=path.dtype, generator=generator) < torch.exp(-change)
        path = torch.where(taken[:, None], proposal, path)
        if move >= burn_in:
            kept.append(path)
            accepted += float(taken.to(path.dtype).mean()) / draws
    return SampledPaths(torch.stack(kept, 1), accepted)


def sampled_mean(series: Float[Tensor, "c n"]) -> SampledMean:
    """The mean of correlated draws, with an error that knows of their autocorrelation.

    tau = 1/2 + sum_(t=1)^W rho(t), W the first lag that is at least 5 tau and 8; rho is pooled over
    chains about the mean of all.

    Args:
        series: one row for each independent chain.

    Sokal, Monte Carlo methods in statistical mechanics (1997), section 3; Wolff, Monte Carlo errors
    with less errors (2004).
    """
    if series.dim() != 2 or series.shape[1] < 2 or not bool(series.detach().isfinite().all()):
        raise ArgumentError(
            "series", f"{list(series.shape)}, or NaN", "finite [chains, draws >= 2]", "draw more"
        )
    values = series.detach().double()
    draws = values.shape[1]
    centred = values - values.mean()
    wave = torch.fft.rfft(centred, 2 * draws)
    lagged = torch.fft.irfft(wave.abs().square(), 2 * draws)[:, :draws].mean(0)
    covariance = lagged / torch.arange(draws, 0, -1, dtype=torch.float64)
    spread = float(covariance[0])
    if spread == 0:
        return SampledMean(float(values.mean()), 0.0, 0.5)
    times = (covariance / spread).cumsum(0) - 0.5
    enough = torch.arange(draws) >= (5 * times).clamp(min=8)
    window = int(enough.nonzero()[0]) if bool(enough.any()) else draws - 1
    tau = max(float(times[window]), 0.5 / draws)
    return SampledMean(float(values.mean()), math.sqrt(2 * tau * spread / values.numel()), tau)


def _move(
    framework: PathIntegralFramework,
    duration: float,
    path: Tensor,
    momentum: Tensor,
    step: float,
    count: int,
) -> tuple[Tensor, Tensor]:
    """The path after some leapfrog steps, and by how much p^2 / 2 + S has grown."""
    action, force = _force(framework, duration, path)
    before = action + momentum.square().sum(-1) / 2
    momentum = momentum + step / 2 * force
    for k in range(count):
        path = path + step * momentum
        action, force = _force(framework, duration, path)
        momentum = momentum + (step if k < count - 1 else step / 2) * force
    return path, action + momentum.square().sum(-1) / 2 - before


def _force(
    framework: PathIntegralFramework, duration: float, path: Tensor
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        moving = path.detach().requires_grad_()
        action = framework.action_functional(moving, duration, periodic=True)
        (slope,) = torch.autograd.grad(action.sum(), moving)
    return action.detach(), -slope
