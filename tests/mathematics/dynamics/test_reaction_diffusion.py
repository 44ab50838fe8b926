import functools
import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.exponential_integrators import phi_functions
from adaptive_attention_tiling.mathematics.dynamics.periodic_grid import PeriodicGrid
from adaptive_attention_tiling.mathematics.dynamics.reaction_diffusion import (
    SemilinearFlow,
    reaction_diffusion,
    swift_hohenberg,
    swift_hohenberg_energy,
)
from adaptive_attention_tiling.mathematics.dynamics.reaction_kinetics import (
    AllenCahn,
    Brusselator,
    FisherKPP,
    GrayScott,
    Schnakenberg,
)

DOUBLE = torch.float64
CIRCLE = PeriodicGrid((32,), (2 * math.pi,))


def nothing(u):
    return 0 * u


def heat(grid, diffusivity=1.0, **options):
    diffusion = torch.tensor([diffusivity], dtype=DOUBLE)
    return reaction_diffusion(grid, diffusion, nothing, **options)


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=DOUBLE)


@pytest.mark.parametrize("z", [-1e4, -30.0, -1.0, -1e-3, -1e-9, 0.0, 2.0])
def test_phi_functions_against_mpmath(z):
    mpmath = pytest.importorskip("mpmath")
    found = [float(phi) for phi in phi_functions(torch.tensor([[z]], dtype=DOUBLE), 3)]
    with mpmath.workdps(60):
        wanted, exact = [mpmath.exp(z)], mpmath.mpf(z)
        for k in range(1, 4):
            part = 1 / mpmath.factorial(k - 1)
            wanted.append((wanted[-1] - part) / exact if z else 1 / mpmath.factorial(k))
    assert found == pytest.approx([float(w) for w in wanted], rel=2e-11, abs=1e-300)


def test_phi_functions_of_matrices_and_their_gradients():
    matrix = noise(2, 3, 3).requires_grad_()
    zero, one, two = phi_functions(matrix, 2)
    eye = torch.eye(3, dtype=DOUBLE)
    torch.testing.assert_close(zero, torch.linalg.matrix_exp(matrix))
    torch.testing.assert_close(matrix @ one + eye, zero)
    torch.testing.assert_close(matrix @ two + eye, one)
    assert torch.autograd.gradcheck(lambda m: phi_functions(m, 2)[2], (matrix,))


@pytest.mark.parametrize("method", ["etdrk2", "etdrk4"])
def test_golden_heat_equation(method):
    grid = PeriodicGrid((16,), (1.0,))
    start = (2 * math.pi * grid.coordinates()).sin()
    end = heat(grid).evolve(start, step=0.01, steps=1, method=method)
    torch.testing.assert_close(end, 0.673825451231 * start, rtol=0, atol=1e-12)


def exact_fisher(x, t):
    """The front of Ablowitz and Zeppetella, at speed 5 / sqrt(6)."""
    return (1 + ((x - 5 / math.sqrt(6) * t) / math.sqrt(6)).exp()).pow(-2)


ORDERS = {"etdrk2": 2, "etdrk4": 4, "imex_euler": 1, "imex_ars2": 2, "euler": 1, "rk4": 4}


@functools.cache
def brusselator_run():
    """A flow whose L and N do not commute, a start, and where it is after time 1."""
    grid = PeriodicGrid((8, 8), (2 * math.pi, 2 * math.pi))
    diffusion = torch.tensor([[0.05, 0.02], [0.01, 0.1]], dtype=DOUBLE)
    flow = reaction_diffusion(grid, diffusion, Brusselator(1.0, 1.7))
    x, y = grid.coordinates().unbind(-1)
    start = torch.stack([1 + 0.3 * x.cos() * y.sin(), 1.7 + 0.2 * (x + y).cos()], -1)
    return flow, start, flow.evolve(start, step=1 / 256, steps=256)


