import functools
import itertools
import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    SymmetryOperations,
    face_centred_cubic,
    feigenbaum_function,
    fixed_point,
    ising_decimation,
    migdal_kadanoff,
    simple_cubic,
    symmetry_operations,
)
from adaptive_attention_tiling.mathematics.dynamics import (
    HamiltonianSystem,
    PatternDynamics,
    PeriodicGrid,
    Schnakenberg,
    growth_rate,
    reaction_diffusion,
    reaction_jacobian,
    swift_hohenberg,
)
from adaptive_attention_tiling.mathematics.quantum import (
    free_fermion_entropy,
    hopping_chain_correlations,
)
from adaptive_attention_tiling.testing.laws import Crystal, PatternValidation, Rescaling

DOUBLE = torch.float64
KINETICS = Schnakenberg(0.1, 0.9)
HOME = KINETICS.steady_state()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def stable(dynamics, pattern, perturbation, time, **options):
    laws = PatternValidation(dynamics=dynamics, **options)
    return laws.check_pattern_stability(pattern, perturbation, time)


def fastest(ratio):
    """The largest rate of Schnakenberg's state, and its wave number."""
    k = torch.linspace(0.05, 0.8, 40_001, dtype=DOUBLE)
    rates = growth_rate(KINETICS, HOME, torch.tensor([1.0, ratio], dtype=DOUBLE), k)
    return float(rates.max()), float(k[rates.argmax()])


def schnakenberg(ratio, wavenumber, kind="flow"):
    """Dynamics, the state at rest and the wave of this length that grows most."""
    grid = PeriodicGrid((4,), (2 * math.pi / wavenumber,))
    diffusion = torch.tensor([1.0, ratio], dtype=DOUBLE)
    matrix = reaction_jacobian(KINETICS, HOME) - wavenumber**2 * diffusion.diag()
    rates, vectors = torch.linalg.eig(matrix)
    direction = vectors[:, rates.real.argmax()].real
    wave = (wavenumber * grid.coordinates()).cos() * direction
    flow = reaction_diffusion(grid, diffusion, KINETICS)
    dynamics = PatternDynamics(grid, diffusion, lambda u, _: KINETICS(u), 0.0, step=0.1)
    found = {"flow": flow, "rate": flow.rate, "dynamics": dynamics}[kind]
    return found, HOME.expand(4, 2).contiguous(), wave


@pytest.mark.parametrize(
    ("ratio", "golden"), [(8.0, -0.0270666263434), (10.0, 0.0571909584179)], ids=["d=8", "d=10"]
)
@pytest.mark.parametrize("kind", ["flow", "rate", "dynamics"])
def test_golden_schnakenberg_changes_sign(ratio, golden, kind):
    rate, wavenumber = fastest(ratio)
    assert rate == pytest.approx(golden, abs=1e-9)
    dynamics, pattern, wave = schnakenberg(ratio, wavenumber, kind)
    step = 0.25 if kind == "rate" else 0.1
    found = stable(dynamics, pattern, 1e-6 * wave, 1.0, step=step, largest_rate=0.0)
    assert bool(found) is (golden < 0)
    assert found.measured == pytest.approx(golden, abs=1e-6)
    if kind == "flow":  # steps that do not divide the time are made shorter
        split = stable(dynamics, pattern, 1e-6 * wave, 1.0, step=0.3, largest_rate=0.0)
        assert split.measured == pytest.approx(golden, abs=1e-4)
    # Other waves decay on both sides, and a law that sees them alone says so.
    even = torch.tensor([1e-6, -1e-6], dtype=DOUBLE).expand(4, 2)
    assert stable(dynamics, pattern, even, 1.0, step=step)


@pytest.mark.parametrize(("away", "good"), [(-1e-3, True), (1e-3, False)])
def test_stability_changes_at_the_threshold(away, good):
    flow, pattern, wave = schnakenberg(8.56762745781 + away, math.sqrt(0.3416407865))
    found = stable(flow, pattern, 1e-8 * wave, 2.0, largest_rate=0.0)
    assert bool(found) is good
    assert 1e-5 < abs(found.measured) < 1e-4


