"""Fisher-Rao metrics of categorical and normal distributions: golden values and laws."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.information import (
    CategoricalFisherRao,
    NormalFisherRao,
)

CATEGORICAL, NORMAL = CategoricalFisherRao(), NormalFisherRao()


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def categorical_points(*shape):
    return (0.7 * normal(*shape, 4)).softmax(-1)


def normal_points(*shape):
    return torch.stack([normal(*shape), (0.5 * normal(*shape)).exp()], -1)


@pytest.mark.parametrize(
    ("manifold", "first", "second", "expected"),
    [
        pytest.param(NORMAL, (0, 1), (1, 2), 1.18938093141, id="Fisher-Rao d(N(0,1),N(1,2))"),
        pytest.param(NORMAL, (0, 1), (0, math.e), math.sqrt(2), id="d(N(0,1),N(0,e))=sqrt2"),
        pytest.param(
            CATEGORICAL, (0.5, 0.3, 0.2), (0.2, 0.3, 0.5), 0.739290710242, id="2arccos sum sqrt pq"
        ),
        pytest.param(CATEGORICAL, (1, 0), (0, 1), math.pi, id="opposite corners"),
    ],
)
def test_golden_distances(manifold, first, second, expected):
    distance = manifold.distance(tensor(*first), tensor(*second))
    assert abs(distance.item() - expected) < 5e-12


@pytest.mark.parametrize(("i", "expected"), [(0, 0.346020761246), (1, 0.692041522491)])
def test_golden_gauss_hermite_metric_of_a_normal(i, expected):
    """E[d log p d log p^T] by quadrature, sigma = 1.7: the closed form and the golden rows."""
    import numpy as np

    sigma = 1.7
    x, w = np.polynomial.hermite_e.hermegauss(20)
    score = np.stack([x / sigma, (x * x - 1) / sigma])
    numeric = torch.from_numpy((w * score) @ score.T / math.sqrt(2 * math.pi))
    matrix = NORMAL.metric_matrix(tensor(0.4, sigma))
    assert abs(matrix[i, i].item() - expected) < 1e-12
    torch.testing.assert_close(numeric, matrix, rtol=0, atol=1e-14)


SPACES = [
    pytest.param(CATEGORICAL, categorical_points, id="categorical"),
    pytest.param(NORMAL, normal_points, id="normal"),
]


@pytest.mark.parametrize(("space", "points"), SPACES)
def test_log_and_exp_are_inverse_and_as_long_as_the_distance(space, points):
    p, q = points(50), points(50)
    velocity = space.log(p, q)
    torch.testing.assert_close(space.exp(p, velocity), q, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(
        space.inner(p, velocity, velocity).sqrt(), space.distance(p, q), rtol=1e-12, atol=1e-14
    )
    torch.testing.assert_close(space.log(p, p), torch.zeros_like(p), rtol=0, atol=1e-15)


def test_what_is_no_point_is_told():
    with pytest.raises(ArgumentError, match=r"point: got sigma -1"):
        NORMAL.metric_matrix(tensor(0, -1))
