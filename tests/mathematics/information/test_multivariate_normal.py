"""Normal distributions of several variables: divergences, entropies and Fisher-Rao geometry."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal as TorchNormal
from torch.distributions import kl_divergence as torch_kl

from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError
from adaptive_attention_tiling.mathematics.information import (
    MultivariateNormal,
    MultivariateNormalFisherRao,
    NormalFisherRao,
    normal_entropy,
    normal_hellinger_distance,
    normal_jeffreys_divergence,
    normal_kl_divergence,
    normal_lift,
    normal_mutual_information,
    normal_renyi_divergence,
    normal_wasserstein_distance,
)

SPACE = MultivariateNormalFisherRao()


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def scalar_normal(mean, deviation):
    return MultivariateNormal(tensor(mean), tensor([deviation**2]))


def spd(*shape):
    root = torch.randn(*shape, shape[-1], dtype=torch.float64)
    return root @ root.mT / shape[-1] + 0.3 * torch.eye(shape[-1], dtype=torch.float64)


def normals(*shape):
    return MultivariateNormal(torch.randn(*shape, dtype=torch.float64), spd(*shape))


def tangents(*shape, size=0.3):
    spread = torch.randn(*shape, shape[-1], dtype=torch.float64)
    mean = torch.randn(*shape, dtype=torch.float64)
    return MultivariateNormal(size * mean, size * (spread + spread.mT))


def close(got, wanted, tolerance=1e-12):
    wanted = torch.as_tensor(wanted, dtype=got.dtype)
    torch.testing.assert_close(got, wanted.expand_as(got), rtol=tolerance, atol=tolerance)


def both_close(got, wanted, tolerance):
    close(got.mean, wanted.mean, tolerance)
    close(got.covariance, wanted.covariance, tolerance)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param(
            lambda: normal_mutual_information(tensor([1, 0.5], [0.5, 1]), 1),
            0.143841036226,
            id="MI bivariate Gaussian rho=.5",
        ),
        pytest.param(
            lambda: normal_kl_divergence(scalar_normal(0.0, 1.0), scalar_normal(1.0, 2.0)),
            0.44314718056,
            id="KL(N(0,1)||N(1,2))",
        ),
        pytest.param(
            lambda: SPACE.distance(scalar_normal(0.0, 1.0), scalar_normal(1.0, 2.0)),
            1.18938093141,
            id="Fisher-Rao d(N(0,1),N(1,2))",
        ),
        pytest.param(
            lambda: SPACE.equal_mean_distance(tensor([1.0]), tensor([math.e**2])),
            1.41421356237,
            id="d(N(0,1),N(0,e))=sqrt2",
        ),
        pytest.param(
            lambda: SPACE.equal_mean_distance(tensor([2, 0.5], [0.5, 1]), tensor([1, 0], [0, 3])),
            1.44644497489 / math.sqrt(2),
            id="SPD affine-invariant d(A,B), over sqrt2",
        ),
    ],
)
def test_golden(call, expected):
    assert abs(call().item() - expected) < 5e-12


def test_divergence_and_entropy_are_torch_s():
    p, q = normals(6, 3), normals(6, 3)
    theirs = [TorchNormal(x.mean, x.covariance) for x in (p, q)]
    close(normal_kl_divergence(p, q), torch_kl(*theirs))
    close(normal_entropy(p.covariance), theirs[0].entropy())
    close(normal_jeffreys_divergence(p, q), torch_kl(*theirs) + torch_kl(*theirs[::-1]))


def test_divergences_are_the_integrals():
    x = torch.linspace(-40, 40, 200001, dtype=torch.float64)
    p, q = scalar_normal(0.3, 1.2), scalar_normal(-0.5, 1.7)
    f, g = (
        torch.exp(-((x - m) ** 2) / (2 * s * s)) / (s * math.sqrt(2 * math.pi))
        for m, s in ((0.3, 1.2), (-0.5, 1.7))
    )
    for order in (0.3, 0.5, 2.0):
        integral = torch.trapezoid(f**order * g ** (1 - order), x)
        close(normal_renyi_divergence(p, q, order), integral.log() / (order - 1), 1e-10)
    close(normal_renyi_divergence(p, q, 1), normal_kl_divergence(p, q))
    close(normal_renyi_divergence(p, q, 1 + 1e-7), normal_kl_divergence(p, q), 1e-6)
    apart = torch.trapezoid((f.sqrt() - g.sqrt()).square(), x) / 2
    close(normal_hellinger_distance(p, q), apart.sqrt(), 1e-10)
    assert normal_renyi_divergence(q, p, 3).item() == math.inf
    close(normal_hellinger_distance(p, p), 0.0)


def test_wasserstein():
    """Known where covariances commute; a coupling is never cheaper; a distance."""
    close(normal_wasserstein_distance(scalar_normal(0.0, 1.0), scalar_normal(3.0, 5.0)), 5.0)
    p, q, r = normals(30, 3), normals(30, 3), normals(30, 3)
    d = normal_wasserstein_distance
    close(d(p, q), d(q, p), 1e-9)
    assert bool((d(p, r) <= d(p, q) + d(q, r) + 1e-12).all())
    roots = torch.linalg.cholesky(p.covariance), torch.linalg.cholesky(q.covariance)
    coupled = (p.mean - q.mean).square().sum(-1) + (roots[0] - roots[1]).square().sum((-2, -1))
    assert bool((d(p, q) <= coupled.sqrt()).all())
    close(d(p, p), 0.0, 1e-6)  # rounding, under a root


def test_entropy_chains_and_information():
    covariance = spd(10, 5)
    parts = covariance[:, :2, :2], covariance[:, 2:, 2:]
    information = normal_mutual_information(covariance, 2)
    close(information, sum(normal_entropy(part) for part in parts) - normal_entropy(covariance))
    assert bool((information > 0).all())
    mixed = torch.randn(3, 2, dtype=torch.float64)
    joint = torch.block_diag(torch.eye(2).double(), mixed.mT)
    moved = joint @ covariance @ joint.mT
    assert bool((normal_mutual_information(moved, 2) <= information + 1e-13).all())
    assert normal_entropy(tensor([0.01])).item() < 0


@pytest.mark.parametrize("d", [1, 2, 3])
def test_log_and_exp_are_inverse_and_as_long_as_the_distance(d):
    p, q, v = normals(12, d), normals(12, d), tangents(12, d)
    velocity = SPACE.log(p, q)
    both_close(SPACE.exp(p, velocity), q, 1e-9)
    both_close(SPACE.log(p, SPACE.exp(p, v)), v, 1e-9)
    distance = SPACE.distance(p, q)
    close(SPACE.inner(p, velocity, velocity).sqrt(), distance, 1e-9)
    close(SPACE.distance(q, p), distance, 1e-9)
    lower, upper = SPACE.distance_bounds(p, q)
    assert bool((lower <= distance + 1e-9).all() & (distance <= upper + 1e-9).all())
    if d > 1:
        assert bool((lower < distance).all() & (distance < upper).all())
        assert bool((upper < 1.05 * lower).any())
    near = SPACE.geodesic(p, q, 0.3)
    close(SPACE.distance(p, near), 0.3 * distance, 1e-9)
    close(SPACE.distance(near, q), 0.7 * distance, 1e-9)
    close(SPACE.distance(p, p), 0.0, 1e-9)


def test_one_variable_is_the_half_plane():
    p, q = normals(20, 1), normals(20, 1)
    pairs = [torch.cat([x.mean, x.covariance[..., 0].sqrt()], -1) for x in (p, q)]
    close(SPACE.distance(p, q), NormalFisherRao().distance(*pairs), 1e-10)


def test_distances_do_not_change_with_the_coordinates():
    p, q = normals(5, 3), normals(5, 3)
    a = torch.randn(3, 3, dtype=torch.float64)
    moved = [MultivariateNormal(x.mean @ a.mT + 1, a @ x.covariance @ a.mT) for x in (p, q)]
    close(SPACE.distance(*moved), SPACE.distance(p, q), 1e-9)


def test_special_cases_are_the_general_one_s():
    p, q = normals(8, 3), normals(8, 3)
    same_mean = MultivariateNormal(p.mean, q.covariance)
    close(SPACE.equal_mean_distance(p.covariance, q.covariance), SPACE.distance(p, same_mean), 1e-9)
    moved = MultivariateNormal(q.mean, p.covariance)
    closed = SPACE.equal_covariance_distance(p.mean, q.mean, p.covariance)
    close(closed, SPACE.distance(p, moved), 1e-9)
    mahalanobis = ((q.mean - p.mean)[:, None] @ torch.linalg.inv(p.covariance))[:, 0]
    assert bool((closed < (mahalanobis * (q.mean - p.mean)).sum(-1).sqrt()).all())


def from_chart(x):
    """(mu_1, mu_2, S_11, S_21, S_22) -> a normal of two variables."""
    rows = torch.stack([x[..., [2, 3]], x[..., [3, 4]]], -2)
    return MultivariateNormal(x[..., :2], rows)


def to_chart(normal):
    c = normal.covariance
    return torch.cat([normal.mean, torch.stack([c[..., 0, 0], c[..., 1, 0], c[..., 1, 1]], -1)], -1)


def test_the_matrix_is_the_inner_product_and_the_hessian_of_the_divergence():
    p, u, v = normals(2), tangents(2), tangents(2)
    matrix = SPACE.metric_matrix(p)
    close(to_chart(u) @ matrix @ to_chart(v), SPACE.inner(p, u, v))
    hessian = torch.autograd.functional.hessian(
        lambda x: normal_kl_divergence(p, from_chart(x)), to_chart(p)
    )
    close(hessian, matrix, 1e-11)


def test_geodesics_are_those_of_the_metric_s_own_connection():
    """Against an integration of the geodesic equation from the metric's derivatives alone."""
    from adaptive_attention_tiling.mathematics.geometry.riemannian import RiemannianStructure

    manifold = RiemannianStructure(lambda x: SPACE.metric_matrix(from_chart(x)), 5)
    p, v = normals(1, 2), tangents(1, 2, size=0.2)
    close(to_chart(SPACE.exp(p, v)), manifold.exp(to_chart(p), to_chart(v)), 1e-6)


