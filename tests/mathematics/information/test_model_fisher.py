"""Fisher matrices of a model from single gradients, and steps along the natural gradient."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.information import (
    EmpiricalFisher,
    SoftmaxFamily,
    head_gradients,
    low_rank_factor,
    natural_gradient,
    per_sample_gradients,
)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(got, wanted, tolerance=1e-12):
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("n", "width"), [(5, 9), (30, 6)])
def test_every_form_is_the_dense_one(n, width):
    gradients, x = normal(n, width), normal(4, width)
    fisher = EmpiricalFisher(gradients)
    matrix = torch.stack([torch.outer(g, g) for g in gradients]).mean(0)
    close(fisher.matrix(), matrix)
    close(fisher.diagonal(), matrix.diagonal())
    close(fisher.product(x), x @ matrix)
    close(fisher.squared_norm(x), torch.einsum("bi,ij,bj->b", x, matrix, x))
    for rank in (1, 3, min(n, width)):
        factor = fisher.low_rank(rank)
        best = low_rank_factor(matrix, rank)
        close(factor @ factor.mT, best @ best.mT, 1e-10)
    step = fisher.natural_gradient(x[0], damping=0.1)
    identity = torch.eye(width, dtype=torch.float64)
    close(step, torch.linalg.solve(matrix + 0.1 * identity, x[0]), 1e-10)
    close(step, natural_gradient(matrix, x[0], damping=0.1), 1e-10)


def test_gradients_of_single_samples():
    """A regression with unit noise: log p = -(y - theta . x)^2 / 2, F = E[x x^T] at the truth."""
    theta, x = normal(3), normal(50, 3)
    y = x @ theta + normal(50)
    samples = torch.cat([x, y[:, None]], -1)

    def log_likelihood(parameters, sample):
        return -((sample[3] - parameters @ sample[:3]) ** 2) / 2

    gradients = per_sample_gradients(log_likelihood, theta, samples)
    close(gradients, (y - x @ theta)[:, None] * x)


def test_mean_outer_product_over_the_model_s_own_labels_is_the_exact_fisher():
    family = SoftmaxFamily(normal(5, 3), normal(5))
    theta = normal(3)
    labels = torch.arange(5)
    gradients = head_gradients(family, theta.expand(5, 3), labels)
    p = family.probabilities(theta)
    close(p @ gradients, torch.zeros(3).double())
    close(gradients.mT @ (p[:, None] * gradients), family.metric_matrix(theta))
    weight = family.weight
    for label in range(5):
        leaf = theta.clone().requires_grad_()
        (slope,) = torch.autograd.grad(family.logits(leaf).log_softmax(-1)[label], leaf)
        close(gradients[label], slope)
        close(slope, weight[label] - p @ weight)


def test_the_empirical_fisher_is_not_the_fisher_where_the_model_is_wrong():
    family = SoftmaxFamily(normal(5, 3))
    theta = normal(400, 3)
    exact = family.metric_sum(theta) / 400
    drawn = torch.multinomial(family.probabilities(theta), 1)[:, 0]
    near = EmpiricalFisher(head_gradients(family, theta, drawn)).matrix()
    wrong = family.probabilities(theta).argmin(-1)
    far = EmpiricalFisher(head_gradients(family, theta, wrong)).matrix()
    size = exact.norm()
    assert (near - exact).norm() < 0.25 * size
    assert (far - exact).norm() > size


def test_the_natural_step_is_newton_s_where_the_model_is_quadratic_and_minds_no_chart():
    family = SoftmaxFamily(normal(6, 3))
    theta, target = normal(3), torch.softmax(normal(6), -1)
    chart = normal(3, 3)

    def loss(x):
        return -(target * family.logits(x).log_softmax(-1)).sum()

    slope = torch.autograd.functional.jacobian(loss, theta)
    hessian = torch.autograd.functional.hessian(loss, theta)
    step = natural_gradient(family.metric_matrix(theta), slope)
    close(step, torch.linalg.solve(hessian, slope), 1e-10)  # of an exponential family they agree
    other = SoftmaxFamily(family.weight @ chart)
    point = torch.linalg.solve(chart, theta)
    moved = natural_gradient(other.metric_matrix(point), chart.mT @ slope)
    close(chart @ moved, step, 1e-9)


def test_natural_gradients_have_gradients():
    root, gradient = normal(3, 3).requires_grad_(), normal(3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, g: natural_gradient(a @ a.mT, g, damping=0.5), (root, gradient)
    )
    leaf = normal(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, g: EmpiricalFisher(a).natural_gradient(g, damping=0.5), (leaf, gradient)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EmpiricalFisher(normal(3)), "gradients: got shape"),
        (lambda: EmpiricalFisher(torch.full((2, 2), torch.inf)), "gradients: got"),
        (lambda: EmpiricalFisher(normal(3, 2)).low_rank(3), "rank: got 3"),
        (
            lambda: EmpiricalFisher(normal(3, 2)).natural_gradient(normal(2), damping=0.0),
            "damping: got 0",
        ),
        (lambda: natural_gradient(-torch.eye(2), torch.ones(2)), "metric: got smallest"),
        (
            lambda: head_gradients(
                SoftmaxFamily(normal(3, 2)), normal(4, 2), torch.zeros(3).long()
            ),
            "labels: got",
        ),
        (lambda: low_rank_factor(torch.eye(3), 4), "rank: got 4"),
    ],
)
def test_what_cannot_be_done_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