def test_further_rounds_find_what_grows_most():
    rest = torch.zeros(2, dtype=DOUBLE)
    rates = torch.tensor([0.05, -1.0], dtype=DOUBLE)
    mixed = torch.tensor([0.01, 1.0], dtype=DOUBLE)
    laws = {"dynamics": lambda u: rates * u, "pattern": rest, "perturbation": mixed}
    laws["step"] = 1.0
    assert stable(time=1.0, **laws)
    often = stable(time=1.0, rounds=14, **laws)
    assert not often
    assert often.measured == pytest.approx(0.05, abs=0.01)
    assert often.cases == 14
    assert stable(time=1.0, rounds=4, **(laws | {"perturbation": rates - 0.05}))


@functools.cache
def stripes():
    grid = PeriodicGrid((16,), (2 * math.pi,))
    flow = swift_hohenberg(grid, 0.1)
    start = 0.3 * grid.coordinates().cos()
    return grid, flow, flow.evolve(start, step=0.5, steps=300)


def test_stripes_are_stable_but_for_their_place():
    grid, flow, pattern = stripes()
    options = {"step": 0.5}
    for seed in range(2):
        assert stable(flow, pattern, 1e-3 * noise(16, 1, seed=seed), 5.0, **options)
    moved = -grid.coordinates().sin() * 1e-4
    still = stable(flow, pattern, moved, 5.0, **options)
    assert still
    assert abs(still.measured) < 1e-5
    assert not stable(flow, pattern, moved, 5.0, largest_rate=-1e-3, **options)
    # No stripes at all is a pattern too, one that stripes grow on.
    none = torch.zeros(16, 1, dtype=DOUBLE)
    found = stable(flow, none, moved, 5.0, **options)
    assert not found
    assert found.measured == pytest.approx(0.1, abs=1e-6)
    assert found.quantity == "rate of the linearised flow"


def test_a_pattern_that_moves_is_not_judged_stable():
    _, flow, pattern = stripes()
    found = stable(flow, 1.01 * pattern, 1e-6 * noise(16, 1), 1.0)
    assert not found
    assert found.quantity == "how far it moves"
    assert stable(flow, (1 + 1e-9) * pattern, 1e-6 * noise(16, 1), 5.0, step=0.5)


def bistable(u):
    return u - u**3


def test_only_the_full_flow_sees_a_push_out_of_the_basin():
    def well(u):
        return -u * (1 - u.square()) * 0.1

    rest, push = torch.zeros(1, dtype=DOUBLE), torch.ones(1, dtype=DOUBLE)
    assert stable(well, rest, 0.5 * push, 5.0, step=1.0)
    found = stable(well, rest, 1.2 * push, 2.0, step=0.5)
    assert not found
    assert found.quantity == "rate of the perturbation as it is"
    assert stable(bistable, push, 0.1 * push, 1.0, step=0.5)
    assert not stable(bistable, rest, 0.1 * push, 1.0, step=0.5)


@pytest.mark.parametrize(("growth", "good"), [(0.99e-3, True), (1.01e-3, False)])
def test_a_rate_is_compared_with_its_bound(growth, good):
    rest = torch.zeros(3, dtype=DOUBLE)
    found = stable(lambda u: growth * u, rest, noise(3), 2.0, step=0.5, largest_rate=1e-3)
    assert bool(found) is good
    assert found.measured == pytest.approx(growth, rel=1e-9)


def test_stripes_in_single_precision_are_as_stable():
    grid, flow, pattern = stripes()
    moved = -grid.coordinates().sin()
    for kick in (1e-3 * moved, 1e-3 * noise(16, 1), 1e-6 * moved):
        assert stable(flow, pattern.float(), kick.float(), 5.0, step=0.5)
    assert not stable(flow, pattern.float() * 1.001, moved.float(), 5.0, step=0.5)
    none = torch.zeros(16, 1)
    assert not stable(flow, none, 1e-3 * moved.float(), 5.0, step=0.5)


