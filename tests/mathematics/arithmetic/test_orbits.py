import math
import random
from fractions import Fraction

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.dynamics import (
    FunctionalGraph,
    arithmetic_degree,
    escape_steps,
    evolve,
    functional_graph,
    height_ratios,
    monomial_dynamical_degree,
    monomial_image,
    orbit,
    preperiodic_points,
    rational_orbit,
)
from adaptive_attention_tiling.mathematics.arithmetic.heights import (
    projective_height,
    rationals_of_height,
)
from adaptive_attention_tiling.mathematics.arithmetic.rational_map import RationalMap


def quadratic(c):
    return RationalMap((c, 0, 1))


def test_preperiodic_points_of_known_quadratics():
    # Poonen, Math. Z. 228 (1998): at most nine, with infinity, for periods up to 3.
    squaring = preperiodic_points(quadratic(0))
    assert squaring == {-1: (1, 1), 0: (0, 1), 1: (0, 1), None: (0, 1)}
    basilica = preperiodic_points(quadratic(-1))
    assert basilica == {-1: (0, 2), 0: (0, 2), 1: (1, 2), None: (0, 1)}
    chebyshev = preperiodic_points(quadratic(-2))
    assert chebyshev == {-2: (1, 1), -1: (0, 1), 0: (2, 1), 1: (1, 1), 2: (0, 1), None: (0, 1)}
    most = preperiodic_points(quadratic(Fraction(-29, 16)))
    assert len(most) == 9
    assert {x for x, kind in most.items() if kind == (0, 3)} == {
        Fraction(-1, 4),
        Fraction(-7, 4),
        Fraction(5, 4),
    }
    assert set(preperiodic_points(quadratic(1))) == {None}


def repeats(system, x):
    """Whether an orbit repeats before its points have 200 digits."""
    seen = set()
    while x not in seen:
        seen.add(x)
        x = system(x)
        if x is not None and max(abs(x.numerator), x.denominator) > 10**200:
            return False
    return True


@pytest.mark.parametrize(
    "system",
    [
        RationalMap((0, Fraction(3, 2), 0, Fraction(-1, 2))),
        RationalMap((Fraction(1, 3), 1, Fraction(2, 3))),
        RationalMap((0, -3, 1)),
        RationalMap((1, 0, Fraction(1, 9), 4)),
        RationalMap((1, 0, 1), (0, 2)),
        RationalMap((-2, 0, 1), (0, 0, 1)),
        RationalMap((1, -2, 0), (0, 0, 1)),
        RationalMap((-1, 0, 2), (0, 0, 1)),
    ],
)
def test_no_preperiodic_point_is_missed(system):
    found = preperiodic_points(system)
    searched = {x for x in rationals_of_height(12) if repeats(system, x)}
    assert searched <= found.keys()
    for x, (tail, period) in found.items():
        points = rational_orbit(system, x, tail + period)
        assert points[tail] == points[-1]
        assert len(set(points[:-1])) == tail + period
        assert system(x) in found


@pytest.mark.parametrize(("degree", "c"), [(2, -1), (2, Fraction(1, 3)), (3, 2)])
def test_heights_grow_as_the_degree(degree, c):
    system = RationalMap((c, *[0] * (degree - 1), 1))
    steps = 14 if degree == 2 else 8
    assert height_ratios(system, 3, steps)[-1] == pytest.approx(degree, rel=1e-3)
    heights = [projective_height([x, 1]) for x in rational_orbit(system, 3, steps)]
    assert arithmetic_degree(heights) == pytest.approx(degree, rel=1e-2)
    assert math.isnan(height_ratios(quadratic(-1), 0, 2)[0])


def test_heights_under_a_monomial_map_grow_as_its_spectral_radius():
    matrix, point = [[1, 1], [1, 0]], [Fraction(2, 3), Fraction(5)]
    golden_ratio = (1 + math.sqrt(5)) / 2
    assert monomial_dynamical_degree(matrix) == pytest.approx(golden_ratio, rel=1e-14)
    heights = []
    for _ in range(18):
        heights.append(projective_height([*point, 1]))
        point = monomial_image(matrix, point)
    assert arithmetic_degree(heights) == pytest.approx(golden_ratio, rel=1e-3)