def test_gradients_of_distance_and_log():
    x, y = to_chart(normals(1, 2)), to_chart(normals(1, 2))

    def distance(a, b):
        return SPACE.distance(from_chart(a), from_chart(b))

    def velocity(a, b):
        return to_chart(SPACE.log(from_chart(a), from_chart(b)))

    def end(a, b):
        return to_chart(SPACE.exp(from_chart(a), from_chart(b)))

    for function in (distance, velocity):
        leaves = (x.clone().requires_grad_(), y.clone().requires_grad_())
        assert torch.autograd.gradcheck(function, leaves, atol=1e-6)
    assert torch.autograd.gradgradcheck(distance, leaves, atol=1e-5, fast_mode=True)
    step = to_chart(tangents(1, 2)).requires_grad_()
    assert torch.autograd.gradcheck(end, (x.clone().requires_grad_(), step))


def test_gradients_of_divergences():
    x, y = (to_chart(normals(2)).requires_grad_() for _ in range(2))
    for divergence in (
        normal_kl_divergence,
        lambda p, q: normal_renyi_divergence(p, q, 0.4),
        normal_hellinger_distance,
        normal_wasserstein_distance,
    ):
        assert torch.autograd.gradcheck(
            lambda a, b, d=divergence: d(from_chart(a), from_chart(b)), (x, y)
        )


