"""Fisher-Rao metrics of categorical and normal distributions: golden values and laws."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.information import (
    CategoricalFisherRao,
    NormalFisherRao,
    kl_divergence,
)

CATEGORICAL, NORMAL = CategoricalFisherRao(), NormalFisherRao()


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def categorical_points(*shape):
    return (0.7 * normal(*shape, 4)).softmax(-1)


def categorical_tangents(*shape):
    x = normal(*shape, 4)
    return 0.05 * (x - x.mean(-1, keepdim=True))


def normal_points(*shape):
    return torch.stack([normal(*shape), (0.5 * normal(*shape)).exp()], -1)


def normal_tangents(*shape):
    return normal(*shape, 2)


SPACES = [
    pytest.param(CATEGORICAL, categorical_points, categorical_tangents, id="categorical"),
    pytest.param(NORMAL, normal_points, normal_tangents, id="normal"),
]
every_space = pytest.mark.parametrize(("space", "points", "tangents"), SPACES)


def close(got, wanted, tolerance=1e-12):
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("manifold", "first", "second", "expected"),
    [
        pytest.param(NORMAL, (0, 1), (1, 2), 1.18938093141, id="Fisher-Rao d(N(0,1),N(1,2))"),
        pytest.param(NORMAL, (0, 1), (0, math.e), 1.41421356237, id="d(N(0,1),N(0,e))=sqrt2"),
        pytest.param(
            CATEGORICAL, (0.5, 0.3, 0.2), (0.2, 0.3, 0.5), 0.739290710242, id="2arccos sum sqrt pq"
        ),
        pytest.param(CATEGORICAL, (1, 0), (0, 1), math.pi, id="opposite corners"),
    ],
)
def test_golden_distances(manifold, first, second, expected):
    distance = manifold.distance(tensor(*first), tensor(*second))
    assert abs(distance.item() - expected) < 5e-12


@pytest.mark.parametrize(
    ("i", "expected"),
    [
        pytest.param(0, 0.346020761246, id="Fisher numeric g_mumu=1/sigma^2"),
        pytest.param(1, 0.692041522491, id="Fisher numeric g_sigmasigma=2/sigma^2"),
    ],
)
def test_golden_gauss_hermite_metric(i, expected):
    """E[d log p d log p^T] of N(0.4, 1.7^2) by quadrature."""
    import numpy as np

    sigma = 1.7
    x, w = np.polynomial.hermite_e.hermegauss(20)
    score = np.stack([x / sigma, (x * x - 1) / sigma])
    numeric = torch.from_numpy((w * score) @ score.T / math.sqrt(2 * math.pi))
    matrix = NORMAL.metric_matrix(tensor(0.4, sigma))
    assert abs(numeric[i, i].item() - expected) < 1e-12
    close(numeric, matrix, 1e-14)


@pytest.mark.parametrize(
    ("metric", "points", "curvature"),
    [
        pytest.param(NORMAL, normal_points, -0.5, id="Fisher N(mu,sigma) K=-1/2"),
        pytest.param(
            CATEGORICAL, lambda n: categorical_points(n)[..., :3], 0.25, id="categorical K=1/4"
        ),
    ],
)
def test_golden_curvature_is_the_same_everywhere(metric, points, curvature):
    from adaptive_attention_tiling.mathematics.geometry.riemannian import RiemannianStructure

    x = points(20)
    size = x.shape[-1]
    scalar = RiemannianStructure(metric.metric_matrix, size).scalar_curvature(x)
    close(scalar / (size * (size - 1)), torch.full((20,), curvature).double(), 1e-10)


@every_space
def test_log_and_exp_are_inverse_and_as_long_as_the_distance(space, points, tangents):
    p, q, v = points(50), points(50), tangents(50)
    velocity = space.log(p, q)
    close(space.exp(p, velocity), q, 1e-11)
    close(space.log(p, space.exp(p, v)), v, 1e-11)
    close(space.inner(p, velocity, velocity).sqrt(), space.distance(p, q))
    close(space.log(p, p), torch.zeros_like(p), 1e-15)
    close(space.exp(p, torch.zeros_like(p)), p, 1e-15)
    assert bool((space.distance(p, p) == 0).all())


@every_space
def test_a_distance_is_symmetric_and_has_no_shortcuts(space, points, tangents):
    p, q, r = points(200), points(200), points(200)
    close(space.distance(p, q), space.distance(q, p), 1e-13)
    assert bool((space.distance(p, r) <= space.distance(p, q) + space.distance(q, r)).all())


@every_space
def test_geodesics_go_at_constant_speed_from_end_to_end(space, points, tangents):
    p, q = points(20), points(20)
    close(space.geodesic(p, q, 0.0), p)
    close(space.geodesic(p, q, 1.0), q, 1e-11)
    for s, t in ((0.0, 0.3), (0.3, 0.8), (0.1, 1.0)):
        part = space.distance(space.geodesic(p, q, s), space.geodesic(p, q, t))
        close(part, (t - s) * space.distance(p, q), 1e-11)


@every_space
def test_transport_keeps_lengths_and_angles_and_carries_the_velocity(space, points, tangents):
    p, q, u, v = points(50), points(50), tangents(50), tangents(50)
    moved = space.transport(p, q, u), space.transport(p, q, v)
    close(space.inner(q, *moved), space.inner(p, u, v), 1e-11)
    close(space.transport(p, q, space.log(p, q)), -space.log(q, p), 1e-11)
    close(space.transport(q, p, moved[0]), u, 1e-11)
    close(space.transport(p, p, u), u, 1e-14)


@every_space
def test_transport_solves_the_equation_of_parallel_fields(space, points, tangents):
    """Against Schild's ladder of a short tangent, which knows only exp and log."""
    p, q, u = points(4), points(4), 1e-4 * tangents(4)
    carried, steps = u, 20
    for i in range(steps):
        here, there = (space.geodesic(p, q, t / steps) for t in (i, i + 1))
        middle = space.geodesic(space.exp(here, carried), there, 0.5)
        carried = space.log(there, space.exp(here, 2 * space.log(here, middle)))
    wanted = space.transport(p, q, u)
    assert (carried - wanted).norm() < 1e-3 * u.norm()
    assert (carried - u).norm() > 1e-1 * u.norm()


