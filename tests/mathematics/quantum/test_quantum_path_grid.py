import itertools
import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    GridPathIntegral,
    PathIntegralFramework,
    mehler_kernel,
    sample_paths,
    sampled_mean,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def oscillator(*frequencies):
    squares = real(frequencies).square()
    return lambda x: (squares * x.square()).sum(-1) / 2


def coupled(x):
    return x.square().sum(-1) / 2 + 0.5 * x[..., 0].square() * x[..., 1].square()


def line(axis):
    return lambda x: x[..., axis]


PLANE = GridPathIntegral(oscillator(1.0, 1.0), dimensions=2, half_width=5.4, points=21)
CROSS = GridPathIntegral(coupled, dimensions=2, half_width=5.5, points=22)


def discretised(frequency, beta, slices):
    """Z_N of one oscillator, in closed form."""
    return 1 / (2 * math.sinh(slices * math.asinh(frequency * beta / slices / 2)))


def test_partition_functions_of_oscillators():
    for beta, slices in ((2.0, 3), (2.0, 8), (2.5, 5)):
        found = PLANE.partition_function(1 / beta, slices)
        assert abs(float(found) / discretised(1.0, beta, slices) ** 2 - 1) < 1e-8
    exact = (2 * math.sinh(1.0)) ** -2
    errors = [abs(float(PLANE.partition_function(0.5, n)) - exact) for n in (4, 8, 16)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert abs(slopes[0] - 2) < 0.06
    assert abs(slopes[1] - 2) < 0.015
    bent = GridPathIntegral(
        oscillator(1.0, 1.5, 0.8), dimensions=3, half_width=[4.2, 3.4, 4.8], points=[12, 12, 12]
    )
    product = math.prod(discretised(w, 2.0, 4) for w in (1.0, 1.5, 0.8))
    assert abs(float(bent.partition_function(0.5, 4)) / product - 1) < 1e-4


def test_axes_that_do_not_see_each_other_multiply():
    """Three axes of a potential that is a sum, with different masses, widths and points."""
    parts = [lambda x: x**4 / 4, lambda x: x.square() - x / 2, lambda x: 1.5 * x.square()]
    masses, widths, points = [1.0, 0.7, 1.4], [3.2, 3.9, 3.1], [9, 10, 9]
    whole = GridPathIntegral(
        lambda x: sum(part(x[..., a]) for a, part in enumerate(parts)),
        dimensions=3, mass=masses, half_width=widths, points=points,
    )  # fmt: skip
    single = [
        GridPathIntegral(lambda x, f=f: f(x[..., 0]), dimensions=1, mass=m, half_width=w, points=n)
        for f, m, w, n in zip(parts, masses, widths, points, strict=True)
    ]
    product = math.prod(float(one.partition_function(0.6, 3)) for one in single)
    assert abs(float(whole.partition_function(0.6, 3)) / product - 1) < 1e-13
    x, y = torch.rand(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = whole.propagator(x, -y, 0.7 + 0.4j, 3)
    ends = [
        one.propagator(x[:, a, None], -y[:, a, None], 0.7 + 0.4j, 3) for a, one in enumerate(single)
    ]
    torch.testing.assert_close(found, ends[0] * ends[1] * ends[2], rtol=1e-12, atol=1e-14)


def test_one_dimension_is_the_particle_on_a_line():
    def quartic(x):
        return x.square() / 2 + x**4 / 5

    fine = PathIntegralFramework(quartic, half_width=5.0, points=160, mass=1.3)
    found = GridPathIntegral(
        lambda x: quartic(x[..., 0]), dimensions=1, mass=1.3, half_width=5.0, points=40
    )
    for slices in (2, 8):
        expected = fine.sliced_partition_function(0.9, slices)
        torch.testing.assert_close(found.partition_function(0.9, slices), expected)
    path = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for options in ({"euclidean": False}, {"periodic": True}):
        expected = fine.action_functional(path, 0.8, **options)
        torch.testing.assert_close(
            found.action_functional(path[..., None], 0.8, **options), expected
        )


def test_propagators_are_products_of_mehlers():
    grid = GridPathIntegral(
        oscillator(1.0, 1.4), dimensions=2, mass=[1.0, 0.5], half_width=8.0, points=40
    )
    x, y = real([[0.3, -0.4], [1.0, 0.2]]), real([[-0.5, 0.1], [0.7, -0.9]])
    for time in (1.0, 0.6 + 0.8j):
        frequency = 1.4 / math.sqrt(0.5)
        exact = mehler_kernel(x[:, 0], y[:, 0], time) * mehler_kernel(
            x[:, 1], y[:, 1], time, mass=0.5, frequency=frequency
        )
        errors = [float((grid.propagator(x, y, time, n) - exact).abs().max()) for n in (16, 32)]
        assert errors[1] < 1e-3
        assert abs(math.log2(errors[0] / errors[1]) - 2) < 0.02
    back = grid.propagator(y, x, 0.5, 6)
    torch.testing.assert_close(grid.propagator(x, y, 0.5, 6), back)
    torch.testing.assert_close(grid.propagator(x[0], y, 0.5, 6)[0], back[0])


def fock_energies(strength, size=24):
    """Energies of p^2 / 2 + x^2 / 2 + strength x_1^2 x_2^2 in products of oscillator states."""
    lower = torch.arange(1, size + 4, dtype=torch.float64).sqrt().diag(1)
    x = (lower + lower.mT) / math.sqrt(2)
    square = (x @ x)[:size, :size]
    number = torch.arange(size, dtype=torch.float64) + 0.5
    plain = (number[:, None] + number).flatten().diag()
    return torch.linalg.eigvalsh(plain + strength * torch.kron(square, square))


def test_spectrum_with_coupling_is_that_of_oscillator_states():
    fine = GridPathIntegral(coupled, dimensions=2, half_width=6.0, points=28).spectrum(22)[0]
    torch.testing.assert_close(fine[:6], fock_energies(0.5, 26)[:6], rtol=0, atol=1e-7)
    energies, waves = CROSS.spectrum(16)
    overlap = torch.einsum("abi,abj->ij", waves, waves) * math.prod(CROSS.spacings)
    torch.testing.assert_close(overlap, torch.eye(256, dtype=torch.float64), rtol=0, atol=1e-12)
    fewer = CROSS.spectrum(8)[0]
    assert bool((fewer >= energies[:64] - 1e-12).all())  # interlaced
    skew = GridPathIntegral(
        lambda x: coupled(x) + x[..., 1] / 3, dimensions=2, mass=[1.0, 0.4], points=10
    )
    one, two = skew._steps.kinetic
    dense = torch.kron(one, torch.eye(10).to(two)) + torch.kron(torch.eye(10).to(one), two)
    dense = dense + torch.diag(skew.potential(skew.places).flatten())
    exact = torch.linalg.eigvalsh(dense)
    torch.testing.assert_close(skew.spectrum(10)[0], exact, rtol=0, atol=1e-9)
    cold = CROSS.partition_function(0.5, 8), CROSS.partition_function(0.5, 16)
    sharp = float(cold[1] + (cold[1] - cold[0]) / 3)  # Richardson: order 4
    assert abs(sharp / float(torch.exp(-2 * fock_energies(0.5)).sum()) - 1) < 2e-4


def test_central_potentials_have_levels_of_angular_momentum():
    """n + 1 states at energy n + 1, with L_z = n, n - 2, ..., -n; r^4 keeps pairs."""
    energies, waves = PLANE.spectrum(18)
    levels = [n for n in range(1, 5) for _ in range(n)]
    torch.testing.assert_close(energies[:10], real(levels), rtol=0, atol=1e-7)
    grid, h = PLANE.axes[0], PLANE.spacings[0]
    gap = (torch.arange(len(grid))[:, None] - torch.arange(len(grid))).double()
    slope = torch.where(gap == 0, 0.0, (1 - 2 * (gap % 2)) / torch.where(gap == 0, 1.0, gap)) / h
    for n in range(4):
        psi = waves[..., n * (n + 1) // 2 : (n + 1) * (n + 2) // 2]
        turned = grid[:, None, None] * torch.einsum("yz,xzi->xyi", slope, psi)
        turned = turned - grid[None, :, None] * torch.einsum("xz,zyi->xyi", slope, psi)
        matrix = torch.einsum("xyi,xyj->ij", psi, turned) * h**2  # i L_z
        momentum = torch.linalg.eigvals(matrix).imag.sort().values
        exact = torch.arange(-n, n + 1, 2).double()
        torch.testing.assert_close(momentum, exact, rtol=0, atol=1e-6)
    well = GridPathIntegral(
        lambda x: x.square().sum(-1).square(), dimensions=2, half_width=3.6, points=26
    ).spectrum(20)[0]
    torch.testing.assert_close(well[1], well[2], rtol=0, atol=1e-6)
    torch.testing.assert_close(well[3], well[4], rtol=0, atol=1e-6)
    assert float(well[5] - well[4]) > 0.1


def test_correlations():
    beta, slices = 2.0, 5
    step = beta / slices
    rate = 2 * math.asinh(step / 2) / step
    square = 1 / (2 * math.cosh(rate * step / 2))  # <x x> of the discretised oscillator
    for gap in (0, 2, 4):
        exact = square * math.cosh(rate * (beta / 2 - gap * step)) / math.sinh(rate * beta / 2)
        found = PLANE.correlation_function([line(0)] * 2, [0.8, (2 + gap) % 5 * step], 0.5, slices)
        assert abs(float(found) - exact) < 3e-8
    cross = PLANE.correlation_function([line(0), line(1)], [0.0, 0.8], 0.5, slices)
    assert abs(float(cross)) < 1e-12
    four = [line(0), line(1), line(0), line(1)]
    wick = PLANE.correlation_function(four, [0.0, 0.4, 1.2, 1.6], 0.5, slices)
    pairs = [
        PLANE.correlation_function([line(0)] * 2, [0.0, 1.2], 0.5, slices),
        PLANE.correlation_function([line(1)] * 2, [0.4, 1.6], 0.5, slices),
    ]
    torch.testing.assert_close(wick, pairs[0] * pairs[1])


def test_effective_action():
    phi = real([[0.4, -0.3], [0.0, 0.8]]).requires_grad_()
    grid = GridPathIntegral(oscillator(1.0, 1.5), dimensions=2, half_width=5.0, points=16)
    gamma, source = grid.effective_action(phi, 0.7, 3)
    free = -0.7 * float(grid.partition_function(0.7, 3).log())
    exact = (real([1.0, 2.25]) * phi.square()).sum(-1) / 2 + free
    torch.testing.assert_close(gamma, exact, rtol=0, atol=1e-6)
    torch.testing.assert_close(source, real([1.0, 2.25]) * phi.detach(), rtol=0, atol=1e-6)
    small = GridPathIntegral(coupled, dimensions=2, half_width=4.6, points=14)
    gamma, source = small.effective_action(phi, 0.5, 2)
    (slope,) = torch.autograd.grad(gamma.sum(), phi)
    torch.testing.assert_close(slope, source)
    at = torch.linspace(-0.8, 0.8, 5).double()[:, None] * real([1.0, 0.6])
    assert bool((small.effective_action(at, 0.5, 2)[0].diff().diff() > 0).all())
    step = 1e-4 * real([[1.0, 0.0], [-1.0, 0.0]])
    near = small.effective_action(phi.detach()[0] + step, 0.5, 2)[0]
    torch.testing.assert_close((near[0] - near[1]) / 2e-4, source[0, 0], rtol=1e-6, atol=1e-7)


def test_a_mean_between_wells_has_a_source():
    """From the narrow well at 0, Newton's steps overshoot into the wide ones at -2 and 2."""
    grid = GridPathIntegral(
        lambda x: (x * (x.square() - 4)).square()[..., 0] / 4 + x.square()[..., 0] / 2,
        dimensions=1, half_width=3.2, points=18,
    )  # fmt: skip
    source = grid.effective_action(real([1.0]), 0.25, 6)[1]
    tilted = GridPathIntegral(
        lambda x: grid.potential(x) - x @ source, dimensions=1, half_width=3.2, points=18
    )
    mean = tilted.correlation_function([line(0)], [0.0], 0.25, 6)
    assert abs(float(mean) - 1) < 1e-10


def test_real_time_keeps_norms_and_moves_packets_classically():
    shifted = torch.exp(-(PLANE.places - real([1.0, -0.5])).square().sum(-1) / 2) / math.sqrt(
        math.pi
    )
    packet = torch.stack([shifted, 1j * shifted])
    errors = []
    for slices in (32, 64):
        later = PLANE.evolve(packet, 1.2j, slices)
        density = later.abs().square() * math.prod(PLANE.spacings)
        assert float((density.sum((1, 2)) - 1).abs().max()) < 1e-7
        mean = torch.einsum("nab,abd->nd", density, PLANE.places)
        errors.append(float((mean - math.cos(1.2) * real([1.0, -0.5])).abs().max()))
    assert errors[1] < 1e-3
    assert abs(math.log2(errors[0] / errors[1]) - 2) < 0.02
    back = PLANE.evolve(later, -1.2j, 64)
    torch.testing.assert_close(back, packet, rtol=0, atol=1e-12)
    drift = PLANE.evolve(packet, 1.2j, 1).abs().square().sum() - packet.abs().square().sum()
    assert abs(float(drift)) < 1e-12


def test_gradients_reach_potential_and_temperature():
    def observed(strength, temperature):
        grid = GridPathIntegral(
            lambda x: x.square().sum(-1) + strength * x[..., 0].square() * x[..., 1],
            dimensions=2, half_width=2.8, points=8,
        )  # fmt: skip
        return (
            grid.partition_function(temperature, 2),
            grid.correlation_function([line(1)], [0.0], 0.5, 2),
            grid.effective_action(real([0.1, 0.2]), 0.5, 2)[0],
            grid.propagator(real([0.1, 0.2]), real([0.0, -0.3]), 0.5, 2),
            grid.spectrum(4)[0][:3],
        )

    values = real(0.3).requires_grad_(), real(0.5).requires_grad_()
    assert torch.autograd.gradcheck(observed, values)
    energy = -torch.autograd.grad(observed(*values)[0].log(), values[1])[0]
    assert float(energy) < 0


def test_sampled_paths_have_the_moments_of_the_grid():
    grid = GridPathIntegral(coupled, dimensions=2, mass=[1.0, 3.0], half_width=5.0, points=22)
    found = sample_paths(
        grid, 0.7, 5, chains=400, draws=30, burn_in=15, leapfrog_steps=7, step_length=0.7,
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    assert found.paths.shape == (400, 30, 5, 2)
    assert 0.5 < found.acceptance < 0.99
    for a, wrong in ((0, 1), (1, 0)):
        mean = sampled_mean(found.paths[..., a].square().mean(-1))
        exact = [
            float(grid.correlation_function([line(c)] * 2, [0.0, 0.0], 0.7, 5)) for c in (a, wrong)
        ]
        assert abs(mean.value - exact[0]) < 4 * mean.error
        assert abs(mean.value - exact[1]) > 5 * mean.error
    both = sampled_mean(found.paths.square().prod(-1).mean(-1))
    exact = grid.correlation_function([lambda x: x.square().prod(-1)], [0.0], 0.7, 5)
    assert abs(both.value - float(exact)) < 4 * both.error


FLAT = real([0.0, 0.0])
MISUSED = {
    "dimensions": (lambda: GridPathIntegral(coupled, dimensions=0), "dimensions: got 0"),
    "mass": (lambda: GridPathIntegral(coupled, dimensions=2, mass=[1.0, 0.0]), "mass: got"),
    "widths": (
        lambda: GridPathIntegral(coupled, dimensions=2, half_width=[1.0]),
        "half_width: got",
    ),
    "points": (lambda: GridPathIntegral(coupled, dimensions=2, points=7), r"points: got \[7, 7\]"),
    "potential": (
        lambda: GridPathIntegral(lambda x: x, dimensions=2).spectrum(3),
        r"potential: got \[24, 24, 2\]",
    ),
    "temperature": (lambda: PLANE.partition_function(0.0, 4), "temperature: got 0.0"),
    "slices": (lambda: PLANE.partition_function(1.0, 0), "slices: got 0"),
    "hot": (lambda: PLANE.partition_function(60.0, 4), "points: got a spacing"),
    "leaves": (
        lambda: GridPathIntegral(lambda x: 0 * x[..., 0], dimensions=2).partition_function(1.0, 4),
        "half_width: got paths that leave the grid along axis 0",
    ),
    "many": (
        lambda: GridPathIntegral(coupled, dimensions=3, points=21).partition_function(1.0, 4),
        "points: got 9261 places",
    ),
    "times": (
        lambda: PLANE.correlation_function([line(0)], [0.3], 1.0, 4),
        r"times: got \[0.3\], expected multiples of 0.25",
    ),
    "late": (lambda: PLANE.correlation_function([line(0)], [1.0], 1.0, 4), r"times: got \[1.0\]"),
    "operators": (lambda: PLANE.correlation_function([], [], 1.0, 4), "times: got 0 for 0"),
    "off": (lambda: PLANE.propagator(FLAT, FLAT + 7, 1.0, 4), "final: got places off the grid"),
    "flat": (lambda: PLANE.propagator(FLAT[:1], FLAT, 1.0, 4), r"initial: got \[1\]"),
    "real time": (lambda: PLANE.propagator(FLAT, FLAT, 1j, 4), "time: got 1j"),
    "backwards": (lambda: PLANE.evolve(PLANE.places[..., 0], -1.0, 4), "time: got -1.0"),
    "no steps": (lambda: PLANE.evolve(PLANE.places[..., 0], 1.0, 0), "slices: got 0"),
    "wave": (lambda: PLANE.evolve(FLAT, 1.0, 4), r"wave: got torch.float64 \[2\]"),
    "precision": (lambda: PLANE.evolve(torch.ones(21, 21), 1.0, 4), "wave: got torch.float32"),
    "dtype": (
        lambda: GridPathIntegral(coupled, dimensions=2, dtype=torch.complex64),
        "dtype: got torch.complex64",
    ),
    "never": (lambda: PLANE.correlation_function([line(0)], [math.nan], 1.0, 4), "times: got"),
    "endless": (lambda: PLANE.propagator(FLAT, FLAT, math.inf, 4), "time: got inf"),
    "operator": (
        lambda: PLANE.correlation_function([lambda x: x], [0.0], 0.5, 4),
        r"operators: got \[21, 21, 2\]",
    ),
    "field": (lambda: PLANE.effective_action(FLAT[:1], 1.0, 4), r"field: got \[1\]"),
    "out of reach": (
        lambda: GridPathIntegral(coupled, dimensions=2, half_width=4.0, points=10).effective_action(
            FLAT + 4.5, 0.5, 2
        ),
        "field: got a mean that no source gives",
    ),
    "kept": (lambda: PLANE.spectrum(0), "kept: got 0"),
    "path": (lambda: PLANE.action_functional(FLAT[None], 1.0), r"path: got \[1, 2\]"),
    "duration": (lambda: PLANE.action_functional(PLANE.places[0], 0.0), "duration: got 0.0"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
