import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    GeometricFlow,
    HamiltonianSystem,
    PeriodicGrid,
    chain_laplacian,
    mean_curvature_flow_sphere,
    reaction_diffusion,
    relaxation_diffusion_step,
    ricci_flow_sphere,
    rotational_ricci_flow,
    swift_hohenberg,
    swift_hohenberg_energy,
)
from adaptive_attention_tiling.mathematics.dynamics.ricci_flow import RotationalFlow
from adaptive_attention_tiling.mathematics.geometry import Sphere
from adaptive_attention_tiling.testing.laws import FlowValidation
from adaptive_attention_tiling.tiling.resolution import QuadraticEnergy, ResolutionField

DOUBLE = torch.float64
CIRCLE = PeriodicGrid((32,), (2 * math.pi,))


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def number(value):
    return torch.tensor(value, dtype=DOUBLE)


def nothing(u):
    return 0 * u


def heat(grid):
    return reaction_diffusion(grid, torch.ones(1, dtype=DOUBLE), nothing)


def falls(flow, energy, **options):
    return FlowValidation(**options).check_energy_monotonicity(flow, energy)


def squares(u):
    return u.square().sum()


def test_golden_swift_hohenberg_falls_for_four_thousand_steps():
    drive, x = 0.1, CIRCLE.coordinates()
    start = 0.1 * x.cos() + 0.05 * (2 * x).sin() + 0.02
    path = swift_hohenberg(CIRCLE, drive).evolve(
        start, step=0.5, steps=4000, method="imex_euler", every=1
    )

    def energy(u):
        return swift_hohenberg_energy(CIRCLE, u, drive)

    found = falls(path, energy, batched=True)
    assert found
    assert found.cases == 4000
    assert found.upper < 1e-14
    assert float(energy(path[-1])) == pytest.approx(-(drive**2) / 6, abs=6e-7)
    # One state by one is the same law.
    one = falls(path[:40], energy)
    assert one.measured == falls(path[:40], energy, batched=True).measured
    planted = energy(path)
    planted[1234] += 1e-10
    raised = falls(planted, lambda e: e)
    assert not raised
    assert (raised.where, raised.measured) == ("step 1233", pytest.approx(1e-10, rel=1e-3))


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize(("rise", "good"), [(0.9e-14, True), (1.2e-14, False), (-0.5, True)])
def test_a_rise_is_a_share_of_the_energy(size, rise, good):
    energies = size * torch.tensor([3.0, 1.0, 1 + rise, 0.1], dtype=DOUBLE)
    found = falls(energies, lambda e: e, rise=1e-14)
    assert bool(found) is good
    assert bool(falls(energies, lambda e: e, absolute_rise=3e-14 * size))


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_a_slow_rise_within_rounding_adds_up(size):
    steps = torch.arange(1000, dtype=DOUBLE)
    for rate in (1e-12, 4e-15, 1e-15):
        assert not falls(size * (1 + rate * steps), lambda e: e)
    found = falls(torch.cat([2 - steps / 1000, 1 + 4e-15 * steps]), lambda e: e)
    assert not found
    assert found.quantity == "energy above its lowest so far"
    assert found.where == "step 1998"
    # However long it fell before.
    assert not falls(torch.cat([2 - steps / 1000, 1 + 9e-15 * steps[:10]]), lambda e: e)
    # Rounding that knows no direction, in what is conserved.
    assert falls(size * (1 + 2e-16 * noise(4000).cumsum(0)), lambda e: e)
    assert falls(size * (1 + 1e-15 * noise(4000)), lambda e: e)
    batch = torch.stack([torch.ones(1000, dtype=DOUBLE), 1 + 4e-15 * steps], 1)
    assert falls(batch, lambda e: e).where == "step (998, 1)"


def test_steps_in_place_are_steps():
    def grow(u):
        return u.mul_(1.1)

    start = torch.ones(3, dtype=DOUBLE)
    for batched in (False, True):
        found = falls((grow, start), lambda u: u.square().sum(-1), batched=batched, steps=4)
        assert not found
    assert not keeps_range((grow, start), steps=4)
    assert torch.equal(start, torch.ones(3, dtype=DOUBLE))


def test_float32_energies_may_rise_by_their_rounding():
    eps = torch.finfo(torch.float32).eps
    for rise, good in ((16 * eps, True), (64 * eps, False)):
        assert bool(falls(torch.tensor([2.0, 1.0, 1 + rise]), lambda e: e)) is good
    # A float of Python is a double.
    assert not falls(torch.tensor([2.0, 1.0, 1.0 + 1e-12], dtype=DOUBLE), float)