@every_space
def test_the_inner_product_is_the_matrix_in_its_chart(space, points, tangents):
    p, u, v = points(20), tangents(20), tangents(20)
    size = 3 if space is CATEGORICAL else 2
    matrix = space.metric_matrix(p[..., :size])
    wanted = torch.einsum("ni,nij,nj->n", u[:, :size], matrix, v[:, :size])
    close(space.inner(p, u, v), wanted)


@every_space
def test_batches_are_loops(space, points, tangents):
    p, q, v = points(3, 2), points(3, 2), tangents(3, 2)
    cases = (
        (space.distance, (p, q)),
        (space.log, (p, q)),
        (space.exp, (p, v)),
        (space.transport, (p, q, v)),
    )
    for function, arguments in cases:
        whole = function(*arguments)
        loop = [function(*(a[i, j] for a in arguments)) for i in range(3) for j in range(2)]
        close(whole.flatten(0, 1), torch.stack(loop), 1e-14)


def test_gradients_of_the_normal_s_geometry():
    p, q, v = normal_points(1), normal_points(1), normal_tangents(1)
    same = p.clone()
    for function, arguments in (
        (NORMAL.distance, (p, q)),
        (NORMAL.log, (p, q)),
        (NORMAL.exp, (p, v)),
        (NORMAL.exp, (p, 3 * v)),
        (NORMAL.transport, (p, q, v)),
        (NORMAL.metric_matrix, (p,)),
        (NORMAL.log, (p, same)),
        (NORMAL.exp, (p, 0 * v)),
        (lambda a, b: NORMAL.distance(a, b).square(), (p, q)),
    ):
        leaves = tuple(a.clone().requires_grad_() for a in arguments)
        assert torch.autograd.gradcheck(function, leaves)
        assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


def test_gradients_of_the_categorical_geometry():
    """In logits, so that every point that is tried is one."""
    a, b, v = normal(3), normal(3), 0.01 * normal(3)

    def tangent(x):
        return x - x.mean(-1, keepdim=True)

    cases = (
        (lambda x, y: CATEGORICAL.distance(x.softmax(-1), y.softmax(-1)), (a, b)),
        (lambda x, y: CATEGORICAL.log(x.softmax(-1), y.softmax(-1)), (a, b)),
        (lambda x, y: CATEGORICAL.log(x.softmax(-1), y.softmax(-1)), (a, a.clone())),
        (lambda x, y: CATEGORICAL.exp(x.softmax(-1), tangent(y)), (a, v)),
        (lambda x, y: CATEGORICAL.exp(x.softmax(-1), tangent(y)), (a, 0 * v)),
        (
            lambda x, y, z: CATEGORICAL.transport(x.softmax(-1), y.softmax(-1), tangent(z)),
            (a, b, v),
        ),
        (CATEGORICAL.logit_metric_matrix, (a,)),
    )
    for function, arguments in cases:
        leaves = tuple(x.clone().requires_grad_() for x in arguments)
        assert torch.autograd.gradcheck(function, leaves)
        assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@every_space
def test_distances_keep_their_digits_where_points_nearly_coincide(space, points, tangents):
    p, v = points(20), tangents(20)
    exact = space.inner(p, v, v).sqrt()
    for size in (1e-6, 1e-9):
        length = space.distance(p, space.exp(p, size * v))
        torch.testing.assert_close(length / size, exact, rtol=1e-14 / size, atol=0)
    leaf = p.clone().requires_grad_()
    (slope,) = torch.autograd.grad(space.distance(leaf, p).sum(), leaf)
    assert bool((slope == 0).all())


