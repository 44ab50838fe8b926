import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.theory.information_flow import (
    great_arc,
    shortest_path,
    step_costs,
)
from adaptive_attention_tiling.evaluation.theory.paths import (
    energy,
    least_path,
    perturbed,
    segment_lengths,
    straight,
)
from adaptive_attention_tiling.evaluation.theory.power_law import fitted_exponent
from adaptive_attention_tiling.evaluation.theory.solvable import (
    CATEGORICAL,
    GAUSSIANS,
    HALF_PLANE,
    MANIFOLDS,
    PLANE,
    SPHERE,
    log_probabilities,
)

DISTRIBUTIONS = (GAUSSIANS, CATEGORICAL)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def any_manifold(manifolds=MANIFOLDS):
    return pytest.mark.parametrize("manifold", manifolds, ids=[m.name for m in manifolds])


def test_golden_distances():
    def distance(manifold, x, y):
        points = (torch.tensor(p, dtype=torch.float64) for p in (x, y))
        return float(manifold.distance(*points))

    right_angle = (math.pi / 2, 0.0), (math.pi / 2, math.pi / 2)
    assert distance(SPHERE, *right_angle) == pytest.approx(math.pi / 2)
    assert distance(PLANE, (math.log(3), 0.0), (math.log(4), math.pi / 2)) == pytest.approx(5)
    # Straight up the half-plane, and Gaussians of equal mean.
    assert distance(HALF_PLANE, (0.0, 0.0), (0.0, 1.5)) == pytest.approx(1.5)
    assert distance(GAUSSIANS, (2.0, 0.0), (2.0, 1.5)) == pytest.approx(1.5 * math.sqrt(2))
    # A fair coin and a certain one: a quarter of a circle of radius 2, less what logits cannot say.
    assert distance(CATEGORICAL, (0.0,), (40.0,)) == pytest.approx(math.pi / 2, abs=1e-8)


@any_manifold()
def test_distance_is_the_metric_to_first_order(manifold, generator):
    x = torch.stack(manifold.ends()).mean(0) + 0.1
    for _ in range(5):
        v = torch.randn(len(x), dtype=torch.float64, generator=generator)
        near = manifold.distance(x - 5e-4 * v, x + 5e-4 * v) / 1e-3
        assert float(near.square() / manifold.square(x, v)) == pytest.approx(1, abs=1e-5)


def test_categorical_metric_is_that_of_the_definition(generator):
    """g_ij = E[d_i log f d_j log f], with derivatives by autograd."""
    x, v = (torch.randn(3, dtype=torch.float64, generator=generator) for _ in range(2))
    slopes = torch.func.jacrev(log_probabilities)(x) @ v
    expected = (log_probabilities(x).exp() * slopes.square()).sum()
    assert float(CATEGORICAL.square(x, v)) == pytest.approx(float(expected), rel=1e-12)


def test_normal_metric_is_that_of_the_definition(generator):
    x, v = (torch.randn(2, dtype=torch.float64, generator=generator) for _ in range(2))
    sample = x[0] + torch.linspace(-12, 12, 1001, dtype=torch.float64) * x[1].exp()

    def log_density(at):
        z = (sample - at[0]) * (-at[1]).exp()
        return -0.5 * z.square() - at[1] - 0.5 * math.log(2 * math.pi)

    slopes = torch.func.jacrev(log_density)(x) @ v
    expected = torch.trapezoid(log_density(x).exp() * slopes.square(), sample)
    assert float(GAUSSIANS.square(x, v)) == pytest.approx(float(expected), rel=1e-9)


@any_manifold(DISTRIBUTIONS)
def test_divergence_of_neighbours_is_half_the_squared_step(manifold, generator):
    x = torch.stack(manifold.ends()).mean(0)
    v = torch.randn(len(x), dtype=torch.float64, generator=generator)
    ratio = 2 * manifold.divergence(x, x + 1e-4 * v) / (1e-8 * manifold.square(x, v))
    assert float(ratio) == pytest.approx(1, abs=1e-3)


