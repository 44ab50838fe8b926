import math

import numpy
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    ForceConstants,
    face_centred_cubic,
    heat_capacity,
    orthogonal,
    reciprocal_lattice,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


QUARTER = real([[0.0, 0, 0], [0.25, 0.25, 0.25]])
DIAMOND = ForceConstants.springs(face_centred_cubic(), QUARTER, (1.0, 1.0), (1.0, 0.3), (0.2, 0))


def test_one_oscillator():
    """Einstein's function: (x / 2)^2 / sinh^2 (x / 2)."""
    x = real([1e-9, 0.1, 1.0, 7.0, 60.0])
    for value in x:
        expected = float((value / 2).square() / (value / 2).sinh().square())
        assert float(heat_capacity(value[None], real(1.0))) == pytest.approx(expected, rel=1e-13)
    assert float(heat_capacity(real([1e5]), real(1.0))) == 0
    assert float(heat_capacity(real([0.0]), real(1.0))) == 1


def test_law_of_dulong_and_petit():
    """C = 3 m - sum omega^2 / (12 T^2) + O(T^-4), sum omega^2 = trace D."""
    steps = torch.cartesian_prod(*[torch.arange(4, dtype=torch.float64) / 4] * 3)
    q = steps @ reciprocal_lattice(DIAMOND.lattice)
    frequencies = DIAMOND.modes(q).frequencies
    traces = DIAMOND.dynamical_matrix(q).diagonal(dim1=-2, dim2=-1).sum(-1).real
    rest = []
    for temperature in (8.0, 16.0):
        found = float(heat_capacity(frequencies, real(temperature)))
        rest.append(abs(found - 6 + float(traces.mean()) / (12 * temperature**2)))
    assert rest[0] < 1e-4
    assert math.log2(rest[0] / rest[1]) == pytest.approx(4, abs=0.02)


def test_law_of_debye_in_space():
    """C -> (2 pi^2 / 15) V T^3 mean of sum 1 / c^3, by quadrature in a ball of long waves."""
    nodes, weights = map(torch.from_numpy, numpy.polynomial.legendre.leggauss(24))
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions)
    speeds = torch.stack([DIAMOND.sound_speeds(row) for row in directions])
    temperature, radius, volume = 1e-3, 0.06, 0.25
    debye = 2 * math.pi**2 / 15 * volume * temperature**3 * float((1 / speeds**3).sum(1).mean())
    # omega / T is 30 at the ball's surface. Both sides take the same mean over directions.
    lengths = radius / 2 * (1 + nodes)
    branches = DIAMOND.modes(lengths[:, None, None] * directions).frequencies[..., :3]
    each = torch.stack([heat_capacity(shell, real(temperature)) for shell in branches])
    shells = 4 * math.pi * lengths.square() * weights * radius / 2 / (2 * math.pi) ** 3
    assert volume * float((each * shells).sum()) == pytest.approx(debye, rel=1e-3)


def test_law_of_debye_on_a_line():
    """C -> pi a T / (3 c)."""
    chain = ForceConstants.springs(orthogonal(1.0), real([[0.0], [0.5]]), (1.0, 2.0), (1.0,))
    q = 2 * math.pi * (torch.arange(20000, dtype=torch.float64)[:, None] + 0.5) / 20000
    temperature = real([0.01, 0.02])
    found = heat_capacity(chain.modes(q).frequencies, temperature)
    expected = math.pi * temperature / 3 / chain.sound_speeds(real([1.0]))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)


def test_heat_rises_with_temperature_and_batches():
    frequencies = real([[0.0, 0.5], [1.0, 3.0]])
    temperatures = torch.linspace(0.02, 5, 40, dtype=torch.float64).reshape(8, 5)
    found = heat_capacity(frequencies, temperatures)
    each = torch.stack([heat_capacity(frequencies, t) for t in temperatures.flatten()])
    torch.testing.assert_close(found.flatten(), each, rtol=0, atol=1e-15)
    assert bool((found.flatten().diff() > 0).all())
    assert float(found.min()) == pytest.approx(0.5, abs=1e-8)
    assert float(heat_capacity(frequencies, real(1e4))) == pytest.approx(2, abs=1e-7)
    single = heat_capacity(frequencies.float(), temperatures.float())
    torch.testing.assert_close(single, found.float(), rtol=1e-5, atol=1e-6)


def test_gradients():
    inputs = real([[0.3, 0.5], [1.0, 3.0]]).requires_grad_(), real([0.4, 2.0]).requires_grad_()
    assert torch.autograd.gradcheck(heat_capacity, inputs)
    still = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    heat_capacity(still, real(1.0)).backward()
    assert still.grad.tolist() == [0.0, 0.0]
    # Nearly still modes, as at q = 0: dC / d omega^2 = -1 / 12, without noise.
    square = real([1e-30, 1e-18, 1e-9, 9e-3, 1.1e-2]).requires_grad_()
    (slope,) = torch.autograd.grad(heat_capacity(square.sqrt()[:, None], real(1.0)) * 5, square)
    x = square.detach()
    series = -1 / 12 + x / 120 - x**2 / 2016 + x**3 / 43200
    torch.testing.assert_close(slope, series, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cold_crystals_hold_no_heat(dtype):
    cold = torch.tensor([1e-4, 1e-36], dtype=dtype)
    assert heat_capacity(torch.ones(1, dtype=dtype), cold).tolist() == [0, 0]
    moving = torch.ones(1, dtype=dtype, requires_grad=True)
    heat_capacity(moving, torch.tensor(1e-36, dtype=dtype)).backward()
    assert moving.grad.tolist() == [0]


ONE = real([1.0])
MISUSED = {
    "unstable": (lambda: heat_capacity(-ONE, ONE), "frequencies: got -1, or NaN"),
    "NaN": (lambda: heat_capacity(ONE * math.nan, ONE), "frequencies: got nan, or NaN"),
    "infinite": (lambda: heat_capacity(ONE * math.inf, ONE), "frequencies: got inf, or NaN"),
    "none": (lambda: heat_capacity(ONE[:0], ONE), r"frequencies: got shape \[0\]"),
    "cold": (lambda: heat_capacity(ONE, 0 * ONE), r"temperature: got \[0.0\]"),
    "hot": (lambda: heat_capacity(ONE, ONE * math.inf), r"temperature: got \[inf\]"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