def test_batches_are_loops():
    p, q = normals(2, 3, 2), normals(2, 3, 2)
    for function in (
        SPACE.distance,
        normal_kl_divergence,
        normal_wasserstein_distance,
        lambda a, b: normal_renyi_divergence(a, b, 2),
    ):
        loop = [
            function(*(MultivariateNormal(x.mean[i, j], x.covariance[i, j]) for x in (p, q)))
            for i in range(2)
            for j in range(3)
        ]
        close(function(p, q).flatten(), torch.stack(loop), 1e-9)


def test_points_far_apart_and_single_precision():
    d = 3
    rotation = torch.linalg.qr(torch.randn(8, d, d, dtype=torch.float64)).Q
    logs = 2 * torch.randn(8, d, dtype=torch.float64)
    spread = rotation @ torch.diag_embed(logs.exp()) @ rotation.mT
    p, q = (
        normals(8, d),
        MultivariateNormal(4 * torch.randn(8, d).double(), (spread + spread.mT) / 2),
    )
    distance = SPACE.distance(p, q)
    lower, upper = SPACE.distance_bounds(p, q)
    assert bool((lower < distance).all() & (distance < upper).all())
    assert distance.max() > 5
    close(SPACE.distance(q, p), distance, 1e-5)
    single = [MultivariateNormal(x.mean.float(), x.covariance.float()) for x in (p, q)]
    got = SPACE.distance(*single)
    assert got.dtype == torch.float32
    close(got.double(), distance, 1e-3)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("apart", [10.0, 30.0, 70.0, 100.0, 150.0, 300.0, 400.0, 1000.0])
