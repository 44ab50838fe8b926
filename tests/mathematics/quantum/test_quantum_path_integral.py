import itertools
import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import PathIntegralFramework, mehler_kernel


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def harmonic(x):
    return x.square() / 2


def identity(x):
    return x


OSCILLATOR = PathIntegralFramework(harmonic)
FINE = PathIntegralFramework(harmonic, half_width=8.0, points=200)
X, Y = real(0.3), real(-0.5)


def anharmonic(strength):
    framework = PathIntegralFramework(
        lambda x: x.square() / 2 + strength * x**4, half_width=7.0, points=96
    )
    return framework.spectrum()[0]


def semigroup():
    x, h = OSCILLATOR.grid, OSCILLATOR.spacing
    halves = [OSCILLATOR.propagator(a.expand_as(x), x, 0.5) for a in (X, Y)]
    return (halves[0] * halves[1]).sum().real * h


def correlated(times, temperature=1.0):
    return OSCILLATOR.correlation_function([identity] * len(times), times, temperature)


GOLDEN = {
    "B4 Mehler": (lambda: OSCILLATOR.propagator(X, Y, 1.0).real, 0.259107581287, 1e-12),
    "B4 Mehler, closed": (lambda: mehler_kernel(X, Y, 1.0).real, 0.259107581287, 1e-12),
    "B4 semigroup": (semigroup, 0.259107581287, 1e-12),
    "B4 Z at beta 1": (lambda: OSCILLATOR.partition_function(1.0), 0.959517375667, 1e-12),
    "B4 Z at beta 2": (lambda: OSCILLATOR.partition_function(0.5), 0.42545906412, 1e-11),
    "B4 mean square": (lambda: correlated([0.0, 0.0]), 1.08197670687, 1e-11),
    "B4 G at 0.3": (lambda: correlated([0.3, 0.0]), 0.978771776357, 1e-12),
    "B4 Z_4": (lambda: FINE.sliced_partition_function(1.0, 4), 0.962208850147, 1e-12),
    "B4 Z_16": (lambda: FINE.sliced_partition_function(1.0, 16), 0.959686301884, 1e-12),
    "B4 Z_64": (lambda: FINE.sliced_partition_function(1.0, 64), 0.959527936348, 1e-12),
    "B4 real time": (lambda: mehler_kernel(X, Y, 1j).abs(), 0.434901086951, 1e-12),
    "B4 free particle": (
        lambda: mehler_kernel(real(0.0), real(1.0), 1.0, frequency=0).real,
        0.241970724519,
        1e-12,
    ),
    "B4 anharmonic 0.1, E0": (lambda: anharmonic(0.1)[0], 0.559146327183, 2e-12),
    "B4 anharmonic 0.1, E1": (lambda: anharmonic(0.1)[1], 1.76950264395, 1e-11),
    "B4 anharmonic 1, E0": (lambda: anharmonic(1.0)[0], 0.803770651234, 1e-12),
    "B4 anharmonic 1, E1": (lambda: anharmonic(1.0)[1], 2.73789226801, 1e-11),
}


@pytest.mark.parametrize(("found", "value", "error"), GOLDEN.values(), ids=GOLDEN)
def test_golden(found, value, error):
    assert abs(float(found()) - value) < error


def test_sliced_partition_functions_converge_with_order_two():
    exact = 1 / (2 * math.sinh(0.5))
    errors = [abs(float(FINE.sliced_partition_function(1.0, n)) - exact) for n in (4, 16, 64)]
    assert abs(errors[0] - 2.691e-3) < 1e-6
    slopes = [math.log(a / b) / math.log(4) for a, b in itertools.pairwise(errors)]
    assert abs(slopes[0] - 2) < 0.01
    assert abs(slopes[1] - 2) < 0.001


def test_sliced_partition_function_is_the_sum_over_paths():
    """Two slices: the double integral of e^(-S) over closed paths, by the trapezoidal rule."""
    framework = PathIntegralFramework(lambda x: x**4, half_width=4.0, points=80, mass=1.3)
    a, b = torch.meshgrid(framework.grid, framework.grid, indexing="ij")
    action = framework.action_functional(torch.stack([a, b], -1), 0.9, periodic=True)
    total = torch.exp(-action).sum() * framework.spacing**2 * 1.3 / (2 * math.pi * 0.45)
    torch.testing.assert_close(total, framework.sliced_partition_function(1 / 0.9, 2))


