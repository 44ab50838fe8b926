"""The batched tridiagonal solve is the dense one, with its gradients."""

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.tridiagonal import solve_tridiagonal
from adaptive_attention_tiling.testing import assert_close


def system(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    beside = torch.randn(*shape[:-1], shape[-1] - 1, dtype=torch.float64)
    diagonal = 2.5 + torch.rand(*shape, dtype=torch.float64)
    diagonal[..., 1:] += beside.abs()
    diagonal[..., :-1] += beside.abs()
    return diagonal, beside, torch.randn(*shape, dtype=torch.float64)


def dense(diagonal: Tensor, beside: Tensor, right: Tensor) -> Tensor:
    matrix = torch.diag_embed(diagonal)
    matrix = matrix + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    return torch.linalg.solve(matrix, right[..., None])[..., 0]


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (3, 5), (2, 3, 17)])
def test_it_solves_the_dense_system(shape):
    rows = system(*shape)
    assert_close(solve_tridiagonal(*rows), dense(*rows))


def test_gradients_are_those_of_the_dense_solve():
    rows = [x.requires_grad_() for x in system(3, 6)]
    weight = torch.randn(3, 6, dtype=torch.float64)
    fast = torch.autograd.grad((solve_tridiagonal(*rows) * weight).sum(), rows)
    slow = torch.autograd.grad((dense(*rows) * weight).sum(), rows)
    for name, one, other in zip(("diagonal", "beside", "right"), fast, slow, strict=True):
        assert_close(one, other, what=name, gradient=True)
    assert torch.autograd.gradcheck(solve_tridiagonal, rows)
    assert torch.autograd.gradgradcheck(solve_tridiagonal, rows)


def test_a_matrix_may_serve_several_right_sides():
    diagonal, beside, _ = system(5)
    right = torch.randn(4, 5, dtype=torch.float64)
    rows = diagonal.expand(4, 5), beside.expand(4, 4), right
    assert_close(solve_tridiagonal(diagonal, beside, right), dense(*rows))


def test_entries_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match="beside"):
        solve_tridiagonal(torch.ones(4), torch.ones(4), torch.ones(4))