def test_squaring_modulo_p_cycles_the_odd_part_of_the_units():
    for prime in (17, 43, 97, 101):
        odd = prime - 1
        while odd % 2 == 0:
            odd //= 2
        statistics = functional_graph(quadratic(0), prime).statistics()
        assert statistics.points == prime + 1
        assert statistics.periodic_points == odd + 2
        assert statistics.longest_tail == int(math.log2((prime - 1) // odd))
        assert statistics.points_without_preimage == (prime - 1) // 2


def test_functional_graphs_are_those_of_following_every_orbit():
    generator = random.Random(0)
    for size in (1, 2, 7, 60):
        graph = FunctionalGraph([generator.randrange(size) for _ in range(size)])
        tails, cycles = graph.tails(), graph.cycles()
        for point in range(size):
            path = [point]
            while graph.successors[path[-1]] not in path:
                path.append(graph.successors[path[-1]])
            start = path.index(graph.successors[path[-1]])
            assert tails[point] == start
            assert any(set(cycle) == set(path[start:]) for cycle in cycles)
        assert sum(map(len, cycles)) == tails.count(0) == graph.statistics().periodic_points


def test_a_rational_map_reduces_to_the_map_of_residues():
    system = RationalMap((1, 0, 1), (0, 2))
    for prime in (5, 7, 23):
        graph = functional_graph(system, prime)
        assert graph.successors[prime] == graph.successors[0] == prime
        for x in range(1, prime):
            assert graph.successors[x] == (x * x + 1) * pow(2 * x, -1, prime) % prime


def test_rational_periodic_points_reduce_to_periodic_ones():
    system = quadratic(Fraction(-29, 16))
    for prime in (3, 5, 7, 11, 29):
        graph = functional_graph(system, prime)
        for x, (tail, _) in preperiodic_points(system).items():
            if x is not None and tail == 0:
                residue = x.numerator * pow(x.denominator, -1, prime) % prime
                assert graph.tails()[residue] == 0


def henon(state):
    x, y = state.unbind(-1)
    return torch.stack([1 - 1.4 * x.square() + y, 0.3 * x], -1)


def test_orbits_are_iterates_in_batches_with_gradients():
    generator = torch.Generator().manual_seed(0)
    points = 0.3 * torch.rand(2, 3, 2, generator=generator, dtype=torch.float64)
    states = orbit(henon, points, 5)
    assert states.shape == (6, 2, 3, 2)
    for row, column in ((0, 0), (1, 2)):
        single = orbit(henon, points[row, column], 5)
        assert torch.equal(states[:, row, column], single)
        assert torch.equal(single[1:], henon(single[:-1]))
    points.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: orbit(henon, x, 4), points)
    assert torch.autograd.gradgradcheck(lambda x: orbit(henon, x, 3), points[:1, :1])


def test_points_escape_when_they_leave_the_ball_and_are_held_there():
    points = torch.tensor([[0.5], [1.1], [2.0], [3.0]], dtype=torch.float64, requires_grad=True)
    evolution = evolve(torch.square, points, 8, 2.5)
    assert evolution.escape.tolist() == [-1, 4, 1, 0]
    assert torch.equal(evolution.escape, escape_steps(torch.square, points, 8, 2.5))
    held = [0.5**256, 1.1**16, 4.0, 3.0]
    torch.testing.assert_close(
        evolution.states[-1].flatten().detach(), torch.tensor(held, dtype=torch.float64)
    )
    (slope,) = torch.autograd.grad(evolution.states[-1].sum(), points)
    expected = torch.tensor([256 * 0.5**255, 16 * 1.1**15, 4.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(slope.flatten(), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: preperiodic_points(RationalMap((1, 1))), "system: got degree 1"),
        (lambda: preperiodic_points(quadratic(10**9)), "limit: got 1000000"),
        (lambda: functional_graph(quadratic(Fraction(1, 4)), 2), "good reduction"),
        (lambda: functional_graph(quadratic(0), 15), r"prime: got 15 = 3 \* 5"),
        (lambda: FunctionalGraph([0, 2]), "successors: got 2, expected 0 to 1"),
        (lambda: arithmetic_degree([1.0]), "heights: got 1 of them"),
        (lambda: monomial_image([[1]], [Fraction(0)]), "point: got a coordinate 0"),
        (lambda: monomial_image([[1, 2]], [Fraction(1)]), "matrix: got another width"),
        (lambda: orbit(torch.square, torch.ones(2), -1), "steps: got -1"),
        (lambda: orbit(torch.sum, torch.ones(2), 1), "system: got shape"),
        (lambda: evolve(torch.square, torch.ones(2), 1, 0.0), "radius: got 0.0"),
    ],
)
def test_what_has_no_orbit_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
