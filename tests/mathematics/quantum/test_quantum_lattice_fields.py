import itertools
import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    GaugeField,
    PathIntegralFramework,
    ScalarField,
    bessel_ratio,
    hybrid_monte_carlo,
    lattice_propagator,
    plaquette,
    sampled_mean,
    zero_dimensional_partition_function,
)
from adaptive_attention_tiling.mathematics.quantum.gauge_field import (
    _cosines,
    drawn_around,
    inverse,
    multiplied,
)
from adaptive_attention_tiling.mathematics.quantum.hybrid_monte_carlo import _move


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def seeded(number):
    return torch.Generator().manual_seed(number)


def deviation(series, exact):
    """How many standard errors a mean is from its exact value."""
    mean = sampled_mean(series)
    return abs(mean.value - float(exact)) / mean.error


def drawn(field, number=0, **options):
    options = {"chains": 256, "draws": 40, "burn_in": 12, "leapfrog_steps": 6} | options
    return field.sample(generator=seeded(number), **options)


FREE = ScalarField((6, 4), 0.8)
DRAWN = drawn(FREE)


def test_action_is_the_sum_over_sites():
    field = torch.randn(2, 3, 4, dtype=torch.float64, generator=seeded(1))
    lattice = ScalarField((3, 4), -0.7, 2.0)
    total = torch.zeros(2, dtype=torch.float64)
    for i, j in itertools.product(range(3), range(4)):
        here = field[:, i, j]
        for near in (field[:, (i + 1) % 3, j], field[:, i, (j + 1) % 4]):
            total += (near - here) ** 2 / 2
        total += -0.7 * here**2 / 2 + 2.0 * here**4 / 24
    torch.testing.assert_close(lattice.action(field), total)
    torch.testing.assert_close(lattice.action(field.roll((1, 2), (1, 2))), total)
    assert torch.autograd.gradcheck(lattice.action, field.requires_grad_())


def test_free_fields_have_the_lattice_propagator():
    exact = lattice_propagator(real(math.sqrt(0.8)), (6, 4))
    seen = FREE.two_point_function(DRAWN.states)
    slow = torch.stack(
        [(DRAWN.states[0] * DRAWN.states[0].roll(-k, 1)).mean((1, 2)) for k in (0, 2)]
    )
    torch.testing.assert_close(seen[0, :, (0, 2), 0], slow.mT)
    for x in ((0, 0), (1, 0), (0, 1), (3, 2)):
        assert deviation(seen[..., x[0], x[1]], exact[x]) < 4
    wrong = lattice_propagator(real(math.sqrt(0.92)), (6, 4))
    assert deviation(seen[..., 0, 0], wrong[0, 0]) > 6
    assert 0.6 < DRAWN.acceptance < 0.99


@pytest.mark.parametrize("name", ["free", "quartic"])
def test_changes_of_energy_keep_volume(name):
    """<e^(-dH)> = 1, because the map keeps volume and can be turned around."""
    found = DRAWN if name == "free" else drawn(ScalarField((3, 3), -1.0, 6.0), 3)
    change = found.energy_change
    assert deviation(torch.exp(-change), 1.0) < 4
    assert float(change.mean()) > 5 * sampled_mean(change).error
    expected = torch.erfc(change.mean().sqrt() / 2)  # Gaussian dH, Knechtli et al. (2017), 2.66
    assert abs(found.acceptance - float(expected)) < 0.03


def test_one_site_is_the_quartic_integral():
    def partition(mass_squared):
        return zero_dimensional_partition_function(
            lambda x: mass_squared * x.square() / 2 + 3.0 * x**4 / 24
        )

    m = real(0.5).requires_grad_()
    (slope,) = torch.autograd.grad(partition(m).log(), m)
    field = ScalarField((1,), 0.5, 3.0)
    found = drawn(field, 2, step_length=0.7)
    assert deviation(found.states.square()[..., 0], -2 * slope) < 4
    assert deviation(found.states.square()[..., 0], -2.5 * slope) > 6