def test_what_rounding_takes_from_distances_is_told(d, apart):
    """Of equal covariances, where the distance is known; no bound is on the wrong side."""
    p = MultivariateNormal(torch.zeros(d).double(), torch.eye(d).double())
    q = MultivariateNormal(torch.full((d,), apart / d**0.5).double(), p.covariance)
    exact = SPACE.equal_covariance_distance(p.mean, q.mean, p.covariance)
    lower, upper = SPACE.distance_bounds(p, q)
    assert bool((lower <= exact * (1 + 1e-6)) & (exact <= upper * (1 + 1e-6)))
    assert bool(upper < 1.001 * exact) or d > 1
    if apart < 100:
        torch.testing.assert_close(SPACE.distance(p, q), exact, rtol=1e-3, atol=0)
        return
    with pytest.raises(CorrectnessError, match="Fix: use distance_bounds"):
        SPACE.distance(p, q)


def test_a_change_of_scale_is_reached_however_large():
    p = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    q = MultivariateNormal(p.mean, 1e10 * p.covariance)
    assert SPACE.distance(p, q).item() == pytest.approx(math.log(1e10), rel=1e-12)


def test_a_search_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr(normal_lift, "_ITERATIONS", 1)
    with pytest.raises(CorrectnessError, match="distance: got a corner of"):
        SPACE.distance(normals(2), normals(2))


BAD = MultivariateNormal(torch.zeros(2).double(), tensor([1, 2], [2, 1]))
GOOD = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normal_kl_divergence(BAD, GOOD), "p: got smallest eigenvalue -1"),
        (lambda: normal_wasserstein_distance(GOOD, BAD), "q: got smallest eigenvalue -1"),
        (lambda: SPACE.distance(GOOD, BAD), "q: got smallest eigenvalue -1"),
        (lambda: SPACE.metric_matrix(BAD), "point: got smallest eigenvalue -1"),
        (lambda: SPACE.log(GOOD._replace(mean=tensor(0.0)), GOOD), r"point: got mean \[1\]"),
        (lambda: SPACE.exp(GOOD._replace(mean=tensor(0, math.nan)), GOOD), "a mean with NaN"),
        (lambda: normal_entropy(tensor([1, 2], [0, 1])), "covariance: got A - A"),
        (lambda: normal_mutual_information(torch.eye(2), 2), "first: got 2"),
        (lambda: normal_renyi_divergence(GOOD, GOOD, 0), "order: got 0"),
    ],
)
def test_what_is_no_normal_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