@pytest.mark.parametrize("size", [1e-6, 1e-15])
def test_a_small_push_is_not_lost_in_rounding(size):
    grid, flow, pattern = stripes()
    assert stable(flow, pattern, -size * grid.coordinates().sin(), 5.0, step=0.5)
    found = stable(flow, 0 * pattern, size * grid.coordinates().cos(), 5.0, step=0.5)
    assert not found


@pytest.mark.parametrize(
    ("growth", "turning"), [(-27.9, 0.0), (-100.0, 0.0), (0.05, 20.0)], ids=str
)
def test_steps_that_are_too_long_for_a_rate_are_told(growth, turning):
    # By steps of 0.1 what falls at 27.9 grows, and what turns by 20 and grows falls.
    matrix = torch.tensor([[growth, -turning], [turning, growth]], dtype=DOUBLE)
    rest, kick = torch.zeros(2, dtype=DOUBLE), torch.ones(2, dtype=DOUBLE)

    def judge(step, time):
        return stable(lambda u: u @ matrix.mT, rest, kick, time, step=step)

    with pytest.raises(ArgumentError, match="step: got"):
        judge(0.1, 0.2)
    assert bool(judge(0.01, 0.04)) is (growth < 0)


def test_transient_growth_ends_in_more_rounds():
    shear = torch.tensor([[-1.0, 20.0], [0.0, -2.0]], dtype=DOUBLE)

    def rate(u):
        return u @ shear.mT

    rest, kick = torch.zeros(2, dtype=DOUBLE), torch.tensor([0.0, 1.0], dtype=DOUBLE)
    assert not stable(rate, rest, kick, 0.5, step=0.25)
    late = stable(rate, rest, kick, 4.0, step=0.5)
    assert late
    assert late.not_shown.startswith("other perturbations")


def test_orbits_are_judged_over_their_period():
    def circle(z):
        x, y = z.unbind(-1)
        r = 1 - x.square() - y.square()
        return torch.stack([r * x - y, r * y + x], -1)

    point = torch.tensor([1.0, 0.0], dtype=DOUBLE)
    out = 1e-4 * point
    found = stable(circle, point, out, 2 * math.pi, step=0.1, rest=1e-4)
    assert found
    assert found.measured == pytest.approx(-2, abs=0.02)
    assert not stable(lambda z: -circle(z), point, out, 2 * math.pi, step=0.1, rest=1e-4)
    assert not stable(circle, point, out, 3.0, step=0.1, rest=1e-4)


def symmetric(pattern, group, **options):
    return PatternValidation(**options).verify_symmetries(pattern, group)


TURNS = [lambda u, k=k: torch.rot90(u, k) for k in range(4)]
SQUARE = TURNS + [lambda u, k=k: torch.rot90(u, k).mT for k in range(4)]


def square_pattern(size=7):
    field = noise(size, size)
    return sum(g(field) for g in SQUARE)


def test_a_square_has_its_eight_symmetries():
    pattern = square_pattern()
    found = symmetric(pattern, SQUARE)
    assert found
    assert found.cases == 8
    assert symmetric(1000 + 1e-3 * pattern, SQUARE)
    pattern[1, 2] += 1e-6
    broken = symmetric(pattern, SQUARE)
    assert not broken
    assert "g u = u" in broken.law
    # A small modulation is judged by itself, not by the constant it sits on.
    assert not symmetric(1000 + 1e-3 * pattern, SQUARE)
    # What turns may keep, mirrors need not.
    wheel = sum(g(noise(5, 5)) for g in TURNS)
    assert symmetric(wheel, TURNS)
    assert not symmetric(wheel, SQUARE)