def test_a_chain_of_sites_is_a_path():
    """One dimension: <phi^2> by the transfer matrix with steps of length 1."""

    def partition(mass_squared):
        return PathIntegralFramework(
            lambda x: mass_squared * x.square() / 2 + 2.0 * x**4 / 24, half_width=8.0
        ).sliced_partition_function(1 / 5, 5)

    m = real(-0.5).requires_grad_()
    (slope,) = torch.autograd.grad(partition(m).log(), m)
    field = ScalarField((5,), -0.5, 2.0)
    found = drawn(field, 4, chains=512, draws=25, leapfrog_steps=8)
    assert deviation(found.states.square().mean(-1), -2 / 5 * slope) < 4


def test_equations_of_motion_hold_on_average():
    """<sum_x phi dS/dphi> = V (Schwinger and Dyson), by parts."""
    field = ScalarField((3, 3), -1.0, 6.0)
    state = drawn(field, 3).states.requires_grad_()
    (slope,) = torch.autograd.grad(field.action(state).sum(), state)
    virial = (state * slope).sum((-2, -1)).detach()
    assert deviation(virial, 9.0) < 4
    assert deviation(virial, 9.4) > 5


def test_moves_can_be_turned_around():
    """A leapfrog written out, and back with the momenta turned."""

    def force(x):
        return -x - x**3

    def action(x):
        return x.square() / 2 + x**4 / 4

    state, momentum = torch.randn(2, 6, dtype=torch.float64, generator=seeded(8))
    x, p = state, momentum
    for _ in range(3):
        p = p + 0.15 * force(x)
        x = x + 0.3 * p
        p = p + 0.15 * force(x)
    found, change = _move(action, state, momentum, 0.3, 3)
    torch.testing.assert_close(found, x)
    grown = action(x) + p.square() / 2 - action(state) - momentum.square() / 2
    torch.testing.assert_close(change, grown)
    back, undone = _move(action, x, -p, 0.3, 3)
    torch.testing.assert_close(back, state)
    torch.testing.assert_close(undone, -change)
    chains = hybrid_monte_carlo(action, state, 0.3, draws=4, generator=seeded(0))
    assert chains.states.shape == (6, 4)


def test_steps_have_order_two_and_long_ones_still_give_the_distribution():
    def spread(step):
        found = FREE.sample(
            chains=400, draws=2, burn_in=8, leapfrog_steps=round(2 / step), step_length=step,
            generator=seeded(7),
        )  # fmt: skip
        return float(found.energy_change.std())

    assert abs(math.log2(spread(0.4) / spread(0.2)) - 2) < 0.25
    state = real([[1.0, 2.0]]).expand(500, 2)
    wide = hybrid_monte_carlo(
        lambda x: x.square().sum(-1) / 2, state, real([1.4, 0.7]), draws=40, burn_in=5,
        leapfrog_steps=3, generator=seeded(0),
    )  # fmt: skip
    assert wide.acceptance < 0.9
    for axis in (0, 1):
        assert deviation(wide.states[..., axis].square(), 1.0) < 4


