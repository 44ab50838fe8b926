import math
import random

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.mahler_measure import (
    log_mahler_measure,
    log_mahler_of_tensor,
    mahler_measure,
    primitive_part,
)

LEHMER = [1, 1, 0, -1, -1, -1, -1, -1, 0, 1, 1]
GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


def multiplied(first, second):
    product = [0] * (len(first) + len(second) - 1)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            product[i + j] += a * b
    return product


def jensen_mean(coefficients, points=4096):
    """The mean of log|f| on the unit circle, by the trapezoidal rule."""
    angle = torch.arange(points, dtype=torch.float64) * (2 * math.pi / points)
    powers = torch.polar(torch.ones_like(angle), angle)[:, None] ** torch.arange(len(coefficients))
    values = powers @ torch.tensor(coefficients, dtype=torch.complex128)
    return float(values.abs().log().mean())


@pytest.mark.parametrize(
    ("coefficients", "expected"),
    [
        pytest.param(LEHMER, 1.17628081825991750654, id="Lehmer polynomial Mahler measure"),
        pytest.param([-1, -1, 1], GOLDEN_RATIO, id="golden ratio"),
        pytest.param([-1, -1, 0, 1], 1.32471795724474602596, id="smallest Pisot number"),
        pytest.param([7], 7, id="constant"),
        pytest.param([3, 0, -5], 5, id="leading coefficient"),
        pytest.param([0, 0, -6, 3], 6, id="root 2 and double root 0"),
        pytest.param([1, 1, 1, 1, 1], 1, id="cyclotomic"),
        pytest.param([1, -4, 6, -4, 1], 1, id="(x - 1)^4, a root on the circle four times"),
    ],
)
def test_known_measures(coefficients, expected):
    assert mahler_measure(coefficients) == pytest.approx(expected, rel=4e-15)


def test_the_measure_is_multiplicative_even_for_powers():
    generator = random.Random(0)
    for _ in range(20):
        first = [generator.randint(-9, 9) for _ in range(4)] + [generator.randint(1, 9)]
        second = [generator.randint(-9, 9) for _ in range(2)] + [-generator.randint(1, 9)]
        product = multiplied(multiplied(first, first), multiplied(second, first))
        expected = 3 * log_mahler_measure(first) + log_mahler_measure(second)
        assert log_mahler_measure(product) == pytest.approx(expected, abs=2e-13)


def test_jensen_s_formula_says_the_same():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        roots = torch.rand(5, generator=generator, dtype=torch.float64) * 1.4 - 0.7
        roots = torch.cat([roots, 1 / roots[:3]])
        coefficients = torch.tensor([1.5], dtype=torch.float64)
        for root in roots:
            padded = torch.nn.functional.pad(coefficients, (1, 0))
            coefficients = padded - root * torch.nn.functional.pad(coefficients, (0, 1))
        exact = math.log(1.5) + float(roots.abs().clamp(min=1).log().sum())
        value = float(log_mahler_of_tensor(coefficients))
        assert value == pytest.approx(exact, abs=1e-12)
        assert value == pytest.approx(jensen_mean(coefficients.tolist()), abs=1e-12)


def test_batches_and_gradients_of_the_tensor_form():
    generator = torch.Generator().manual_seed(1)
    coefficients = torch.randn(2, 3, 6, generator=generator, dtype=torch.float64)
    coefficients.requires_grad_()
    batched = log_mahler_of_tensor(coefficients)
    singly = [log_mahler_of_tensor(row) for row in coefficients.reshape(-1, 6)]
    torch.testing.assert_close(batched.flatten(), torch.stack(singly), rtol=1e-13, atol=1e-13)
    assert torch.autograd.gradcheck(log_mahler_of_tensor, coefficients)
    assert log_mahler_of_tensor(coefficients.detach().float()).dtype == torch.float32


def test_the_primitive_part_has_no_common_factor():
    assert primitive_part([4, -6, 10, 0]) == [2, -3, 5]


def test_one_root_may_be_of_any_size():
    long = 3**1000
    for coefficients in ([long, 2], [2, long], [long]):
        assert log_mahler_measure(coefficients) == pytest.approx(1000 * math.log(3), rel=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_mahler_measure([10**400, 1, 1]), "coefficients: got roots beyond 1e308"),
        (lambda: mahler_measure([0, 0]), "coefficients: .*expected integers, not all of them 0"),
        (lambda: mahler_measure([1.5, 1]), "coefficients: got 1.5"),
        (lambda: log_mahler_of_tensor(torch.tensor([1.0, 0.0])), "a leading 0 or NaN"),
        (
            lambda: log_mahler_of_tensor(torch.tensor([1, 2])),
            r"coefficients: got torch.int64 \[2\]",
        ),
    ],
)
def test_what_is_no_polynomial_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
