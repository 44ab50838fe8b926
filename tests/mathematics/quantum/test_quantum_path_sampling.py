import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    PathIntegralFramework,
    sample_paths,
    sampled_mean,
)

QUARTIC = PathIntegralFramework(lambda x: x**4 / 2, half_width=5.0, points=120, mass=1.4)


def seeded(number):
    return torch.Generator().manual_seed(number)


def sliced_moments(framework, beta, slices):
    """<x^2> and <x(0) x(half)> from the transfer matrix."""
    step, x, h = beta / slices, framework.grid, framework.spacing
    gap = (x[:, None] - x).square()
    half = torch.exp(-step / 2 * framework.potential(x))
    matrix = h * torch.exp(-framework.mass * gap / (2 * step)) * half[:, None] * half
    whole = torch.linalg.matrix_power(matrix, slices)
    part = torch.linalg.matrix_power(matrix, slices // 2)
    z = whole.diagonal().sum()
    across = (part * x) @ (part * x)
    return float((whole.diagonal() * x**2).sum() / z), float(across.diagonal().sum() / z)


def test_means_over_sampled_paths_are_those_of_the_transfer_matrix():
    found = sample_paths(
        QUARTIC, 1.0, 8, chains=640, draws=40, burn_in=15, leapfrog_steps=8, step_length=0.72,
        generator=seeded(0),
    )  # fmt: skip
    assert found.paths.shape == (640, 40, 8)
    assert 0.5 < found.acceptance < 0.95
    square, across = sliced_moments(QUARTIC, 1.0, 8)
    for series, exact in [
        (found.paths.square().mean(-1), square),
        ((found.paths * found.paths.roll(4, -1)).mean(-1), across),
        (found.paths.mean(-1), 0.0),
    ]:
        mean = sampled_mean(series)
        assert abs(mean.value - exact) < 4 * mean.error
        assert mean.error < 0.025
    again = sample_paths(QUARTIC, 1.0, 8, chains=4, draws=3, burn_in=1, generator=seeded(5))
    same = sample_paths(QUARTIC, 1.0, 8, chains=4, draws=3, burn_in=1, generator=seeded(5))
    assert torch.equal(again.paths, same.paths)


@pytest.mark.parametrize("a", [0.0, 0.6, 0.9, -0.4])
def test_autocorrelation_and_errors_of_a_known_chain(a):
    """x' = a x + noise has tau = (1 + a) / (2 (1 - a)) and variance 1."""
    noise = torch.randn(400, 1000, dtype=torch.float64, generator=seeded(1))
    x, rows = noise[:, 0], []
    for k in range(1000):
        x = a * x + math.sqrt(1 - a * a) * noise[:, k]
        rows.append(x)
    series = torch.stack(rows, 1)[:, 1:]
    tau = (1 + a) / (2 * (1 - a))
    found = sampled_mean(series)
    assert abs(found.autocorrelation_time / tau - 1) < 0.05
    spread = float(series.mean(1).std()) / math.sqrt(400)
    assert abs(found.error / spread - 1) < 0.15
    assert abs(found.value) < 4 * found.error


def sampled_mean_by_loops(series):
    chains, draws = series.shape
    rest = (series - series.mean()).tolist()
    covariances = [
        sum(row[i] * row[i + t] for row in rest for i in range(draws - t)) / (chains * (draws - t))
        for t in range(draws)
    ]
    tau = -0.5
    for t, covariance in enumerate(covariances):
        tau += covariance / covariances[0]
        if t >= max(8.0, 5 * tau):
            break
    tau = max(tau, 0.5 / draws)
    return tau, math.sqrt(2 * tau * covariances[0] / (chains * draws))


@pytest.mark.parametrize(("chains", "draws"), [(3, 40), (2, 20), (2, 7), (1, 4)])
def test_short_series_by_loops(chains, draws):
    noise = torch.randn(chains, draws, dtype=torch.float64, generator=seeded(draws))
    # Of a walk the window has no end; of signs that alternate the sum of rho is below 0.
    signs = 1 - 2 * torch.arange(draws, dtype=torch.float64).remainder(2).expand(chains, draws)
    for series in (noise, noise.cumsum(1), signs + 1e-3 * noise):
        found = sampled_mean(series)
        exact = sampled_mean_by_loops(series)
        assert (found.autocorrelation_time, found.error) == pytest.approx(exact, rel=1e-9)


def test_a_constant_has_no_error():
    assert sampled_mean(torch.ones(2, 5)).error == 0


MISUSED = {
    "temperature": (lambda: sample_paths(QUARTIC, 0.0, 8), "temperature: got 0.0"),
    "slices": (lambda: sample_paths(QUARTIC, 1.0, 0), "slices: got 0"),
    "step": (lambda: sample_paths(QUARTIC, 1.0, 8, step_length=2.0), "step_length: got 2.0"),
    "draws": (lambda: sample_paths(QUARTIC, 1.0, 4, draws=0), "draws: got 0"),
    "series": (lambda: sampled_mean(torch.ones(3)), r"series: got torch.float32 \[3\]"),
    "no chains": (lambda: sampled_mean(torch.ones(0, 4)), r"series: got torch.float32 \[0, 4\]"),
    "complex": (
        lambda: sampled_mean(torch.ones(2, 4, dtype=torch.complex64)),
        "series: got torch.complex64",
    ),
    "NaN": (lambda: sampled_mean(torch.ones(3, 3) * math.nan), "series: got .* or NaN"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