def test_rounding_is_that_of_the_constant_a_pattern_sits_on():
    def rounded(u):
        return u.roll(8).sqrt().square()

    wave = (torch.arange(16) * math.pi / 4).cos()
    assert symmetric(1e2 + 1e-2 * wave, [rounded], group_axioms=False)
    broken = wave.clone()
    broken[3] += 0.5
    assert not symmetric(1e2 + 1e-2 * broken, [rounded], group_axioms=False)
    # The group itself is looked at on a tensor without one.
    off = [lambda u: u, lambda u: u.roll(8) + 1e-4 * (u - u.mean())]
    assert symmetric(1e2 + 1e-2 * wave, off, group_axioms=False)
    found = symmetric(1e2 + 1e-2 * wave, off)
    assert not found
    assert "among them" in found.law


@pytest.mark.parametrize(("change", "good"), [(0.9e-9, True), (1.1e-9, False), (math.nan, False)])
def test_broken_symmetry_is_a_share_of_the_spread(change, good):
    pattern = torch.tensor([0.0, 2.0, 2.0, 0.0], dtype=DOUBLE)
    pattern[1] += 2 * change
    found = symmetric(pattern, torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]]), tolerance=1e-9)
    assert bool(found) is good


@pytest.mark.parametrize(
    ("group", "quantity"),
    [
        (TURNS[1:], "distance to the identity"),
        ([TURNS[0], TURNS[1]], "distance of a product to the nearest one"),
        ([TURNS[0], lambda u: u.mean() + 0 * u], "distance to the nearest inverse"),
    ],
)
def test_what_is_no_group_fails(group, quantity):
    pattern = torch.ones(4, 4, dtype=DOUBLE)
    found = symmetric(pattern, group)
    assert not found
    assert found.quantity == quantity
    assert symmetric(pattern, group, group_axioms=False)


def test_permutations_of_rows():
    ring = torch.stack([torch.arange(6).roll(k) for k in range(6)])
    pattern = torch.ones(6, 2, dtype=DOUBLE) * torch.tensor([1.0, 2.0])
    assert symmetric(pattern, ring)
    assert not symmetric(pattern, ring[:5])
    assert not symmetric(noise(6, 2), ring)
    assert symmetric(noise(6, 2), ring[:1])


DIAMOND = Crystal(
    face_centred_cubic(1.0).double(),
    torch.tensor([[0.0, 0, 0], [0.25, 0.25, 0.25]], dtype=DOUBLE),
    torch.tensor([0, 0]),
)


@pytest.mark.parametrize(("species", "count"), [([0, 0], 48), ([0, 1], 24)])
def test_crystals_have_the_symmetries_that_were_found(species, count):
    crystal = DIAMOND._replace(species=torch.tensor(species))
    found = symmetric(crystal, symmetry_operations(*crystal))
    assert found
    assert found.cases == count
    other = crystal._replace(positions=crystal.positions + noise(3))
    assert symmetric(other, symmetry_operations(*other))


@pytest.mark.parametrize(("away", "good"), [(0.8e-6, True), (1.2e-6, False)])
def test_one_atom_out_of_place_breaks_the_symmetry(away, good):
    group = symmetry_operations(*DIAMOND)
    longest = float(DIAMOND.lattice.norm(dim=1).max())
    shift = torch.tensor([away * longest / 2, 0, 0], dtype=DOUBLE) @ DIAMOND.lattice.inverse()
    moved = DIAMOND.positions + torch.stack([shift, 0 * shift])
    found = symmetric(DIAMOND._replace(positions=moved), group, tolerance=1e-6)
    assert bool(found) is good
    assert not symmetric(DIAMOND._replace(species=torch.tensor([0, 1])), group)