@pytest.mark.parametrize("time", [0.7, 0.3 + 1j, 0.25 + 2.2j])
def test_propagators_at_complex_times_are_mehlers(time):
    x, y = torch.rand(2, 5, dtype=torch.float64) * 3 - 1.5
    wide = PathIntegralFramework(harmonic, half_width=12.0, points=200)
    torch.testing.assert_close(
        wide.propagator(x, y, time),
        mehler_kernel(x, y, time).to(torch.complex128),
        atol=1e-9,
        rtol=0,
    )


def test_propagators_of_two_times_make_one():
    framework = PathIntegralFramework(lambda x: x**4 - x, half_width=5.0, points=100, mass=0.8)
    x = framework.grid
    one = framework.propagator(real(0.2).expand_as(x), x, 0.3 + 0.4j)
    two = framework.propagator(x, real(-0.1).expand_as(x), 0.2 - 0.1j)
    whole = framework.propagator(real(0.2), real(-0.1), 0.5 + 0.3j)
    torch.testing.assert_close((one * two).sum() * framework.spacing, whole, rtol=1e-8, atol=1e-9)
    around = framework.propagator(x, x, 0.5).real.sum() * framework.spacing
    torch.testing.assert_close(around, framework.partition_function(2.0))


def test_correlations():
    square, tau = [], [0.1, 0.7, 0.2, 0.45]
    for a, b in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        square.append(correlated([tau[a], tau[b]]))
        gap = abs(tau[a] - tau[b])
        closed = math.cosh(0.5 - gap) / (2 * math.sinh(0.5))
        assert abs(float(square[-1]) - closed) < 1e-12
    wick = square[0] * square[5] + square[1] * square[4] + square[2] * square[3]
    torch.testing.assert_close(correlated(tau), wick)
    assert abs(float(correlated([0.3]))) < 1e-12
    cold = PathIntegralFramework(lambda x: x**4, half_width=5.0, points=64)
    values = cold.spectrum()[0]
    early, late = (cold.correlation_function([identity] * 2, [0, t], 0.02) for t in (10.0, 11.0))
    torch.testing.assert_close((early / late).log(), values[1] - values[0])


def test_action_of_the_classical_path():
    exact = ((0.3**2 + 0.5**2) * math.cosh(2) + 2 * 0.3 * 0.5) / (2 * math.sinh(2))
    errors = []
    for count in (41, 81):
        t = torch.linspace(0, 2, count, dtype=torch.float64)
        path = (0.3 * torch.sinh(2 - t) - 0.5 * torch.sinh(t)) / math.sinh(2)
        path.requires_grad_()
        action = OSCILLATOR.action_functional(path, 2.0)
        (slope,) = torch.autograd.grad(action, path)
        assert float(slope[1:-1].abs().max()) < 0.01 * (40 / (count - 1)) ** 3
        errors.append(abs(float(action.detach()) - exact))
    assert abs(math.log2(errors[0] / errors[1]) - 2) < 0.01
    path = torch.randn(3, 7, dtype=torch.float64)
    both = [OSCILLATOR.action_functional(path, 1.5, euclidean=e) for e in (True, False)]
    torch.testing.assert_close((both[0] + both[1]) / 2, path.diff().square().sum(-1) * 2)
    around = OSCILLATOR.action_functional(path, 1.5, periodic=True)
    turned = OSCILLATOR.action_functional(path.roll(2, -1), 1.5, periodic=True)
    torch.testing.assert_close(around, turned)


def test_effective_action():
    phi = torch.linspace(-1.5, 1.5, 4, dtype=torch.float64).requires_grad_()
    gamma, source = OSCILLATOR.effective_action(phi, 0.7)
    free = -0.7 * math.log(1 / (2 * math.sinh(1 / 1.4)))
    torch.testing.assert_close(gamma, phi.square() / 2 + free)
    torch.testing.assert_close(source, phi.detach())
    well = PathIntegralFramework(lambda x: (x.square() - 1).square() * 2, half_width=5.0, points=64)
    gamma, source = well.effective_action(phi, 0.05)
    (slope,) = torch.autograd.grad(gamma.sum(), phi)
    torch.testing.assert_close(slope, source)
    assert torch.autograd.gradcheck(lambda x: well.effective_action(x, 0.3)[0], phi)
    at = torch.linspace(-1.2, 1.2, 9, dtype=torch.float64)
    gamma = well.effective_action(at, 0.05)[0]
    assert bool((gamma.diff().diff() > 0).all())  # convex, where V is not
    assert bool((harmonic_free(well, 0.05) <= gamma + 1e-10).all())
    torch.testing.assert_close(gamma[4], harmonic_free(well, 0.05))
    one = torch.stack([well.effective_action(x, 0.05)[0] for x in at])
    torch.testing.assert_close(one, gamma)