def test_heat_falls_and_a_batch_has_all_its_members_looked_at():
    flow = heat(CIRCLE)
    start = noise(3, 32, 1)
    step = (lambda u: flow.evolve(u, step=0.01, steps=1), start)

    def energy(u):
        return flow.grid.mean(u.square())[..., 0]

    found = falls(step, energy, steps=20)
    assert found
    assert found.cases == 60
    path = flow.evolve(start, step=0.01, steps=20, every=1)
    path[7:, 1] *= 2
    broken = falls(path, energy)
    assert not broken
    assert broken.where == "step (6, 1)"


@pytest.mark.parametrize("values", [[1.0, math.nan, 0.5], [1.0, 0.5, math.nan], [1.0, math.inf, 0]])
def test_energy_that_is_no_number_fails(values):
    assert not falls(torch.tensor(values, dtype=DOUBLE), lambda e: e)


def sphere_flow(dimension, **options):
    s = torch.linspace(0, math.pi, 17, dtype=DOUBLE)
    profile = torch.cat([s.sin()[:-1], torch.zeros(1, dtype=DOUBLE)])
    return rotational_ricci_flow(profile, math.pi, dimension=dimension, every=5, **options)


@pytest.fixture(scope="module")
def spheres():
    return {n: sphere_flow(n, largest_curvature=30.0) for n in (2, 3)}


def test_golden_area_law_of_ricci_flow(spheres):
    flow = spheres[2]
    assert falls(flow, lambda state: state.volume)
    rates = flow.volumes.diff() / flow.times.diff()
    torch.testing.assert_close(rates, torch.full_like(rates, -8 * math.pi), rtol=2e-3, atol=0)
    grown = RotationalFlow(
        flow.times, flow.radii.flip(0), flow.lengths.flip(0), flow.curvatures, False, 2
    )
    assert not falls(grown, lambda state: state.volume)


def test_recorded_flows_are_their_parts():
    oscillator = HamiltonianSystem(lambda q, p: (q.square() + p.square()).sum(-1) / 2)
    one = torch.ones(1, dtype=DOUBLE)
    friend, foe = (
        oscillator.flow(one, 0 * one, step=0.1, steps=12, method=method)
        for method in ("implicit_midpoint", "euler")
    )

    def energy(state):
        return oscillator.compute_hamiltonian(*state)

    assert falls(friend, energy)
    assert not falls(foe, energy)
    sphere = Sphere(2)
    point, velocity = (torch.eye(3, dtype=DOUBLE)[k] for k in (0, 1))
    path = sphere.geodesic_flow(point, velocity, torch.linspace(0, 1, 9, dtype=DOUBLE))
    speeds = falls(path, lambda state: sphere.inner(state[0], state[1], state[1]))
    assert speeds
    assert speeds.cases == 8


def keeps_range(flow, operator=None, **options):
    return FlowValidation(**options).verify_maximum_principle(flow, operator)


@pytest.mark.parametrize("diffusion", [0.0, 1e-3, 1.0, 100.0, 1e6, 1e12])
@pytest.mark.parametrize("step", [1e-3, 1.0, 1e6])
def test_golden_resolution_pde_keeps_its_range(diffusion, step):
    start, source = noise(3, 40).sigmoid(), noise(3, 40, seed=1).sigmoid()
    lengths = 1 + noise(40, seed=2).abs()

    def advance(u):
        return relaxation_diffusion_step(u, source, step, diffusion=diffusion, lengths=lengths)

    found = keeps_range((advance, start), source=source, steps=3)
    assert found
    assert found.cases == 3
    field = ResolutionField(diffusion=diffusion, minimum=1e-3)
    energy = QuadraticEnergy(source, torch.ones_like(source))
    stepped = (lambda u: field.step(u, energy, step), start)
    assert keeps_range(stepped, source=source, steps=1, overshoot=1e-10)
    rows = keeps_range((advance, start), source=source, steps=3, space_axes=(1,))
    assert rows
    assert rows.cases == 9
    # The range of the start is left for a source beyond it.
    wide = keeps_range((advance, 0 * start + 2), steps=3)
    assert not wide


LAPLACIAN = torch.diag(torch.ones(7, dtype=DOUBLE), 1)
LAPLACIAN = LAPLACIAN + LAPLACIAN.mT
LAPLACIAN = LAPLACIAN - LAPLACIAN.sum(1).diag()


