import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    critical_coupling,
    kuramoto_coherence,
    kuramoto_rate,
    lorentz_frequencies,
    ott_antonsen_rate,
    phase_coherence,
)
from adaptive_attention_tiling.mathematics.runge_kutta import integrate

DOUBLE = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=DOUBLE)


def test_golden_transition_of_lorentzian_frequencies():
    assert critical_coupling(0.5) == 1
    assert float(kuramoto_coherence(tensor(2.0), 0.5)) == pytest.approx(0.707106781187, abs=1e-12)
    found = kuramoto_coherence(tensor(-1.0, 0.0, 0.5, 1.0, 1.01), 0.5)
    assert found[:4].tolist() == [0, 0, 0, 0]
    assert float(found[4]) == pytest.approx(math.sqrt(1 - 1 / 1.01), abs=1e-14)


def test_the_rate_is_the_sum_over_pairs():
    generator = torch.Generator().manual_seed(0)
    phases, frequencies = (torch.randn(2, 3, 7, dtype=DOUBLE, generator=generator)).unbind(0)
    pairs = (phases[:, None, :] - phases[:, :, None]).sin().mean(-1)
    found = kuramoto_rate(phases, frequencies, 1.7)
    torch.testing.assert_close(found, frequencies + 1.7 * pairs)
    leaves = phases.requires_grad_(), frequencies.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: kuramoto_rate(a, b, 1.7), leaves)


@pytest.mark.parametrize(("coupling", "limit"), [(2.0, math.sqrt(0.5)), (0.8, 0.0)])
def test_order_comes_or_goes(coupling, limit):
    """The equation of Ott and Antonsen ends at the closed form, and oscillators follow it."""
    times = torch.linspace(0, 40, 41, dtype=DOUBLE)
    start = torch.complex(tensor(0.3), tensor(0.0))
    path = integrate(
        lambda t, z: ott_antonsen_rate(z, coupling, 0.5), start, times, method="rk4", steps=2
    )
    end = path[-1].abs()
    assert float(end[0]) == pytest.approx(limit, abs=2e-2 if limit == 0 else 1e-9)
    frequencies = lorentz_frequencies(1000, 0.5)
    # Fast ones average out; a bounded tail keeps the steps stable.
    frequencies = frequencies.clamp(-10, 10)
    generator = torch.Generator().manual_seed(1)
    phases = 2 * math.pi * torch.rand(1000, dtype=DOUBLE, generator=generator)
    phases = torch.where(torch.arange(1000) % 10 < 3, 0.0, phases)  # |Z| = 0.3 at first
    times = torch.linspace(0, 40, 161, dtype=DOUBLE)
    orbit = integrate(
        lambda t, x: kuramoto_rate(x, frequencies, coupling), phases, times, method="rk4", steps=2
    )
    later = phase_coherence(orbit[-40:]).abs().mean()
    assert float(later) == pytest.approx(limit, abs=0.04)


def test_frequencies_are_quantiles_and_bad_widths_are_told():
    found = lorentz_frequencies(4001, 0.5)
    assert float(found.abs().median()) == pytest.approx(0.5, abs=1e-3)
    assert float(found.mean()) == pytest.approx(0, abs=1e-9)
    for width in (0.0, -1.0, math.nan):
        for ask in (
            critical_coupling,
            lambda width: lorentz_frequencies(3, width),
            lambda width: kuramoto_coherence(tensor(2.0), width),
            lambda width: ott_antonsen_rate(tensor(0.3) + 0j, 2.0, width),
        ):
            with pytest.raises(ArgumentError, match="width: "):
                ask(width)
    with pytest.raises(ArgumentError, match="count: got 0"):
        lorentz_frequencies(0, 1.0)
