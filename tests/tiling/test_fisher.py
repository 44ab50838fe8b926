"""The Fisher metric is its definition, its dense matrix, and twice the Kullback-Leibler loss."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close, assert_monotone
from adaptive_attention_tiling.tiling import DiagonalMetric, FisherMetric, LowRankMetric, fisher

V, C, N = 13, 6, 9


def make_metric(*, bias: bool = True, shift: float = 0.0) -> FisherMetric:
    weight = torch.randn(V, C, dtype=torch.float64) + shift * torch.ones(C, dtype=torch.float64)
    return FisherMetric(weight, torch.randn(V, dtype=torch.float64) if bias else None)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def log_probabilities(metric: FisherMetric, state: Tensor) -> Tensor:
    logits = state @ metric.weight.T
    return (logits if metric.bias is None else logits + metric.bias).log_softmax(-1)


def by_definition(metric: FisherMetric, state: Tensor) -> Tensor:
    """E[d log p d log p^T], with the derivatives by autograd."""
    jacobian = torch.autograd.functional.jacobian(lambda s: log_probabilities(metric, s), state)
    p = log_probabilities(metric, state).exp()
    return torch.einsum("v,vc,vd->cd", p, jacobian, jacobian)


def by_formula(metric: FisherMetric, state: Tensor) -> Tensor:
    p = log_probabilities(metric, state).exp()
    return metric.weight.T @ (p.diag() - p[:, None] * p) @ metric.weight


def test_hand_worked():
    """Two tokens, logits (s, 0) at s = 0: G = p (1 - p) = 1/4."""
    metric = FisherMetric(torch.tensor([[1.0], [0.0]]))
    assert metric.matrix(torch.zeros(1)).tolist() == [[0.25]]
    assert metric.squared_norm(torch.zeros(1), torch.tensor([2.0])) == 1.0


@pytest.mark.parametrize("bias", [True, False])
def test_the_matrix_is_the_definition(bias):
    metric, state = make_metric(bias=bias), normal(C)
    assert_close(by_definition(metric, state), by_formula(metric, state))
    assert_close(metric.matrix(state), by_definition(metric, state))


@pytest.mark.parametrize("entries", [fisher._CHUNK_ENTRIES, 3 * V, 1])
def test_the_quadratic_form_is_the_matrix_s(entries, monkeypatch):
    monkeypatch.setattr(fisher, "_CHUNK_ENTRIES", entries)
    metric, states, tangents = make_metric(), normal(2, N, C), normal(2, N, C)
    matrices = torch.stack([by_formula(metric, s) for s in states.flatten(0, 1)])
    matrices = matrices.unflatten(0, (2, N))
    dense = torch.einsum("bnc,bncd,bnd->bn", tangents, matrices, tangents)
    assert_close(metric.squared_norm(states, tangents), dense)
    mean = matrices.mean((0, 1))
    assert_close(metric.average(states), mean)
    assert_close(metric.diagonal(states).weights, mean.diagonal())


def test_gradients_of_the_quadratic_form_are_the_matrix_s():
    metric = make_metric()
    leaves = [normal(C).requires_grad_(), normal(C).requires_grad_()]
    fast = metric.squared_norm(*leaves)
    slow = leaves[1] @ by_formula(metric, leaves[0]) @ leaves[1]
    pairs = zip(torch.autograd.grad(fast, leaves), torch.autograd.grad(slow, leaves), strict=True)
    for got, wanted in pairs:
        assert_close(got, wanted, gradient=True)


def test_half_of_it_is_the_divergence_to_second_order():
    metric, state, step = make_metric(), normal(C), normal(C)
    logs = log_probabilities(metric, state)
    errors = []
    for h in (0.02, 0.01, 0.005, 0.0025):
        moved = log_probabilities(metric, state + h * step)
        divergence = (logs.exp() * (logs - moved)).sum()
        errors.append((divergence - metric.squared_norm(state, h * step) / 2).abs().item())
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(abs(order - 3) < 0.1 for order in orders), orders


def test_a_common_shift_of_logits_is_no_step():
    metric = FisherMetric(normal(C).expand(V, C))
    assert_close(metric.squared_norm(normal(N, C), normal(N, C)), torch.zeros(N).double())


def test_averages_survive_a_large_common_row_in_single_precision():
    exact = make_metric(shift=300.0)
    single = FisherMetric(exact.weight.float(), exact.bias.float())
    near = FisherMetric(single.weight.double(), single.bias.double())
    states = (0.1 * normal(N, C)).float()
    states = states - states.mean(-1, keepdim=True)
    wanted = near.average(states.double())
    assert (single.average(states) - wanted).abs().max() < 1e-3 * wanted.abs().max()


@pytest.mark.parametrize("rank", range(1, C + 1))
def test_low_rank_is_the_dense_average_s_best(rank):
    metric, states = make_metric(), normal(N, C)
    dense = torch.stack([by_formula(metric, s) for s in states]).mean(0)
    factor = metric.low_rank(states, rank).factor
    assert factor.shape == (C, rank)
    values = torch.linalg.eigvalsh(dense)
    lost = torch.linalg.matrix_norm(dense - factor @ factor.T)
    assert_close(lost, values[: C - rank].square().sum().sqrt())
    tangents = normal(N, C)
    wanted = torch.einsum("nc,cd,nd->n", tangents, factor @ factor.T, tangents)
    assert_close(metric.low_rank(states, rank).squared_norm(states, tangents), wanted)


def test_more_rank_measures_more_of_a_step():
    metric, states, step = make_metric(), normal(N, C), normal(1, C)
    lengths = [metric.low_rank(states, rank).squared_norm(states, step) for rank in range(1, C + 1)]
    assert_monotone(torch.cat(lengths))
    assert_close(lengths[-1][0], step[0] @ metric.average(states) @ step[0])


def test_single_precision_agrees_with_double():
    metric, states, tangents = make_metric(), normal(N, C), normal(N, C)
    result = metric.squared_norm(states.float(), tangents.float())
    assert result.dtype == torch.float32
    assert_close(result, metric.squared_norm(states, tangents).float())


def test_constant_metrics_do_not_look_at_the_point():
    tangents = normal(N, C)
    weights = torch.rand(C, dtype=torch.float64)
    diagonal = DiagonalMetric(weights).squared_norm(normal(N, C), tangents)
    assert_bit_equal(DiagonalMetric(weights).squared_norm(normal(N, C), tangents), diagonal)
    assert_close(diagonal, (tangents @ weights.diag() * tangents).sum(-1))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("weight", lambda: FisherMetric(torch.zeros(3))),
        ("bias", lambda: FisherMetric(torch.zeros(3, 2), torch.zeros(2))),
        ("tangent", lambda: make_metric().squared_norm(normal(N, C), normal(N, C + 1))),
        ("point", lambda: make_metric().squared_norm(normal(C), normal(N, C))),
        ("point", lambda: make_metric().matrix(normal(N, C))),
        ("states", lambda: make_metric().average(normal(N, C + 1))),
        ("rank", lambda: make_metric().low_rank(normal(N, C), 0)),
        ("rank", lambda: make_metric().low_rank(normal(N, C), C + 1)),
        ("weights", lambda: DiagonalMetric(torch.tensor([-1.0]))),
        ("weights", lambda: DiagonalMetric(torch.zeros(2, 2))),
        ("tangent", lambda: DiagonalMetric(torch.ones(3)).squared_norm(normal(C), normal(C))),
        ("factor", lambda: LowRankMetric(torch.ones(3))),
        ("tangent", lambda: LowRankMetric(torch.ones(3, 1)).squared_norm(normal(C), normal(C))),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.name == name
