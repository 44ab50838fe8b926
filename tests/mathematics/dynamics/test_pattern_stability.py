import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.pattern_stability import (
    dispersion_relation,
    floquet_multipliers,
    growth_rate,
    monodromy_matrix,
    reaction_jacobian,
    turing_threshold,
)
from adaptive_attention_tiling.mathematics.dynamics.periodic_grid import PeriodicGrid
from adaptive_attention_tiling.mathematics.dynamics.reaction_diffusion import (
    reaction_diffusion,
    swift_hohenberg,
)
from adaptive_attention_tiling.mathematics.dynamics.reaction_kinetics import (
    Brusselator,
    GrayScott,
    Schnakenberg,
)

DOUBLE = torch.float64
SCHNAKENBERG = Schnakenberg(0.1, 0.9)
REST = SCHNAKENBERG.steady_state()
WAVES = torch.linspace(0, 1.5, 15001, dtype=DOUBLE)


def pair(first, second):
    return torch.tensor([first, second], dtype=DOUBLE)


def test_golden_schnakenberg_threshold():
    threshold = turing_threshold(SCHNAKENBERG, REST)
    assert float(threshold.ratio) == pytest.approx(8.56762745781, abs=1e-11)
    assert float(threshold.wavenumber_squared) == pytest.approx(0.3416407865, abs=1e-10)
    critical = threshold.wavenumber_squared.sqrt()[None]
    at = growth_rate(SCHNAKENBERG, REST, pair(1.0, float(threshold.ratio)), critical)
    assert float(at.abs()) < 1e-14


@pytest.mark.parametrize(
    ("ratio", "wanted"), [(10.0, 0.0571909584179), (8.0, -0.0270666263434)], ids=["d=10", "d=8"]
)
def test_golden_schnakenberg_growth(ratio, wanted):
    near = torch.linspace(0.4, 0.9, 100001, dtype=DOUBLE)
    assert float(growth_rate(SCHNAKENBERG, REST, pair(1.0, ratio), near).max()) == pytest.approx(
        wanted, abs=1e-10
    )


def test_golden_brusselator():
    critical = (1 + 3 / math.sqrt(8)) ** 2
    assert critical == pytest.approx(4.24632034356, abs=1e-11)
    kinetics = Brusselator(3.0, critical)
    threshold = turing_threshold(kinetics, kinetics.steady_state())
    assert float(threshold.ratio) == pytest.approx(8, abs=1e-12)
    assert float(threshold.wavenumber_squared) == pytest.approx(1.06066017178, abs=1e-11)
    hopf = Brusselator(3.0, 10.0)
    rates = dispersion_relation(hopf, hopf.steady_state(), pair(1.0, 8.0), WAVES[:1])
    assert float(rates.real.abs().max()) < 1e-14
    assert float(rates.imag.abs().max()) == pytest.approx(3, abs=1e-13)


def test_golden_gray_scott_saddle_node():
    node = GrayScott(0.04, 0.06)
    assert math.sqrt(0.04) / 2 - 0.04 == pytest.approx(0.06, abs=1e-15)
    at = pair(0.5, 0.04 * 0.5 / 0.1)
    assert float(torch.linalg.det(reaction_jacobian(node, at)).abs()) < 1e-16
    inside = GrayScott(0.04, 0.055)
    determinant = torch.linalg.det(reaction_jacobian(inside, inside.steady_state()))
    assert float(determinant) > 1e-4


def test_golden_swift_hohenberg_band():
    grid = PeriodicGrid((4000,), (2 * math.pi * 1000,))
    drive, k = 0.1, grid.wavenumbers()[:, 0]
    rates = swift_hohenberg(grid, drive).operator[:, 0, 0]
    assert float(rates.max()) == pytest.approx(drive, abs=1e-15)
    growing = k[rates > 0]
    edges = (math.sqrt(1 - math.sqrt(drive)), math.sqrt(1 + math.sqrt(drive)))
    assert edges == pytest.approx((0.8269052146305295, 1.1472697006444639), abs=1e-15)
    assert float(growing.min()) == pytest.approx(edges[0], abs=1e-3)
    assert float(growing.max()) == pytest.approx(edges[1], abs=1e-3)
    assert bool((growing > edges[0]).all())
    assert bool((growing < edges[1]).all())


def test_growth_of_a_wave_on_the_grid_is_the_dispersion_relation():
    k, diffusion = 0.55, pair(1.0, 10.0)
    grid = PeriodicGrid((16,), (2 * math.pi / k,))
    flow = reaction_diffusion(grid, diffusion, SCHNAKENBERG)
    wave = (k * grid.coordinates()).cos()
    matrix = reaction_jacobian(SCHNAKENBERG, REST) - k**2 * torch.diag(diffusion)
    vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)[1]  # any direction will do
    start = REST + 1e-6 * wave * vectors[:, 0]
    end = flow.evolve(start, step=0.05, steps=40)
    found = grid.transform(end - REST)[1].real / 8
    wanted = 1e-6 * torch.linalg.matrix_exp(2 * matrix) @ vectors[:, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0)


