"""Means of points on each manifold."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError
from adaptive_attention_tiling.mathematics.geometry import (
    Lorentz,
    PoincareBall,
    PositiveDefinite,
    Sphere,
    frechet_mean,
    lorentz_from_ball,
    point_between,
)
from adaptive_attention_tiling.mathematics.linalg import symmetric_part

F64 = torch.float64

SPACES = {
    "sphere": (Sphere(2, 2.0), 0.0),
    "lorentz": (Lorentz(3, 2.0), -0.25),
    "ball": (PoincareBall(3, 2.0), -0.25),
    "positive definite": (PositiveDefinite(2), -0.5),
}


@pytest.mark.parametrize("name", SPACES)
def test_frechet_means_are_where_the_pulls_cancel(name):
    space, least = SPACES[name]
    generator = torch.Generator().manual_seed(3)
    shape = (5, 3, 2, 2) if name == "positive definite" else (5, 3, 3)
    x = torch.randn(*shape, generator=generator, dtype=F64)
    if name == "sphere":
        x = space.project(x / 4 + torch.tensor([0, 0, 1.0], dtype=F64))
    elif name == "positive definite":
        x = x @ x.mT + 0.1 * torch.eye(2, dtype=F64)
    elif name == "ball":
        x = 1.5 * x / (1 + x.norm(dim=-1, keepdim=True))
    weights = torch.tensor([1.0, 0.5, 2.0, 0.2, 1.0], dtype=F64)
    mean = frechet_mean(space, x, weights, least_curvature=least)
    assert mean.shape == shape[1:]
    pull = torch.tensordot(weights, space.log(mean, x), 1)
    assert pull.abs().max() < 1e-12

    def cost(at):
        return weights @ space.distance(at, x).square()

    for seed in range(3):
        push = 1e-2 * torch.randn(*mean.shape, generator=generator.manual_seed(seed), dtype=F64)
        push = symmetric_part(push) if name == "positive definite" else push
        push = space.project_tangent(mean, push) if name == "sphere" else push
        assert (cost(space.exp(mean, push)) > cost(mean)).all()
    one = frechet_mean(space, x[:, :1], weights, least_curvature=least)
    torch.testing.assert_close(one, mean[:1], rtol=1e-12, atol=1e-13)
    middle = point_between(space, x[0], x[1], 0.25)
    pair = frechet_mean(space, x[:2], torch.tensor([0.75, 0.25], dtype=F64), least_curvature=least)
    torch.testing.assert_close(pair, middle, rtol=1e-11, atol=1e-12)


def test_the_mean_has_a_gradient_and_says_when_it_was_not_reached():
    space = Lorentz(2)
    x = torch.tensor([[3.0, 0.1], [-1.0, 2.0], [0.3, -2.0]], dtype=F64, requires_grad=True)
    mean = frechet_mean(space, x[:2], least_curvature=-1.0)
    weight = torch.tensor([0.3, -1.0], dtype=F64)
    slope = torch.autograd.grad(mean @ weight, x)[0]
    expected = torch.autograd.grad(point_between(space, x[0], x[1], 0.5) @ weight, x)[0]
    torch.testing.assert_close(slope, expected, rtol=1e-10, atol=1e-11)
    with pytest.raises(CorrectnessError, match="not reached in 2 steps"):
        frechet_mean(space, x, steps=2, least_curvature=-1.0)
    ball = torch.tensor([[0.5, 0.1], [-0.3, 0.4]], dtype=F64)
    middle = frechet_mean(PoincareBall(2), ball, least_curvature=-1.0)
    torch.testing.assert_close(lorentz_from_ball(middle), space.centroid(lorentz_from_ball(ball)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": -torch.ones(2)}, "weights: got a negative weight"),
        ({"weights": torch.ones(3)}, r"weights: got shape \[3\], expected \[2\]"),
        ({"weights": torch.ones(2, 1)}, r"weights: got shape \[2, 1\], expected \[2\]"),
        ({"least_curvature": 1.0}, "least_curvature: got 1.0, expected a number <= 0"),
        ({"least_curvature": torch.nan}, "least_curvature: got nan"),
        ({"steps": 0}, "steps: got 0, expected an integer >= 1"),
    ],
)
def test_what_has_no_mean_is_told(settings, message):
    with pytest.raises(ArgumentError, match=message):
        frechet_mean(Lorentz(2), torch.ones(2, 2), **settings)


def test_weights_may_count():
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0]], dtype=F64)
    counted = frechet_mean(Lorentz(2), points, torch.tensor([1, 1]), least_curvature=-1.0)
    torch.testing.assert_close(counted, point_between(Lorentz(2), *points, 0.5))
