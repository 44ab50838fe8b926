"""Means of correlated draws, with errors that know of their autocorrelation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


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


def sampled_mean(series: Float[Tensor, "c n"]) -> SampledMean:
    """The mean of correlated draws, with an error that knows of their autocorrelation.

    tau = 1/2 + sum_(t=1)^W rho(t), W the first lag that is at least 5 tau and 8; rho is pooled over
    chains about the mean of all.

    Args:
        series: one row for each independent chain.

    Sokal, Monte Carlo methods in statistical mechanics (1997), section 3; Wolff, Monte Carlo errors
    with less errors (2004).
    """
    enough = series.dim() == 2 and len(series) > 0 and series.shape[1] > 1
    if not enough or series.is_complex() or not bool(series.detach().isfinite().all()):
        raise ArgumentError(
            "series",
            f"{series.dtype} {list(series.shape)}, or NaN",
            "finite real [chains, draws >= 2]",
            "draw more",
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
    long = torch.arange(draws) >= (5 * times).clamp(min=8)
    window = int(long.nonzero()[0]) if bool(long.any()) else draws - 1
    tau = max(float(times[window]), 0.5 / draws)
    return SampledMean(float(values.mean()), math.sqrt(2 * tau * spread / values.numel()), tau)