@pytest.mark.parametrize(("method", "order"), ORDERS.items())
def test_orders_of_the_steppers(method, order):
    flow, start, exact = brusselator_run()
    counts = (16, 32) if order == 4 else (32, 64)
    errors = [
        float((flow.evolve(start, step=1 / n, steps=n, method=method) - exact).abs().max())
        for n in counts
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_fisher_front_against_the_exact_one():
    grid = PeriodicGrid((512,), (160.0,))
    x = grid.coordinates() - 80
    # A front to the right and its mirror image far away, to close the box.
    start = exact_fisher(x - 20, 0.0) * exact_fisher(-x - 20, 0.0)
    flow = reaction_diffusion(grid, torch.ones(1, dtype=DOUBLE), FisherKPP())
    end = flow.evolve(start, step=0.05, steps=40)
    right = x[:, 0] > 15
    wanted = exact_fisher(x - 20, 2.0)
    torch.testing.assert_close(end[right], wanted[right], rtol=0, atol=1e-5)


def test_golden_fisher_speed():
    assert float(FisherKPP().front_speed(1.0)) == 2
    grid = PeriodicGrid((256,), (140.0,))
    x = grid.coordinates() - 70
    flow = reaction_diffusion(grid, torch.ones(1, dtype=DOUBLE), FisherKPP())
    # Rounding below 0 grows as e^t from 1e-17, so that such a front may not be followed for long.
    start = (10 - x.abs()).clamp(0, 1)
    path = flow.evolve(start, step=0.1, steps=240, method="etdrk2", every=120)
    # Bramson: the front at 2 t - 1.5 ln t comes from a step.
    width = [float(grid.mean(u)) * 70 for u in path[1:]]
    speed = (width[1] - width[0]) / 12
    assert speed == pytest.approx(2 - 1.5 * math.log(2) / 12, abs=0.04)
    assert speed < 2


def test_golden_allen_cahn_disc():
    grid = PeriodicGrid((96, 96), (1.5, 1.5))
    wall = AllenCahn(0.03)
    distance = (grid.coordinates() - 0.75).norm(dim=-1, keepdim=True)
    flow = reaction_diffusion(grid, torch.ones(1, dtype=DOUBLE), wall)
    start = wall.wall(0.5 - distance)
    path = flow.evolve(start, step=5e-4, steps=80, every=40)
    areas = (1 + grid.mean(path)[:, 0]) / 2 * 1.5**2
    # r^2 = r_0^2 - 2 t, so that areas fall at 2 pi, up to O(eps^2).
    speed = float(areas[1] - areas[2]) / 0.02
    assert speed == pytest.approx(2 * math.pi, rel=0.02)
    line = torch.linspace(-0.6, 0.6, 4001, dtype=DOUBLE)
    profile = wall.wall(line)
    slope = torch.gradient(profile, spacing=(line,))[0]
    tension = torch.trapezoid(0.03 * slope.square(), line)
    assert float(tension) == pytest.approx(0.942809041582, abs=1e-4)


def test_golden_swift_hohenberg_and_its_energy():
    drive = 0.1
    flow = swift_hohenberg(CIRCLE, drive)
    x = CIRCLE.coordinates()
    start = 0.1 * x.cos() + 0.05 * (2 * x).sin() + 0.02
    path = flow.evolve(start, step=0.5, steps=1000, method="imex_euler", every=1)
    energies = swift_hohenberg_energy(CIRCLE, path, drive)
    assert float(energies.diff().max()) <= 1e-14
    assert float(energies[-1]) == pytest.approx(-0.00166724491795, abs=1e-13)
    assert float(energies[-1]) == pytest.approx(-(drive**2) / 6, abs=6e-7)
    crest = float(CIRCLE.transform(path[-1])[1, 0].abs() / 16)
    assert crest == pytest.approx(0.36514837167, abs=2e-4)
    assert crest == pytest.approx(0.365243301465, abs=1e-10)
    assert float(flow.rate(path[-1]).abs().max()) < 1e-11
    # A field that grows has an energy that the law refuses.
    assert float(swift_hohenberg_energy(CIRCLE, 2 * path[-1], drive)) > float(energies[-1])


@pytest.mark.parametrize("points", [(16,), (8, 6)])
@pytest.mark.parametrize("step", [1e-3, 0.1, 10.0, 1e6])
def test_implicit_heat_steps_obey_the_maximum_principle(points, step):
    grid = PeriodicGrid(points, (2.0,) * len(points), "differences")
    start = noise(20, *points, 1).sign()
    end = heat(grid).evolve(start, step=step, steps=1, method="imex_euler")
    assert float(end.abs().max()) <= 1 + 1e-12
    torch.testing.assert_close(grid.mean(end), grid.mean(start))
    # The spectral Laplacian has no such principle, and short steps of a jump show it.
    spectral = PeriodicGrid(points, (2.0,) * len(points))
    jump = heat(spectral).evolve(start, step=1e-3, steps=1, method="imex_euler")
    assert float(jump.abs().max()) > 1 + 1e-4


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_explicit_steps_beyond_the_limit_are_refused(axes, method):
    grid = PeriodicGrid((8,) * axes, (4.0,) * axes, "differences")
    flow = heat(grid, 2.0)
    limit = flow.stability_limit(method)
    euler_limit = 0.5**2 / (2 * axes * 2.0)
    factor = 1 if method == "euler" else 2.785293563405282 / 2
    assert limit == pytest.approx(factor * euler_limit, rel=1e-13)
    parity = grid.coordinates().sum(-1, keepdim=True) / 0.5
    start = (math.pi * parity).cos()
    end = flow.evolve(start, step=limit, steps=60, method=method)
    torch.testing.assert_close(end.abs(), start.abs())
    with pytest.raises(ArgumentError, match=f"at most {limit:.6g}"):
        flow.evolve(start, step=1.01 * limit, steps=1, method=method)
    assert flow.stability_limit("etdrk4") == math.inf
    # The same step with the limit left out does grow.
    free = SemilinearFlow(grid, flow.operator, nothing)
    free.stability_limit = lambda method: math.inf
    wild = free.evolve(start, step=1.05 * limit, steps=60, method=method)
    assert float(wild.abs().max()) > 10


@pytest.mark.parametrize("laplacian", ["spectral", "differences"])
def test_anisotropic_and_cross_diffusion_of_a_wave(laplacian):
    grid = PeriodicGrid((64, 48), (2 * math.pi, 2 * math.pi), laplacian)
    tensor = torch.tensor([[2.0, 0.7], [0.7, 1.0]], dtype=DOUBLE)
    cross = torch.tensor([[1.0, 0.3], [-0.2, 0.5]], dtype=DOUBLE)
    wave = (grid.coordinates() @ torch.tensor([1.0, -2.0], dtype=DOUBLE)).cos()
    amplitude = torch.tensor([1.0, 0.4], dtype=DOUBLE)
    flow = reaction_diffusion(grid, cross, nothing, anisotropy=tensor)
    end = flow.evolve(wave[..., None] * amplitude, step=0.2, steps=1)
    rate = 2 - 4 * 0.7 + 4 * 1  # k . A k
    wanted = wave[..., None] * (torch.linalg.matrix_exp(-0.2 * rate * cross) @ amplitude)
    tolerance = 1e-12 if laplacian == "spectral" else 5e-3
    torch.testing.assert_close(end, wanted, rtol=0, atol=tolerance)


def test_real_noise_stays_real_under_mixed_derivatives():
    grid = PeriodicGrid((6, 8), (1.0, 2.0))
    tensor = torch.tensor([[2.0, 0.7], [0.7, 1.0]], dtype=DOUBLE)
    symbol = grid.minus_laplacian(tensor)
    # The Nyquist row must be even, or no real operator has this symbol.
    torch.testing.assert_close(symbol[1:3, 4], symbol.flip(0)[0:2, 4])
    torch.testing.assert_close(symbol[1:3, 0], symbol.flip(0)[0:2, 0])
    assert bool((symbol >= 0).all())


@pytest.mark.parametrize("method", sorted(ORDERS))
def test_batches_are_loops_and_gradients_are_right(method):
    grid = PeriodicGrid((3, 3), (3.0, 2.0), "differences")
    fields = 1 + 0.1 * noise(2, 3, 3, 2)

    def end(field, diffusion, a):
        flow = reaction_diffusion(grid, diffusion, Schnakenberg(a, 0.9))
        return flow.evolve(field, step=0.05, steps=1, method=method)

    diffusion = torch.tensor([0.1, 1.0], dtype=DOUBLE)
    a = torch.tensor(0.1, dtype=DOUBLE)
    rows = torch.stack([end(field, diffusion, a) for field in fields])
    torch.testing.assert_close(end(fields, diffusion, a), rows, rtol=0, atol=1e-14)
    inputs = [x.clone().requires_grad_() for x in (fields[0], diffusion, a)]
    assert torch.autograd.gradcheck(end, inputs)


def test_float32_fields_stay_float32():
    flow = reaction_diffusion(CIRCLE, torch.tensor([0.1, 1.0]), Schnakenberg(0.1, 0.9))
    end = flow.evolve(torch.ones(32, 2), step=0.1, steps=3)
    assert end.dtype == torch.float32


@pytest.mark.parametrize(
    "kinetics",
    [Schnakenberg(0.1, 0.9), Brusselator(3.0, 4.0), GrayScott(0.04, 0.055)],
    ids=["schnakenberg", "brusselator", "gray-scott"],
)
def test_steady_states_rest(kinetics):
    assert float(kinetics(kinetics.steady_state()).abs().max()) < 1e-15


def test_golden_steady_states():
    assert Schnakenberg(0.1, 0.9).steady_state().tolist() == pytest.approx([1, 0.9], abs=1e-15)
    wanted = [0.34387505004, 0.276263136825]
    assert GrayScott(0.04, 0.055).steady_state().tolist() == pytest.approx(wanted, abs=1e-11)
    assert GrayScott(0.04, 0.0599999).steady_state()[0] == pytest.approx(0.5, abs=2e-3)
    with pytest.raises(ArgumentError, match=r"only \(1, 0\) is steady"):
        GrayScott(0.04, 0.0600001).steady_state()


def test_what_cannot_be_used_is_told():
    for points, lengths, name in (
        ((2,), (1.0,), "points"),
        ((4, 4), (1.0,), "lengths"),
        ((4,), (-1.0,), "lengths"),
    ):
        with pytest.raises(ArgumentError, match=f"{name}: got"):
            PeriodicGrid(points, lengths)
    with pytest.raises(ArgumentError, match="laplacian: got"):
        PeriodicGrid((4,), (1.0,), "upwind")
    flow = heat(CIRCLE)
    good = torch.ones(32, 1, dtype=DOUBLE)
    for field in (good[:-1], good[:, [0, 0]], good.long(), good * math.nan):
        with pytest.raises(ArgumentError, match="field: got"):
            flow.evolve(field, step=0.1, steps=1)
    for options in ({"method": "magic"}, {"every": 3}, {"step": -0.1}, {"steps": -1}):
        with pytest.raises(ArgumentError, match=f"{next(iter(options))}: got"):
            flow.evolve(good, **({"step": 0.1, "steps": 2} | options))
    with pytest.raises(ArgumentError, match="keeps the field finite"):
        reaction_diffusion(CIRCLE, torch.ones(1, dtype=DOUBLE), lambda u: u**3).evolve(
            2 * good, step=0.1, steps=20
        )
    for diffusion in ([-1.0], [[1.0, 0.0, 0.0]]):
        with pytest.raises(ArgumentError, match="diffusion: got"):
            reaction_diffusion(CIRCLE, torch.tensor(diffusion), nothing)
    square = PeriodicGrid((4, 4), (1.0, 1.0))
    for tensor in (
        torch.eye(3),
        torch.tensor([[1.0, 2], [2, 1]]),
        torch.tensor([[1.0, 1], [0, 1]]),
    ):
        with pytest.raises(ArgumentError, match="anisotropy: got"):
            square.minus_laplacian(tensor.double())