def test_operations_must_be_isometries_and_a_group():
    group = symmetry_operations(*DIAMOND)
    part = SymmetryOperations(group.rotations[:5], group.translations[:5])
    assert not symmetric(DIAMOND, part)
    assert symmetric(DIAMOND, part, group_axioms=False)
    atom = Crystal(simple_cubic(1.0).double(), torch.zeros(1, 3).double(), torch.tensor([0]))
    shear = torch.eye(3, dtype=torch.int64)
    shear[0, 1] = 1
    skew = SymmetryOperations(shear[None], torch.zeros(1, 3).double())
    found = symmetric(atom, skew, group_axioms=False)
    assert not found
    assert "g u = u" in found.law
    turned = SymmetryOperations(torch.eye(3).long()[None], torch.full((1, 3), 0.5).double())
    assert not symmetric(atom, turned)
    doubled = atom._replace(positions=torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0.5]]).double(),
                            species=torch.tensor([0, 0]))  # fmt: skip
    both = SymmetryOperations(
        torch.eye(3).long().repeat(2, 1, 1), torch.tensor([[0.0] * 3, [0.5] * 3]).double()
    )
    assert symmetric(doubled, both)
    half = SymmetryOperations(both.rotations[1:], both.translations[1:])
    assert symmetric(doubled, half).quantity == "distance to the identity"
    # Lengths are shares of the longest vector, here of 1000: 2 * 1e-7 * 3^(1/2).
    near = SymmetryOperations(both.rotations, both.translations * (1 + 2e-7))
    assert symmetric(doubled._replace(lattice=1000 * doubled.lattice), near, tolerance=1e-6)


def scaled(pattern, change, **options):
    return PatternValidation(**options).check_scale_invariance(pattern, change)


@pytest.mark.parametrize(
    ("block_map", "start", "golden"),
    [
        (migdal_kadanoff, 0.3, 0.304688931718),
        (lambda k: migdal_kadanoff(k, bonds_first=False), 0.6, 0.609377863436),
        (ising_decimation, 0.0, 0.0),
    ],
)
def test_golden_fixed_couplings(block_map, start, golden):
    found = fixed_point(block_map, torch.tensor([start], dtype=DOUBLE)).couplings
    assert float(found) == pytest.approx(golden, abs=1e-12)
    assert scaled(found, block_map, tolerance=1e-12)
    assert not scaled(found + 1e-3, block_map)


@pytest.mark.parametrize(("change", "good"), [(0.9e-9, True), (1.1e-9, False), (math.nan, False)])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_a_change_of_scale_is_compared_number_by_number(change, good, size):
    fixed = size * torch.tensor([1.0, 1e6], dtype=DOUBLE)

    def block_map(k):
        return fixed * (1 + change * torch.tensor([1.0, 0.0]).double()) + 0.5 * (k - fixed)

    found = scaled(fixed, block_map, tolerance=1e-9)
    assert bool(found) is good
    assert found.where == "entry 0"


def test_couplings_that_vanish_do_so_by_rounding():
    fixed = torch.tensor([0.3, 0.0], dtype=DOUBLE)

    def block_map(k, away=1e-18):
        return fixed + 0.5 * (k - fixed) + away * torch.tensor([0.0, 1.0], dtype=DOUBLE)

    assert scaled(fixed, block_map)
    assert not scaled(fixed, functools.partial(block_map, away=1e-12))
    near = fixed + torch.tensor([3e-7, 0.0], dtype=DOUBLE)
    assert not scaled(near, block_map)
    assert scaled(near, block_map, tolerance=1e-6)


def test_a_change_of_scale_that_moves_little_is_one():
    fixed = torch.tensor([0.3, 0.1], dtype=DOUBLE)
    assert scaled(fixed, lambda k: fixed + (1 - 1e-6) * (k - fixed))


def test_golden_feigenbaum_function():
    c = feigenbaum_function()
    powers = torch.arange(1, len(c) + 1)

    def g(x):
        return 1 + (c * x[..., None].square() ** powers).sum(-1)

    def doubled(f):
        alpha = 1 / f(torch.ones((), dtype=DOUBLE))
        return lambda x: alpha * f(f(x / alpha))

    points = torch.linspace(0, 1, 41, dtype=DOUBLE)
    found = scaled(g, doubled, points=points)
    assert found
    assert found.cases == 41
    assert not scaled(lambda x: 1 - 1.5 * x.square(), doubled, points=points)
    alpha = float(1 / g(torch.ones((), dtype=DOUBLE)))
    assert alpha == pytest.approx(-2.5029078751, abs=1e-9)


