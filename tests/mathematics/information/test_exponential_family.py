"""Exponential and softmax families: dual charts, geodesics, Pythagoras, and their metrics."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError
from adaptive_attention_tiling.mathematics.information import (
    CategoricalFisherRao,
    ExponentialFamily,
    MultivariateNormal,
    NormalFisherRao,
    SoftmaxFamily,
    categorical_log_partition,
    kl_divergence,
    negative_entropy,
    normal_kl_divergence,
    normal_log_partition,
    poisson_log_partition,
)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(got, wanted, tolerance=1e-12):
    wanted = torch.as_tensor(wanted, dtype=got.dtype)
    torch.testing.assert_close(got, wanted.expand_as(got), rtol=tolerance, atol=tolerance)


NORMAL = ExponentialFamily(normal_log_partition, tensor(0, -0.5))
CATEGORICAL = ExponentialFamily(categorical_log_partition, tensor(0, 0, 0))
POISSON = ExponentialFamily(poisson_log_partition, tensor(0))


def normal_parameters(n):
    deviation = (0.4 * normal(n)).exp()
    return torch.stack([normal(n) / deviation**2, -0.5 / deviation**2], -1)


FAMILIES = [
    pytest.param(NORMAL, normal_parameters, id="normal"),
    pytest.param(CATEGORICAL, lambda n: normal(n, 3), id="categorical"),
    pytest.param(POISSON, lambda n: normal(n, 1), id="poisson"),
]
every_family = pytest.mark.parametrize(("family", "parameters"), FAMILIES)


@every_family
def test_the_two_charts_are_inverse_and_dual(family, parameters):
    theta = parameters(20)
    eta = family.expectation(theta)
    close(family.natural(eta), theta, 1e-10)
    values = theta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(family.log_partition(values).sum(), values)
    close(eta, slope)
    # grad of the dual potential in eta is theta, and its Hessian the inverse of G.
    point = eta[0].clone()
    potential = torch.autograd.functional.jacobian(
        lambda e: family.dual_potential(family.natural(e)), point
    )
    close(potential, theta[0], 1e-9)
    inverse = torch.autograd.functional.jacobian(family.natural, point)
    close(inverse @ family.metric_matrix(theta[0]), torch.eye(len(point)).double(), 1e-9)


@every_family
def test_the_metric_is_the_hessian_of_the_divergence(family, parameters):
    first = parameters(1)[0]
    hessian = torch.autograd.functional.hessian(lambda x: family.divergence(first, x), first)
    close(hessian, family.metric_matrix(first), 1e-11)
    u, v = torch.randn_like(first), torch.randn_like(first)
    close(family.inner(first, u, v), u @ hessian @ v, 1e-11)


@every_family
def test_pythagoras(family, parameters):
    """The m-projection of p on an e-geodesic splits KL in two; elsewhere it does not."""
    p, q, r = parameters(1)[0], parameters(1)[0], parameters(1)[0]
    if family is POISSON:
        q = p  # with one parameter nothing is at a right angle but a point itself
    else:
        direction = r - q
        across = family.expectation(q) - family.expectation(p)
        across = across - direction * (across @ direction) / (direction @ direction)
        p = family.natural(family.expectation(q) - 0.3 * across)
    parts = family.divergence(p, q) + family.divergence(q, r)
    close(parts, family.divergence(p, r), 1e-10)
    bent = family.e_geodesic(q, r, 0.5)
    if family is not POISSON:
        assert family.divergence(p, bent) > family.divergence(p, q)
        excess = family.divergence(p, bent) + family.divergence(bent, r) - family.divergence(p, r)
        assert abs(excess) > 1e-4


@every_family
def test_geodesics_are_straight_in_their_chart_and_the_divergence_is_one_sided(family, parameters):
    a, b = parameters(5), parameters(5)
    middle = family.m_geodesic(a, b, 0.25)
    wanted = 0.75 * family.expectation(a) + 0.25 * family.expectation(b)
    close(family.expectation(middle), wanted, 1e-10)
    close(family.e_geodesic(a, b, 0.25), 0.75 * a + 0.25 * b)
    assert bool((family.divergence(a, b) > 0).all())
    close(family.divergence(a, a), 0.0)


def test_categorical_and_normal_are_what_they_are_elsewhere():
    theta = normal(2, 3)
    p, q = (torch.cat([t, t.new_zeros(1)]).softmax(-1) for t in theta)
    close(CATEGORICAL.expectation(theta[0]), p[:3])
    close(CATEGORICAL.divergence(*theta), kl_divergence(p, q))
    close(CATEGORICAL.dual_potential(theta[0]), negative_entropy(p))
    chart = torch.autograd.functional.jacobian(CATEGORICAL.expectation, theta[0])
    pulled = chart.mT @ CategoricalFisherRao().metric_matrix(p[:3]) @ chart
    close(CATEGORICAL.metric_matrix(theta[0]), pulled)

    def natural(pair):
        return torch.stack([pair[0] / pair[1] ** 2, -0.5 / pair[1] ** 2])

    first, second = tensor(0, 1), tensor(1, 2)
    distributions = [MultivariateNormal(x[:1], x[1:, None] ** 2) for x in (first, second)]
    divergence = NORMAL.divergence(natural(first), natural(second))
    close(divergence, normal_kl_divergence(*distributions))
    close(NORMAL.expectation(natural(second)), tensor(1, 5))
    chart = torch.autograd.functional.jacobian(natural, second)
    pulled = chart.mT @ NORMAL.metric_matrix(natural(second)) @ chart
    close(pulled, NormalFisherRao().metric_matrix(second))


def test_gradients_reach_through_both_charts():
    theta = normal(2, 3).requires_grad_()
    eta = CATEGORICAL.expectation(theta).detach().requires_grad_()
    for function, leaf in (
        (CATEGORICAL.expectation, theta),
        (CATEGORICAL.metric_matrix, theta),
        (CATEGORICAL.natural, eta),
    ):
        assert torch.autograd.gradcheck(function, leaf)
    other = normal(2, 3).requires_grad_()
    assert torch.autograd.gradgradcheck(CATEGORICAL.divergence, (theta, other), fast_mode=True)
    assert not CATEGORICAL.expectation(theta.detach()).requires_grad


def test_softmax_family_is_its_definition():
    family = SoftmaxFamily(normal(7, 4), normal(7))
    theta, x = normal(3, 4), normal(3, 4)
    matrix = family.metric_matrix(theta)
    for row, point in zip(matrix, theta, strict=True):
        close(row, torch.autograd.functional.hessian(family.log_partition, point))
        p, w = family.probabilities(point), family.weight
        close(row, w.T @ (p.diag() - torch.outer(p, p)) @ w)
    close(family.product(theta, x), (matrix @ x[..., None])[..., 0])
    close(family.squared_norm(theta, x), (x * family.product(theta, x)).sum(-1))
    close(family.metric_sum(theta), matrix.sum(0))
    close(family.diagonal_sum(theta), matrix.sum(0).diagonal())
    moved = SoftmaxFamily(family.weight + normal(4), family.bias)
    close(moved.metric_matrix(theta), matrix)
    leaves = theta.clone().requires_grad_(), x.clone().requires_grad_()
    for function in (family.squared_norm, family.product):
        assert torch.autograd.gradcheck(function, leaves)
    general = ExponentialFamily(family.log_partition, torch.zeros(4).double())
    close(general.metric_matrix(theta), matrix)
    close(general.natural(general.expectation(theta)), theta, 1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ExponentialFamily(normal_log_partition, tensor(0, 1)), ArgumentError, "centre"),
        (
            lambda: ExponentialFamily(normal_log_partition, tensor([0, -1.0])),
            ArgumentError,
            "centre: got shape",
        ),
        (lambda: CATEGORICAL.natural(tensor(0.5, 0.5, 0.5)), CorrectnessError, "eta: got no theta"),
        (lambda: NORMAL.natural(tensor(0, math.nan)), ArgumentError, "eta: got NaN"),
        (lambda: NORMAL.natural(tensor(1, 0.5)), CorrectnessError, "eta: got no theta"),
        (lambda: NORMAL.metric_matrix(tensor(0, 0.5)), ArgumentError, "theta: got a psi of nan"),
        (lambda: NORMAL.expectation(tensor(0, 0.5)), ArgumentError, "theta: got a psi of nan"),
        (lambda: NORMAL.expectation(torch.tensor([0, -1])), ArgumentError, "theta: got torch.int"),
        (lambda: SoftmaxFamily(normal(3)), ArgumentError, "weight"),
        (lambda: SoftmaxFamily(normal(3, 2), normal(2)), ArgumentError, "bias"),
        (lambda: SoftmaxFamily(normal(3, 2)).logits(normal(3)), ArgumentError, "theta"),
    ],
)
def test_what_is_no_member_is_told(call, error, message):
    with pytest.raises(error, match=message):
        call()