@pytest.mark.parametrize(("step", "good"), [(0.2, True), (0.49, True), (0.51, False), (0.7, False)])
def test_explicit_euler_beyond_half_leaves_the_range(step, good):
    start = torch.tensor([0, 0, 1, 0, 0, 1, 1, 0.0], dtype=DOUBLE)
    flow = (lambda u: u + step * LAPLACIAN @ u, start)
    found = keeps_range(flow, LAPLACIAN, steps=10)
    assert bool(found) is good
    if not good:
        assert "narrowing" in found.law


@pytest.mark.parametrize(("beyond", "good"), [(0.9e-12, True), (1.1e-12, False), (math.nan, False)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_overshoot_is_a_share_of_the_spread(beyond, good, size):
    start = torch.tensor([0.0, 1.0], dtype=DOUBLE)
    after = torch.tensor([-beyond, 0.5], dtype=DOUBLE)
    quiet = FlowValidation(overshoot=1e-12 - 64 * torch.finfo(DOUBLE).eps)
    found = quiet.verify_maximum_principle(size * torch.stack([start, after]))
    assert bool(found) is good


def test_ranges_narrow_from_state_to_state():
    back = torch.tensor([[0.0, 1.0], [0.4, 0.6], [0.3, 0.7]], dtype=DOUBLE)
    found = keeps_range(back)
    assert not found
    assert (found.where, found.measured) == ("step 1", pytest.approx(0.1))
    assert keeps_range(back, source=torch.tensor([0.0, 1.0]))
    batch = torch.stack([back[:2].flip(1), 2 + back[:2]], 1)
    batch[1, 0, 0] = 2.5
    assert keeps_range(batch)
    assert not keeps_range(batch, space_axes=(1,))
    # Each member keeps to its own source.
    sources = torch.tensor([[1.0, 1.0], [9.0, 9.0]], dtype=DOUBLE)
    apart = torch.zeros(2, 2, 2, dtype=DOUBLE)
    apart[1, 0, 0] = 5.0
    assert keeps_range(apart, source=sources)
    found = keeps_range(apart, source=sources, space_axes=(1,))
    assert not found
    assert (found.where, found.measured) == ("step (0, 0)", 4.0)
    # A constant has no spread, and its size serves instead.
    still = torch.full((3, 4), 5.0, dtype=DOUBLE)
    assert keeps_range(still)
    still[2, 1] += 1e-10
    assert not keeps_range(still)


def test_signs_of_the_operator_are_looked_at():
    start = noise(8)
    still = torch.stack([start, start])
    assert keeps_range(still, LAPLACIAN)
    assert keeps_range(still, lambda u: LAPLACIAN @ u)
    lengths = 1 + noise(8, seed=3).abs()
    assert keeps_range(still, lambda u: chain_laplacian(u, lengths))
    wrong = LAPLACIAN.clone()
    wrong[2, 5] = -1e-9
    wrong[2, 2] += 1e-9
    found = keeps_range(still, wrong)
    assert not found
    assert (found.where, found.quantity) == ("entry (2, 5)", "least entry beside the diagonal")
    grows = keeps_range(still, LAPLACIAN + 1e-9 * torch.eye(8, dtype=DOUBLE))
    assert not grows
    assert grows.quantity == "largest sum of a row"
    assert not keeps_range(still, -LAPLACIAN)


@pytest.mark.parametrize(("laplacian", "good"), [("differences", True), ("spectral", False)])
def test_the_spectral_laplacian_has_no_maximum_principle(laplacian, good):
    grid = PeriodicGrid((4, 5), (2.0, 2.0), laplacian)
    flow = heat(grid)
    start = noise(4, 5, 1)
    assert bool(keeps_range(torch.stack([start, start]), flow.linear_rate)) is good


def test_what_decays_decays_to_nought():
    start = torch.tensor([2.0, 3.0], dtype=DOUBLE)
    path = torch.stack([start, start / 2, start / 4])
    assert not keeps_range(path)
    assert keeps_range(path, -torch.eye(2, dtype=DOUBLE))
    assert not keeps_range(path - 2, -torch.eye(2, dtype=DOUBLE))


def exists(flow, horizon, **options):
    return FlowValidation(**options).check_long_time_existence(flow, horizon)


@pytest.mark.parametrize(("dimension", "end"), [(2, 0.5), (3, 0.25)])
def test_golden_spheres_end_within_a_hundredth(spheres, dimension, end):
    flow = spheres[dimension]
    found = exists(flow, 1.0)
    assert not found
    assert found.measured == pytest.approx(end, rel=1e-3)
    assert "1 / size comes to 0" in found.where
    assert exists(flow, 0.9 * end)
    assert not exists(flow, 1.01 * end)


@pytest.mark.parametrize(("dimension", "end"), [(2, 0.5), (3, 0.25)])
@pytest.mark.parametrize("count", [41, 200])
def test_golden_ends_of_exact_spheres_by_any_kind_of_record(dimension, end, count):
    times = torch.linspace(0, 0.98 * end, count, dtype=DOUBLE)
    radii = ricci_flow_sphere(number(1.0), times, dimension)
    found = exists((times, radii), 1.0, size=lambda r: r**-2)
    assert found.measured == pytest.approx(end, rel=1e-9)
    assert not found
    # Steps that walk past the end see it between two states.
    rate, step = 2 * (dimension - 1), 0.0101 * end
    walk = (lambda squared: squared - rate * step, number(1.0))
    passed = exists(walk, 1.0, size=lambda squared: 1 / squared, step_size=step)
    assert not passed
    assert passed.measured == pytest.approx(end, rel=1e-9)
    assert exists(walk, 0.9 * end, size=lambda squared: 1 / squared, step_size=step)


def test_steps_that_refuse_to_go_on_end_the_flow():
    step = 0.003

    def shrink(radius):
        return mean_curvature_flow_sphere(radius, number(step), 2)

    found = exists((shrink, number(1.0)), 1.0, size=lambda r: r**-2, step_size=step)
    assert not found
    assert found.measured == pytest.approx(0.25, rel=1e-3)
    plain = exists((shrink, number(1.0)), 1.0, step_size=step)
    assert not plain
    assert "refused" in plain.where
    assert plain.measured == pytest.approx(0.25, abs=step)
    with pytest.raises(ArgumentError, match="radius: got"):
        exists((shrink, number(-1.0)), 1.0, step_size=step)


def cigar_curvature(place, time):
    """K = 2 e^4t / (e^4t + r^2)."""
    scale = (4 * time).exp()
    return 2 * scale / (scale + place.square().sum(-1))


@pytest.mark.parametrize("radius", [0.0, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("count", [9, 40, 1000])
def test_golden_cigar_never_ends(radius, count):
    times = torch.linspace(0, 20, count, dtype=DOUBLE)
    states = cigar_curvature(torch.tensor([radius, 0.0], dtype=DOUBLE), times)
    assert exists((times, states), 20.0)
    short = exists((times, states), 21.0)
    assert not short
    assert short.measured == 20
    assert short.where == "at the last state of the recording"


@pytest.mark.parametrize(
    "grow",
    [
        lambda t: t.exp(),
        lambda t: 1e-9 * (2 * t).exp() / (1 + 1e-9 * (2 * t).exp()),
        lambda t: 1 + t,
        lambda t: (1 + t) ** 3,
        lambda t: torch.ones_like(t),
        lambda t: 2 - (5 * t).sin(),
        lambda t: 0 * t,
    ],
)
@pytest.mark.parametrize("count", [9, 12, 30, 300])
def test_what_only_grows_does_not_end(grow, count):
    times = torch.linspace(0, 15, count, dtype=DOUBLE)
    assert exists((times, grow(times)), 15.0)


def test_gaps_and_noise_neither_end_a_flow_nor_hide_its_end():
    early = torch.arange(8, dtype=DOUBLE)
    for unit, last, grow in (
        (0.1, 3.0, torch.exp),
        (1.0, 2e9, lambda t: 1 + 1e-9 * t),
        (0.1, 1e3, lambda t: (1 + t) ** 3),
    ):
        times = torch.cat([unit * early, number([last])])
        assert exists((times, grow(times)), last)
    assert exists(noise(2000).exp(), 1999.0)
    times = torch.linspace(0, 0.98, 50, dtype=DOUBLE)
    found = exists((times, (1 + 3e-4 * noise(50)) / (1 - times)), 2.0)
    assert not found
    assert found.measured == pytest.approx(1, rel=2e-3)


@pytest.mark.parametrize(("share", "ends"), [(0.008, True), (0.013, False)])
def test_an_end_may_miss_its_line_by_a_hundredth_of_the_fall(share, ends):
    times = torch.linspace(0, 0.7, 8, dtype=DOUBLE)
    zigzag = 0.7 * share * (-1.0) ** torch.arange(8, dtype=DOUBLE)
    found = exists((times, 1 / (1 - times + zigzag)), 2.0 if ends else 0.7)
    assert bool(found) is not ends
    if ends:
        assert found.measured == pytest.approx(1, rel=0.01)


def test_what_explodes_ends():
    def euler(u):
        return u + 0.01 * u**2

    found = exists((euler, number(1.0)), 5.0, step_size=0.01)
    assert not found
    assert found.measured == pytest.approx(1.0, rel=0.1)
    assert exists((euler, number(1.0)), 0.9, step_size=0.01)
    runaway = reaction_diffusion(CIRCLE, torch.ones(1, dtype=DOUBLE), lambda u: u**3)
    start = 2 + 0.1 * CIRCLE.coordinates().cos()
    blown = exists((lambda u: runaway.evolve(u, step=0.01, steps=1), start), 1.0, step_size=0.01)
    assert not blown
    assert blown.measured == pytest.approx(1 / 8, abs=0.03)
    values = torch.ones(30, dtype=DOUBLE)
    for value in (math.nan, math.inf, 2e12):
        values[17] = value
        found = exists(values, 29.0)
        assert not found
        assert found.measured == 16
        assert "before step 17" in found.where
    values[17] = 0.9e12
    assert exists(values, 29.0)
    assert not exists(values * math.nan, 29.0)


def test_normalised_spheres_stand_still(spheres):
    for flow in spheres.values():
        volume = GeometricFlow(PeriodicGrid((8, 8), (1.0, 1.0))).normalize_flow(flow)
        horizon = float(volume.times[-1])
        found = exists(volume, horizon)
        assert found
        assert falls(volume, lambda state: state.volume, rise=1e-12)
        torch.testing.assert_close(
            volume.curvatures, torch.ones_like(volume.times), rtol=0, atol=2e-2
        )


def test_flows_of_sampled_metrics_are_recorded_flows():
    flow = GeometricFlow(PeriodicGrid((6, 6), (1.0, 1.0)))
    flat = torch.eye(2, dtype=DOUBLE).expand(6, 6, 2, 2)
    record = flow.evolve(flat, time=0.02)
    assert exists(record, 0.02)
    assert not exists(record, 0.03)
    assert falls(record, lambda state: state.volume, rise=1e-13)


def test_all_laws_at_once():
    start = noise(8)
    flow = (lambda u: torch.linalg.solve(torch.eye(8, dtype=DOUBLE) - LAPLACIAN, u), start)
    found = FlowValidation(steps=5).all(flow, squares, LAPLACIAN, 5.0)
    assert [bool(report) for report in found] == [True, True, True]
    assert len(FlowValidation(source=start, steps=5).all(flow)) == 1
    with pytest.raises(ArgumentError, match="energy_functional: got None"):
        FlowValidation().all(flow)


TWO = torch.ones(2, 3, dtype=DOUBLE)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("flow", lambda: falls("states", squares)),
        ("flow", lambda: falls(TWO[:1], squares)),
        ("flow", lambda: falls(number(1.0), squares)),
        ("flow", lambda: falls((torch.zeros(2), TWO), squares)),
        ("flow", lambda: falls((torch.arange(3), TWO), squares)),
        ("flow", lambda: falls((1, 2, 3), squares)),
        ("steps", lambda: falls((nothing, TWO), squares, steps=0)),
        ("energy_functional", lambda: falls(TWO, lambda u: torch.ones(2, dtype=torch.long))),
        ("flow", lambda: keeps_range((torch.arange(2), ["a", "b"]))),
        ("flow", lambda: keeps_range(TWO.long())),
        ("flow", lambda: keeps_range((lambda u: u[..., 1:], TWO), steps=1)),
        ("operator", lambda: keeps_range(TWO, torch.eye(2))),
        ("operator", lambda: keeps_range(TWO, "elliptic")),
        ("operator", lambda: keeps_range(torch.ones(2, 3000), nothing)),
        ("time_horizon", lambda: exists(TWO, 0.0)),
        ("time_horizon", lambda: exists(TWO, math.nan)),
        ("time_horizon", lambda: exists((torch.tensor([5.0, 6.0]), TWO), 4.0)),
        ("energy_functional", lambda: falls(TWO, "energy")),
        ("batched", lambda: falls((torch.arange(2), ["a", "b"]), squares, batched=True)),
        ("size", lambda: exists((torch.arange(2), ["a", "b"]), 1.0)),
        ("step_size", lambda: FlowValidation(step_size=0.0)),
        ("rise", lambda: FlowValidation(rise=-1.0)),
        ("absolute_rise", lambda: FlowValidation(absolute_rise=math.nan)),
        ("overshoot", lambda: FlowValidation(overshoot=math.inf)),
        ("largest_size", lambda: FlowValidation(largest_size=1.0)),
    ],
)
def test_what_cannot_be_judged_is_told(name, call):
    with pytest.raises(ArgumentError, match=f"{name}: got"):
        call()