def test_turing_pattern_from_noise_in_one_dimension():
    ratio = 9.0
    growth = growth_rate(SCHNAKENBERG, REST, pair(1.0, ratio), WAVES)
    band = WAVES[growth > 0]
    fastest = float(WAVES[growth.argmax()])
    length = 12 * 2 * math.pi / fastest
    grid = PeriodicGrid((128,), (length,))
    flow = reaction_diffusion(grid, pair(1.0, ratio), SCHNAKENBERG)
    generator = torch.Generator().manual_seed(3)
    start = REST + 1e-2 * torch.randn(128, 2, generator=generator, dtype=DOUBLE)
    end = flow.evolve(start, step=0.5, steps=1000, method="etdrk2")
    power = grid.transform(end)[1:, 0].abs().square()
    wave = 2 * math.pi / length * (1 + int(power.argmax()))
    assert float(band.min()) < wave < float(band.max())
    assert wave == pytest.approx(fastest, rel=1.01 / 12)
    critical = float(turing_threshold(SCHNAKENBERG, REST).wavenumber_squared.sqrt())
    assert wave == pytest.approx(critical, rel=0.15)
    assert float(end[:, 0].std()) > 0.05
    # Below the threshold noise dies.
    calm = reaction_diffusion(grid, pair(1.0, 8.0), SCHNAKENBERG)
    rest = calm.evolve(start, step=0.5, steps=400, method="etdrk2")
    assert float((rest - REST).abs().max()) < 1e-4


def test_turing_pattern_in_two_dimensions_has_the_wavelength():
    critical = float(turing_threshold(SCHNAKENBERG, REST).wavenumber_squared.sqrt())
    length = 5 * 2 * math.pi / critical
    grid = PeriodicGrid((24, 24), (length, length))
    flow = reaction_diffusion(grid, pair(1.0, 10.0), SCHNAKENBERG)
    generator = torch.Generator().manual_seed(1)
    start = REST + 1e-2 * torch.randn(24, 24, 2, generator=generator, dtype=DOUBLE)
    end = flow.evolve(start, step=0.5, steps=300, method="etdrk2")
    power = grid.transform(end - grid.mean(end))[..., 0].abs().square()
    k = grid.wavenumbers().norm(dim=-1)
    mean = float((power * k).sum() / power.sum())
    assert mean == pytest.approx(critical, rel=0.15)
    assert float(end[..., 0].std()) > 0.1


def test_gradients_and_batches():
    def threshold(a, b):
        kinetics = Schnakenberg(a, b)
        return turing_threshold(kinetics, torch.stack([a + b, b / (a + b) ** 2]))

    inputs = [torch.tensor(x, dtype=DOUBLE, requires_grad=True) for x in (0.1, 0.9)]
    assert torch.autograd.gradcheck(threshold, inputs)
    states = torch.stack([REST, REST, REST])
    both = growth_rate(SCHNAKENBERG, states, pair(1.0, 10.0), WAVES[::3000])
    one = growth_rate(SCHNAKENBERG, REST, pair(1.0, 10.0), WAVES[::3000])
    torch.testing.assert_close(both, one.expand_as(both))
    cross = torch.diag(pair(1.0, 10.0))
    same = growth_rate(SCHNAKENBERG, REST, cross, WAVES[::3000])
    torch.testing.assert_close(same, one)


def circle(x, pull=1.0):
    """r' = pull r (1 - r^2), theta' = 1: on the unit circle 1 and exp(-4 pi pull)."""
    turned = torch.stack([-x[1], x[0]])
    return turned + pull * x * (1 - x.square().sum())


@pytest.mark.parametrize("pull", [0.2, -0.1])
def test_floquet_multipliers_of_a_circle(pull):
    found = floquet_multipliers(lambda x: circle(x, pull), pair(1.0, 0.0), 2 * math.pi, steps=50)
    wanted = sorted([1, math.exp(-4 * math.pi * pull)], reverse=True)
    assert found.real.tolist() == pytest.approx(wanted, rel=1e-4)
    assert float(found.imag.abs().max()) < 1e-12


def test_monodromy_obeys_liouville_and_finite_differences():
    def lorenz(x):
        return torch.stack(
            [10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]]
        )

    start = torch.tensor([1.0, 2.0, 20.0], dtype=DOUBLE)
    end, matrix = monodromy_matrix(lorenz, start, 0.1, steps=12)
    wanted = math.exp(-0.1 * (10 + 1 + 8 / 3))
    assert float(torch.linalg.det(matrix)) == pytest.approx(wanted, rel=1e-5)
    nudge = torch.tensor([0.0, 1e-6, 0.0], dtype=DOUBLE)
    ahead = monodromy_matrix(lorenz, start + nudge, 0.1, steps=12)[0]
    behind = monodromy_matrix(lorenz, start - nudge, 0.1, steps=12)[0]
    torch.testing.assert_close((ahead - behind) / 2e-6, matrix[:, 1], rtol=1e-6, atol=1e-8)
    assert bool(end.isfinite().all())


def test_what_cannot_be_used_is_told():
    diffusion = pair(1.0, 10.0)
    with pytest.raises(ArgumentError, match="a steady state"):
        dispersion_relation(SCHNAKENBERG, REST + 0.1, diffusion, WAVES)
    with pytest.raises(ArgumentError, match="a steady state"):
        turing_threshold(SCHNAKENBERG, REST + 0.1)
    with pytest.raises(ArgumentError, match="state: got"):
        turing_threshold(lambda u: -u, torch.zeros(3, dtype=DOUBLE))
    with pytest.raises(ArgumentError, match="activator first"):
        turing_threshold(lambda u: SCHNAKENBERG(u.flip(-1)).flip(-1), REST.flip(-1))
    with pytest.raises(ArgumentError, match="the orbit misses"):
        floquet_multipliers(circle, pair(1.0, 0.0), 3.0, steps=20)
    with pytest.raises(ArgumentError, match="pass one state"):
        monodromy_matrix(circle, torch.zeros(2, 2, dtype=DOUBLE), 3.0)