def test_steps_of_unlike_lengths_leave_closed_orbits():
    """Six leapfrog steps of length 1 around S = x^2 / 2 lead back to their start."""

    def found():
        return hybrid_monte_carlo(
            lambda x: x.square().sum(-1) / 2, torch.full((400, 1), 3.0).double(), 1.0, draws=20,
            burn_in=20, leapfrog_steps=6, generator=seeded(3),
        )  # fmt: skip

    chains = found()
    assert chains.acceptance < 0.95
    assert deviation(chains.states[..., 0].square(), 1.0) < 4
    assert torch.equal(chains.states, found().states)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_heat_bath_around_a_direction(width):
    strength = real([1e-3, 0.5, 3.0, 400.0])
    axis = torch.nn.functional.normalize(torch.ones(width, dtype=torch.float64), dim=0)
    pull = (strength[:, None, None] * axis).expand(4, 20_000, width)
    found = drawn_around(pull, seeded(width))
    torch.testing.assert_close(found.square().sum(-1), torch.ones(4, 20_000, dtype=torch.float64))
    along = found @ axis
    exact = strength.tanh() if width == 1 else bessel_ratio(strength, width // 2 - 1)
    error = along.std(1) / math.sqrt(20_000)
    assert bool(((along.mean(1) - exact).abs() <= 4 * error).all())
    if width > 1:
        square = 1 - (width - 1) * exact / strength  # of t, from Bessel's recurrence
        error = along.square().std(1) / math.sqrt(20_000)
        assert bool(((along.square().mean(1) - square).abs() <= 4 * error).all())
        aside = (found - along[..., None] * axis).mean(1)
        assert float(aside.abs().max()) < 0.02
    # Also where what is drawn across lies along the axis, as some of 2^16 numbers do.
    many = drawn_around(axis.float().expand(2**16, width), seeded(7))
    assert float((many.norm(dim=1) - 1).abs().max()) < 1e-6
    still = drawn_around(torch.zeros(20_000, width, dtype=torch.float64), seeded(5))
    assert float(still.mean(0).abs().max()) < 0.03


def test_rejection_of_cosines_cuts_nothing_off():
    """A bound too low by 3 parts in 100 would move the mean by 6 of these errors."""
    found = _cosines(torch.full((2_000_000,), 3.0), 4, seeded(8)).double()
    error = float(found.std()) / math.sqrt(2_000_000)
    assert abs(float(found.mean() - bessel_ratio(real(3.0), 1))) < 3 * error


def test_products_are_those_of_quaternions():
    one, i, j, k = torch.eye(4, dtype=torch.float64)
    for a, b, c in ((i, j, k), (j, k, i), (k, i, j)):
        torch.testing.assert_close(multiplied(a, b), c)
        torch.testing.assert_close(multiplied(b, a), -c)
        torch.testing.assert_close(multiplied(a, a), -one)
    z = torch.randn(2, 5, 2, dtype=torch.float64, generator=seeded(0))
    numbers = torch.view_as_complex(z[0]) * torch.view_as_complex(z[1])
    torch.testing.assert_close(multiplied(*z), torch.view_as_real(numbers))


COUPLINGS = {"Z2": 0.5, "U(1)": 1.0, "SU(2)": 2.0}  # those of the reference values


@pytest.mark.parametrize("group", COUPLINGS)
def test_golden_plaquettes_by_sampling(group):
    beta = COUPLINGS[group]
    field = GaugeField((6, 6), beta, group)
    links = field.sample(chains=240, draws=4, burn_in=8, generator=seeded(1))
    mean = field.plaquettes(links).mean((-3, -2, -1))
    assert deviation(mean, plaquette(real(beta), group)) < 4
    assert deviation(mean, plaquette(real(0.9 * beta), group)) > 6
    assert sampled_mean(mean).error < 0.005
    for length, width in ((2, 1), (2, 2)):
        area = field.wilson_loops(links, length, width).mean((-3, -2, -1))
        exact = plaquette(real(beta), group) ** (length * width)
        assert deviation(area, exact) < 4
        assert sampled_mean(area).error < 0.01
    again = field.sample(chains=240, draws=1, burn_in=8, generator=seeded(1))
    assert torch.equal(again[:, 0], links[:, 0])


def test_a_small_torus_is_the_sum_over_all_links():
    """Z2 on 2 x 2 sites: all 256 configurations; the product of its plaquettes is 1."""
    field = GaugeField((2, 2), 0.7, "Z2")
    signs = list(itertools.product((1.0, -1.0), repeat=8))
    links = real(signs).reshape(256, 2, 2, 2, 1)
    seen = field.plaquettes(links)
    torch.testing.assert_close(seen.flatten(1).prod(1), torch.ones(256, dtype=torch.float64))
    weight = torch.softmax(-field.action(links), 0)
    exact = (weight * seen.flatten(1).mean(1)).sum()
    t = math.tanh(0.7)
    assert abs(float(exact) - (t + t**3) / (1 + t**4)) < 1e-14
    drawn_links = field.sample(chains=200, draws=50, burn_in=10, generator=seeded(2))
    assert drawn_links.shape == (200, 50, 2, 2, 2, 1)
    mean = field.plaquettes(drawn_links)
    assert deviation(mean.mean((-3, -2, -1)), exact) < 4
    assert deviation(mean.mean((-3, -2, -1)), t) > 6
    free = GaugeField((2, 2), 0.0, "Z2")
    assert float(free.action(links).abs().max()) == 0


@pytest.mark.parametrize("group", COUPLINGS)
def test_plaquettes_do_not_see_gauge_transformations(group):
    field = GaugeField((2, 4, 4), 1.3, group)
    links = field.sample(chains=3, draws=1, burn_in=0, generator=seeded(3))[:, 0]
    turn = drawn_around(torch.zeros_like(links[:, 0]), seeded(4))
    turned = torch.stack(
        [
            multiplied(multiplied(turn, links[:, a]), inverse(turn.roll(-1, a + 1)))
            for a in range(3)
        ],
        1,
    )
    for size in ((1, 1), (2, 1), (1, 3)):
        found = field.wilson_loops(turned, *size)
        torch.testing.assert_close(found, field.wilson_loops(links, *size))
        assert found.shape == (3, 3, 2, 4, 4)
    assert not torch.allclose(turned, links)
    other, parts = links.clone(), list(links.unbind(1))
    fresh = drawn_around(torch.zeros_like(links[:, 1, 1, 2, 0]), seeded(6))
    other[:, 1, 1, 2, 0] = fresh
    change = -1.3 * ((fresh - links[:, 1, 1, 2, 0]) * field._pull(parts, 1)[:, 1, 2, 0]).sum(-1)
    torch.testing.assert_close(field.action(other) - field.action(links), change)


def test_single_precision():
    links = GaugeField((4, 4), 1.0).sample(chains=2, draws=2, burn_in=1, dtype=torch.float32)
    assert links.dtype == torch.float32
    torch.testing.assert_close(links.square().sum(-1), torch.ones(2, 2, 2, 4, 4))
    found = FREE.sample(chains=2, draws=2, burn_in=1, dtype=torch.float32)
    assert found.states.dtype == found.energy_change.dtype == torch.float32


GAUGE = GaugeField((2, 2), 1.0)
ONES = torch.tensor([1.0, 0.0]).expand(2, 2, 2, 2)
MISUSED = {
    "no sites": (lambda: ScalarField((), 1.0), r"shape: got \(\)"),
    "massless": (lambda: ScalarField((4,), 0.0), "mass_squared: got 0.0"),
    "NaN mass": (lambda: ScalarField((4,), math.nan, 1.0), "mass_squared: got nan"),
    "coupling": (lambda: ScalarField((4,), 1.0, -0.1), "coupling: got -0.1"),
    "field": (lambda: FREE.action(torch.zeros(4, 6)), r"field: got \[4, 6\]"),
    "step": (lambda: FREE.sample(step_length=0.0), "step_length: got 0.0"),
    "chains": (lambda: FREE.sample(chains=0), "chains: got 0"),
    "draws": (lambda: FREE.sample(draws=0), "draws: got 0"),
    "burn in": (lambda: FREE.sample(burn_in=-1), "step: got .* after -1"),
    "action": (
        lambda: hybrid_monte_carlo(lambda x: x.sum(), torch.zeros(2, 3), 0.1),
        r"action: got \[\]",
    ),
    "infinite": (
        lambda: hybrid_monte_carlo(lambda x: 1 / x[:, 0], torch.zeros(2, 3), 0.1),
        "action: got .* not finite",
    ),
    "odd": (lambda: GaugeField((4, 5), 1.0), r"shape: got \(4, 5\)"),
    "beta": (lambda: GaugeField((4, 4), -1.0), "coupling: got -1.0"),
    "group": (lambda: GaugeField((4, 4), 1.0, "SU(3)"), r"group: got SU\(3\)"),
    "links": (lambda: GAUGE.action(torch.zeros(2, 2, 2, 4)), r"links: got \[2, 2, 2, 4\]"),
    "loop": (lambda: GAUGE.wilson_loops(ONES, 0, 1), "length: got 0 x 1"),
    "long links": (lambda: GAUGE.action(2 * ONES), "links: got lengths off by 3"),
    "burnt": (lambda: GAUGE.sample(burn_in=-1), "burn_in: got -1"),
    "endless step": (
        lambda: hybrid_monte_carlo(lambda x: x.sum(-1), torch.zeros(2, 3), math.inf),
        "step: got inf",
    ),
    "no start": (lambda: hybrid_monte_carlo(torch.sum, torch.tensor(0.0), 0.1), "start: got"),
    "no draws": (lambda: GAUGE.sample(draws=0), "draws: got 0"),
    "pull": (lambda: drawn_around(real([math.nan, 0.0])), "pull: got NaN"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