def test_golden_length_and_energy_of_a_polygon():
    # From y = 1 to y = e^2 in steps of log y of 0.5 and 1.5, at equal times.
    path = torch.tensor([[0.0, 0.0], [0.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    assert segment_lengths(HALF_PLANE, path).tolist() == pytest.approx([0.5, 1.5])
    assert float(energy(HALF_PLANE, path)) == pytest.approx(2 * (0.25 + 2.25))


@any_manifold()
def test_energy_is_at_least_the_squared_length(manifold, generator):
    for size in (0.0, 0.1, 0.5):
        path = perturbed(straight(manifold, 12), size, generator)
        length = float(segment_lengths(manifold, path).sum())
        assert float(energy(manifold, path)) >= length**2 * (1 - 1e-9)
        assert length >= float(manifold.distance(*manifold.ends())) * (1 - 1e-9)


@any_manifold()
def test_the_least_energy_reaches_the_distance_from_above(manifold):
    result = shortest_path(manifold, segments=(4, 8, 16), rivals=60, seed=3)
    assert result.started_at > 1.001 * result.distance
    assert all(length > result.distance for length in result.lengths)
    assert 1.8 < result.order < 2.2
    assert result.lengths[-1] / result.distance < 1.002
    assert result.speed_spread < 0.01
    # Not "longer than the path found": that has the least energy of all polygons, not length.
    assert 1 < result.shortest_rival < 1.01


@any_manifold(DISTRIBUTIONS)
def test_equal_steps_of_the_geodesic_cost_least(manifold):
    costs = step_costs(manifold, steps=(1, 8, 32))
    assert costs[0].geodesic == costs[0].line == costs[0].least
    assert all(cost.least <= min(cost.geodesic, cost.line) for cost in costs)
    assert abs(costs[2].geodesic - 1) < abs(costs[1].geodesic - 1) < abs(costs[0].geodesic - 1)
    assert costs[2].geodesic == pytest.approx(1, abs=0.02)
    assert costs[2].least == pytest.approx(1, abs=0.02)
    assert costs[2].line > 1.05


def test_steps_need_a_divergence():
    with pytest.raises(ArgumentError, match="manifold: got sphere"):
        step_costs(SPHERE)


@pytest.mark.parametrize(("half_turns", "index"), [(0.9, 0), (1.1, 1), (2.5, 2)])
def test_a_geodesic_is_shortest_only_up_to_half_a_turn(half_turns, index):
    arc = great_arc(half_turns, segments=24)
    assert arc.slope < 1e-9
    assert arc.index == index
    if index:
        assert arc.distance < arc.changed < arc.length
    else:
        assert arc.length == pytest.approx(arc.distance)
        assert arc.changed is None


def test_what_is_not_a_geodesic_has_a_slope():
    """The circle of latitude bends away, and its energy tells so."""
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    path = torch.stack((torch.full_like(t, 1.0), t), 1).requires_grad_()
    energy(SPHERE, path).backward()
    assert float(path.grad[1:-1].abs().max()) > 0.01


def test_a_search_leaves_the_ends_where_they_are(generator):
    path = perturbed(straight(SPHERE, 8), 0.2, generator)
    found = least_path(lambda x: energy(SPHERE, x), path)
    assert torch.equal(found[[0, -1]], path[[0, -1]])
    assert torch.equal(path[[0, -1]], torch.stack(SPHERE.ends()))


def test_golden_exponent():
    assert fitted_exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    assert fitted_exponent([1, 10], [5, 5]) == pytest.approx(0)


@pytest.mark.parametrize(("sizes", "values"), [([2, 2], [1, 3]), ([1, 2], [1]), ([1, 2], [0, 1])])
def test_an_exponent_needs_two_sizes_and_positive_figures(sizes, values):
    with pytest.raises(ArgumentError, match="Fix"):
        fitted_exponent(sizes, values)