def test_golden_critical_chain():
    odd = torch.arange(1, 60, 2)

    def correlations(r):
        whole = r.round().long()
        table = hopping_chain_correlations(int(whole.max()) + 1)
        return table[0, whole].abs().to(DOUBLE)

    points = odd.to(DOUBLE)
    assert scaled(correlations, Rescaling(3.0, 1.0), points=points)
    wrong = scaled(correlations, Rescaling(3.0, 1.0 + 1e-8), points=points)
    assert not wrong
    assert wrong.measured == pytest.approx(1e-8 * math.log(3), rel=1e-3)
    # exp S ~ L^(c/3) with c = 1.
    entropies = {n: math.exp(float(free_fermion_entropy(
        hopping_chain_correlations(n)))) for n in (100, 200)}  # fmt: skip

    def grown(length):
        return torch.tensor([entropies[round(float(n))] for n in length], dtype=DOUBLE)

    place = torch.tensor([100.0], dtype=DOUBLE)
    found = scaled(grown, Rescaling(2.0, -1 / 3), points=place, tolerance=1e-5)
    assert found
    assert not scaled(grown, Rescaling(2.0, -1.01 / 3), points=place, tolerance=1e-5)


@pytest.mark.parametrize(("exponent", "good"), [(0.5, True), (0.5 + 1e-8, False)])
def test_powers_have_no_scale(exponent, good):
    points = torch.logspace(-6, 6, 25, dtype=DOUBLE)
    assert bool(scaled(lambda x: x**-0.5, Rescaling(7.0, exponent), points=points)) is good
    assert not scaled(lambda x: x**-0.5 * (1 + 1e-6 * (-x).exp()), Rescaling(7.0, 0.5),
                      points=points)  # fmt: skip


def conserved(system, generator, points=None):
    points = noise(20, 6) if points is None else points
    return PatternValidation(points=points, tolerance=1e-12).verify_conservation(system, generator)


def angular(axis):
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    return lambda z: z[..., i] * z[..., 3 + j] - z[..., j] * z[..., 3 + i]


def test_golden_central_forces_keep_angular_momentum():
    kepler = HamiltonianSystem(lambda q, p: p.square().sum(-1) / 2 - 1 / q.norm(dim=-1))
    for axis in range(3):
        found = conserved(kepler, angular(axis))
        assert found
        assert found.cases == 20
    tilted = HamiltonianSystem(lambda q, p: kepler.hamiltonian(q, p) + 1e-9 * q[..., 0])
    assert conserved(tilted, angular(0))
    assert not conserved(tilted, angular(2))
    assert not conserved(kepler, lambda z: z[..., 3])
    free = HamiltonianSystem(lambda q, p: p.square().sum(-1) / 2)
    assert conserved(free, lambda z: z[..., 3])
    assert not conserved(kepler, angular(2), noise(5, 6) * math.nan)


def test_all_laws_at_once():
    _, flow, pattern = stripes()
    laws = PatternValidation(dynamics=flow, tolerance=1e-6)
    mirror = [lambda u: u, lambda u: u.flip(0).roll(1, 0)]
    found = laws.all(pattern, 1e-6 * noise(16, 1), 5.0, mirror, lambda u: u * u.abs().max() / 2)
    assert [bool(report) for report in found] == [True, True, False]
    assert len(laws.all(pattern, symmetry_group=mirror)) == 1
    with pytest.raises(ArgumentError, match="perturbation: got None"):
        laws.all(pattern)