def harmonic_free(framework, temperature):
    return -temperature * framework.partition_function(temperature).log()


def test_gradients_reach_parameters_of_the_potential():
    def observed(strength):
        framework = PathIntegralFramework(
            lambda x: x.square() / 2 + strength * x**4, half_width=5.0, points=48
        )
        return (
            framework.partition_function(real([0.5, 2.0])),
            framework.sliced_partition_function(1.0, 4),
            framework.correlation_function([identity, identity], [0.1, 0.5], 1.0),
            framework.propagator(X, Y, 0.5).real,
        )

    assert torch.autograd.gradcheck(observed, real(0.3).requires_grad_())


MISUSED = {
    "mass": (lambda: PathIntegralFramework(harmonic, mass=0.0), "mass: got 0.0"),
    "points": (lambda: PathIntegralFramework(harmonic, points=3), "points: got 3"),
    "infinite": (
        lambda: PathIntegralFramework(lambda x: 0 / (x - x)).spectrum(),
        r"potential: got \[128\], or not finite",
    ),
    "shape": (
        lambda: PathIntegralFramework(lambda x: x[:, None]).sliced_partition_function(1.0, 4),
        r"potential: got \[128, 1\]",
    ),
    "operator": (
        lambda: OSCILLATOR.correlation_function([lambda x: x[:3]], [0.0], 1.0),
        r"operators: got \[3\]",
    ),
    "dtype": (lambda: PathIntegralFramework(harmonic, dtype=torch.int64), "dtype: got torch.int64"),
    "weight": (lambda: PathIntegralFramework(harmonic, mass=math.inf), "mass: got inf"),
    "width": (lambda: PathIntegralFramework(harmonic, half_width=math.inf), "points: got 128 up"),
    "endless": (lambda: OSCILLATOR.propagator(X, Y, math.inf), "time: got inf"),
    "no frequency": (lambda: mehler_kernel(X, Y, 1.0, frequency=math.nan), "time: got 1.0 with fr"),
    "no time": (lambda: mehler_kernel(X, Y, math.nan), "time: got nan"),
    "subnormal": (lambda: OSCILLATOR.partition_function(1e-310), "temperature: got 1e-310"),
    "temperature": (lambda: OSCILLATOR.partition_function(0.0), "temperature: got 0.0"),
    "leaves": (
        lambda: OSCILLATOR.partition_function(real([1.0, 12.0])),
        "half_width: got paths that leave the grid along axis 0",
    ),
    "hot": (
        lambda: PathIntegralFramework(lambda x: 0 * x).sliced_partition_function(1.0, 4),
        "half_width: got paths that leave",
    ),
    "cold": (lambda: OSCILLATOR.effective_action(X, -1.0), "temperature: got -1.0"),
    "times": (lambda: correlated([1.5]), r"times: got \[1.5\], expected from 0 to 1"),
    "operators": (
        lambda: OSCILLATOR.correlation_function([identity], [], 1.0),
        "times: got 0 for 1 operators",
    ),
    "real time": (lambda: OSCILLATOR.propagator(X, Y, 1j), "time: got 1j"),
    "far": (lambda: OSCILLATOR.propagator(X * 50, Y, 1.0), "initial: got places off"),
    "field": (lambda: OSCILLATOR.effective_action(X * 50, 1.0), "field: got means off"),
    "no slices": (lambda: FINE.sliced_partition_function(1.0, 0), "slices: got 0"),
    "too many": (lambda: FINE.sliced_partition_function(1.0, 5000), "slices: got 5000"),
    "duration": (lambda: FINE.action_functional(FINE.grid, 0.0), "duration: got 0.0"),
    "path": (lambda: FINE.action_functional(FINE.grid[:1], 1.0), r"path: got \[1\]"),
    "backwards": (lambda: mehler_kernel(X, Y, -1.0), "time: got -1.0"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
