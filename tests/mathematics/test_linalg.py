import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.mathematics import linalg

F64 = torch.float64
FUNCTIONS = {
    "sqrt": linalg.matrix_sqrt,
    "inverse_sqrt": linalg.matrix_inverse_sqrt,
    "log": linalg.matrix_log,
    "exp": linalg.matrix_exp,
    "expm1": linalg.matrix_expm1,
    "log1p": linalg.matrix_log1p,
    "power": lambda a: linalg.matrix_power(a, 0.3),
}


def spd(*shape, seed=0):
    a = torch.randn(*shape, shape[-1], generator=torch.Generator().manual_seed(seed), dtype=F64)
    return a @ a.mT / shape[-1] + 0.5 * torch.eye(shape[-1], dtype=F64)


POINTS = {
    "generic": spd(3),
    "identity": torch.eye(3, dtype=F64),
    "nearly equal": torch.diag(torch.tensor([1.0, 1 + 1e-13, 1 + 1e-5], dtype=F64)),
    "far apart": torch.diag(torch.tensor([0.05, 1.0, 3.0], dtype=F64)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_and_second_derivatives(name):
    def f(a):
        return FUNCTIONS[name](linalg.symmetric_part(a))

    a = torch.stack(list(POINTS.values())).requires_grad_()
    assert torch.autograd.gradcheck(
        f, a, check_forward_ad=True, rtol=1e-5, atol=1e-6, fast_mode=True
    )
    assert torch.autograd.gradgradcheck(f, a, rtol=1e-5, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_func_transforms_agree_with_autograd(name):
    f, a = FUNCTIONS[name], spd(3, 2)
    by_rows = torch.stack([torch.autograd.functional.jacobian(f, one) for one in a])
    torch.testing.assert_close(torch.func.vmap(torch.func.jacfwd(f))(a), by_rows)
    torch.testing.assert_close(torch.func.vmap(torch.func.jacrev(f))(a), by_rows)
    inner = torch.func.jacfwd(torch.func.jacfwd(f))(a[0])
    outer = torch.autograd.functional.jacobian(
        lambda x: torch.autograd.functional.jacobian(f, x, create_graph=True), a[0]
    )
    torch.testing.assert_close(inner, outer)


def test_values_of_a_worked_case():
    a = torch.tensor([[2.5, 1.5], [1.5, 2.5]], dtype=F64)  # eigenvalues 4 and 1
    torch.testing.assert_close(
        linalg.matrix_sqrt(a), torch.tensor([[1.5, 0.5], [0.5, 1.5]], dtype=F64)
    )
    log2 = torch.tensor(2.0, dtype=F64).log()
    torch.testing.assert_close(linalg.matrix_log(a), log2.expand(2, 2))
    torch.testing.assert_close(linalg.matrix_power(a, -1.0), torch.linalg.inv(a))
    torch.testing.assert_close(
        linalg.matrix_inverse_sqrt(a) @ linalg.matrix_sqrt(a), torch.eye(2, dtype=F64)
    )


def test_small_matrices_keep_their_digits():
    small = 1e-12 * spd(3)
    cube = small @ small @ small
    expected = small + small @ small / 2 + cube / 6
    torch.testing.assert_close(linalg.matrix_expm1(small), expected, rtol=1e-14, atol=0)
    expected = small - small @ small / 2 + cube / 3
    torch.testing.assert_close(linalg.matrix_log1p(small), expected, rtol=1e-14, atol=0)


def test_exp_against_torch_in_values_and_both_derivatives():
    a = POINTS["nearly equal"]
    ours, torchs = linalg.matrix_exp, lambda x: torch.matrix_exp(linalg.symmetric_part(x))
    torch.testing.assert_close(ours(a), torchs(a), rtol=1e-14, atol=1e-14)
    jacobians = [torch.func.jacrev(f)(a) for f in (ours, torchs)]
    torch.testing.assert_close(*jacobians, rtol=1e-14, atol=1e-14)
    hessians = [torch.func.jacrev(torch.func.jacrev(f))(a) for f in (ours, torchs)]
    torch.testing.assert_close(*hessians, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ["sqrt", "log", "exp", "power"])
def test_values_against_scipy(name):
    scipy = pytest.importorskip("scipy.linalg", reason="scipy, of the oracles extra, is missing")
    oracle = {
        "sqrt": scipy.sqrtm,
        "log": scipy.logm,
        "exp": scipy.expm,
        "power": lambda a: scipy.fractional_matrix_power(a, 0.3),
    }[name]
    a = spd(5)
    torch.testing.assert_close(
        FUNCTIONS[name](a), torch.from_numpy(oracle(a.numpy())), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_batch_is_its_rows_and_float32_stays_float32(name):
    f, a = FUNCTIONS[name], spd(2, 3, 4)
    rows = torch.stack([torch.stack([f(x) for x in row]) for row in a])
    torch.testing.assert_close(f(a), rows, rtol=1e-14, atol=1e-14)
    single = f(a.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), rows, rtol=2e-5, atol=2e-6)


def test_a_third_derivative_is_refused():
    a = POINTS["identity"].clone().requires_grad_()
    first = torch.autograd.grad(linalg.matrix_log(a).sum(), a, create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum(), a, create_graph=True)[0]
    with pytest.raises(UnsupportedError, match="first and second derivatives only"):
        torch.autograd.grad(second.sum(), a)


def test_safe_sqrt_and_norm_where_they_are_zero():
    x = torch.tensor([0.0, 4.0], dtype=F64, requires_grad=True)
    value = linalg.safe_sqrt(x)
    grad = torch.autograd.grad(value.sum(), x, create_graph=True)[0]
    assert value.tolist() == [0.0, 2.0]
    assert grad.tolist() == [0.0, 0.25]
    assert torch.autograd.grad(grad.sum(), x)[0].tolist() == [0.0, -1 / 32]
    assert linalg.safe_sqrt(torch.tensor(-1.0)).isnan()
    v = torch.tensor([[0.0, 0.0], [3.0, -4.0]], dtype=F64, requires_grad=True)
    norm = linalg.safe_norm(v)
    grad = torch.autograd.grad(norm.sum(), v, create_graph=True)[0]
    assert norm.tolist() == [0.0, 5.0]
    torch.testing.assert_close(grad, torch.tensor([[0.0, 0.0], [0.6, -0.8]], dtype=F64))
    assert torch.autograd.grad(grad.sum(), v)[0].isfinite().all()
    assert torch.autograd.gradgradcheck(linalg.safe_norm, v[1:].detach().requires_grad_())


def test_safe_norm_neither_underflows_nor_overflows():
    v = torch.tensor([[3e-30, 4e-30], [3e30, 4e30], [torch.inf, 1.0], [torch.nan, 1.0]])
    norm = linalg.safe_norm(v)
    torch.testing.assert_close(norm[:2], torch.tensor([5e-30, 5e30]))
    assert norm[2].isinf()
    assert norm[3].isnan()
    assert linalg.safe_norm(v, keepdim=True).shape == (4, 1)


def test_a_large_matrix_hides_no_neighbour_that_is_not_symmetric():
    uneven = torch.tensor([[1.0, 0.5], [0.0, 1.0]], dtype=F64)
    batch = torch.stack([1e10 * torch.eye(2, dtype=F64), uneven])
    with pytest.raises(ArgumentError, match=r"m: got A - A\^T up to 0\.5"):
        linalg.check_symmetric("m", batch)


def test_cholesky_factors_and_jitter():
    a = spd(2, 3)
    factor = linalg.cholesky(a)
    torch.testing.assert_close(factor @ factor.mT, a)
    singular = torch.ones(2, 2, dtype=F64)
    factor = linalg.cholesky(singular, jitter=0.5)
    torch.testing.assert_close(factor @ factor.mT, singular + 0.5 * torch.eye(2, dtype=F64))


BAD = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=F64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linalg.matrix_log(BAD), "matrix: got smallest eigenvalue -1, expected a symm"),
        (lambda: linalg.matrix_sqrt(0 * BAD), "smallest eigenvalue 0"),
        (lambda: linalg.matrix_log1p(2 * BAD), "eigenvalue -2, expected eigenvalues above -1"),
        (lambda: linalg.matrix_exp(BAD[:1]), r"got torch.float64 \[1, 2\]"),
        (lambda: linalg.matrix_exp(BAD * torch.nan), "NaN or infinity"),
        (lambda: linalg.cholesky(BAD, name="metric"), "metric: got smallest eigenvalue -1"),
        (lambda: linalg.cholesky(BAD, jitter=-1.0), "jitter: got -1.0"),
        (lambda: linalg.cholesky(BAD.triu()), "A - A.T up to 2, expected a symmetric"),
        (lambda: linalg.check_positive_definite("g", BAD), "g: got smallest eigenvalue -1"),
    ],
)
def test_what_is_not_positive_definite_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