ONES = torch.ones(4, dtype=DOUBLE)
GROUP = symmetry_operations(*DIAMOND)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("dynamics", lambda: stable(None, ONES, ONES, 1.0)),
        ("dynamics", lambda: stable("flow", ONES, ONES, 1.0)),
        ("perturbation", lambda: stable(bistable, ONES, 0 * ONES, 1.0)),
        ("perturbation", lambda: stable(bistable, ONES, ONES[:2], 1.0)),
        ("time", lambda: stable(bistable, ONES, ONES, 0.0)),
        ("step", lambda: stable(bistable, ONES, ONES, 1.0, step=0.0)),
        ("rounds", lambda: PatternValidation(rounds=0)),
        ("rest", lambda: PatternValidation(rest=-1.0)),
        ("tolerance", lambda: PatternValidation(tolerance=math.nan)),
        ("pattern", lambda: stable(bistable, [0.0], ONES, 1.0)),
        ("pattern", lambda: stable(bistable, ONES * math.nan, ONES, 1.0)),
        ("perturbation", lambda: stable(bistable, ONES, math.nan * ONES, 1.0)),
        ("pattern", lambda: symmetric(ONES.long(), TURNS)),
        ("pattern", lambda: symmetric(ONES + 1j, TURNS)),
        ("symmetry_group", lambda: symmetric(noise(3, 4), TURNS)),
        ("pattern", lambda: scaled(ONES.long(), ising_decimation)),
        ("symmetry_group", lambda: symmetric(ONES, [])),
        ("symmetry_group", lambda: symmetric(ONES, [1, 2])),
        ("symmetry_group", lambda: symmetric(ONES, "group")),
        ("symmetry_group", lambda: symmetric(ONES, GROUP)),
        ("symmetry_group", lambda: symmetric(DIAMOND, TURNS)),
        ("symmetry_group", lambda: symmetric(ONES, torch.tensor([[0, 1, 2, 2]]))),
        ("symmetry_group", lambda: symmetric(ONES, torch.tensor([[0, 1, 2]]))),
        ("symmetry_group", lambda: symmetric(ONES, torch.eye(4))),
        ("symmetry_group", lambda: symmetric(DIAMOND, SymmetryOperations(
            torch.zeros(0, 3, 3).long(), torch.zeros(0, 3)))),
        ("pattern", lambda: scaled("x", ising_decimation)),
        ("pattern", lambda: scaled(ONES, Rescaling(2.0, 1.0), points=ONES)),
        ("pattern", lambda: scaled(lambda x: 0 * x, Rescaling(2.0, 1.0), points=ONES)),
        ("points", lambda: scaled(torch.sin, Rescaling(2.0, 1.0))),
        ("points", lambda: scaled(torch.sin, lambda f: f)),
        ("scale_transformation", lambda: scaled(ONES, 2.0)),
        ("scale_transformation", lambda: scaled(ONES, lambda k: k[:2])),
        ("scale_transformation", lambda: scaled(ONES, lambda k: k)),
        ("scale_transformation", lambda: scaled(torch.sin, lambda f: f, points=ONES)),
        ("scale_transformation", lambda: scaled(torch.sin, Rescaling(1.0, 1.0), points=ONES)),
        ("scale_transformation", lambda: scaled(torch.sin, Rescaling(-2.0, 1.0), points=ONES)),
        ("points", lambda: PatternValidation().verify_conservation(None, angular(0))),
        ("points", lambda: conserved(None, angular(0), noise(2, 5))),
        ("generator", lambda: conserved(
            HamiltonianSystem(lambda q, p: p.square().sum(-1)), lambda z: (0 * z).sum(-1))),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_told(name, call):
    with pytest.raises(ArgumentError, match=f"{name}: got"):
        call()


def test_every_product_of_the_square_is_looked_at():
    # Without one mirror, some product is missing, whichever it is.
    for gone in range(4, 8):
        kept = [g for k, g in enumerate(SQUARE) if k != gone]
        found = symmetric(torch.ones(3, 3), kept)
        assert not found
        assert "among them" in found.law
    assert all(symmetric(torch.ones(3, 3), list(p)) for p in itertools.permutations(TURNS, 4))