@every_space
def test_single_precision_agrees_with_double(space, points, tangents):
    p, q = points(50).float(), points(50).float()
    got = space.distance(p, q)
    assert got.dtype == torch.float32
    close(got.double(), space.distance(p.double(), q.double()), 1e-6)


def test_corners_of_the_simplex_are_reached():
    p, corner = tensor(0.3, 0.2, 0.5), tensor(1, 0, 0)
    close(CATEGORICAL.exp(p, CATEGORICAL.log(p, corner)), corner, 1e-15)
    close(CATEGORICAL.geodesic(corner, tensor(0, 1, 0), 0.5), tensor(0.5, 0.5, 0), 1e-15)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_units_do_not_matter_in_single_precision(scale):
    p, q = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0])
    distance = NORMAL.distance(scale * p, scale * q)
    assert distance.item() == pytest.approx(1.18938093141, rel=1e-6)


def test_normals_far_apart_are_reached():
    """Far up a direct formula cancels: cosh r - sinh r cos f at r = 30."""
    start = tensor(0.0, 1.0)
    for end in (tensor(0.0, 1e13), tensor(1e6, 1e13), tensor(1e8, 1.0), tensor(3.0, 1e-12)):
        reached = NORMAL.exp(start, NORMAL.log(start, end))
        torch.testing.assert_close(reached, end, rtol=1e-9, atol=1e-9)


def test_the_metric_is_the_hessian_of_the_divergence():
    x = categorical_points(1)[0, :3]

    def full(first):
        return torch.cat([first, 1 - first.sum(-1, keepdim=True)], -1)

    hessian = torch.autograd.functional.hessian(lambda y: kl_divergence(full(x), full(y)), x)
    close(hessian, CATEGORICAL.metric_matrix(x))
    logits = normal(4)
    hessian = torch.autograd.functional.hessian(
        lambda z: kl_divergence(logits.log_softmax(-1), z.log_softmax(-1), log_space=True), logits
    )
    close(hessian, CATEGORICAL.logit_metric_matrix(logits))


def test_the_metric_contracts_under_markov_maps_and_only_stays_under_congruences():
    """Chentsov: lumping outcomes shortens steps; splitting each in fixed shares does not."""
    p, v = categorical_points(200), categorical_tangents(200)
    markov = torch.rand(4, 3, dtype=torch.float64)
    markov = markov / markov.sum(-1, keepdim=True)
    before = CATEGORICAL.inner(p, v, v)
    w = v @ markov
    assert bool((CATEGORICAL.inner(p @ markov, w, w) < before).all())
    split = torch.zeros(4, 8, dtype=torch.float64)
    share = torch.rand(4, dtype=torch.float64)
    split[range(4), range(4)], split[range(4), range(4, 8)] = share, 1 - share
    w = v @ split
    close(CATEGORICAL.inner(p @ split, w, w), before)
    q = categorical_points(200)
    shorter = CATEGORICAL.distance(p @ markov, q @ markov)
    assert bool((shorter <= CATEGORICAL.distance(p, q)).all())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NORMAL.metric_matrix(tensor(0, -1)), "point: got sigma -1"),
        (lambda: NORMAL.distance(tensor(0, 1), tensor(0, math.nan)), "q: got sigma nan"),
        (lambda: NORMAL.exp(tensor(0, 1, 2), tensor(0, 1, 2)), r"expected floating \[..., 2\]"),
        (lambda: CATEGORICAL.distance(tensor(0.5, 0.6), tensor(0.5, 0.5)), "p: got"),
        (lambda: CATEGORICAL.distance(tensor(0.5, 0.5), tensor(1.0)), "q: got 1 outcomes"),
        (lambda: CATEGORICAL.log(tensor(1, 0), tensor(0.5, 0.5)), "point: got a probability of 0"),
        (lambda: CATEGORICAL.metric_matrix(tensor(0.5, 0.5)), "outside of the open simplex"),
        (
            lambda: CATEGORICAL.exp(tensor(0.5, 0.5), tensor(0.1, 0.1)),
            "tangent: got entries that do not sum to 0",
        ),
        (
            lambda: CATEGORICAL.exp(tensor(0.5, 0.5), tensor(2.0, -2.0)),
            "tangent: got a velocity that leaves the simplex",
        ),
        (
            lambda: CATEGORICAL.exp(tensor(0.5, 0.5), tensor(math.tau, -math.tau)),  # once around
            "tangent: got a velocity that leaves the simplex",
        ),
        (lambda: CATEGORICAL.inner(tensor(0.5, 0.5), tensor(0), tensor(0)), "u: got shape"),
    ],
)
def test_what_is_no_point_or_tangent_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
