"""Transfer entropy of normal processes in closed form, and of symbols by counting."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.information import (
    discrete_transfer_entropy,
    normal_transfer_entropy,
    stationary_covariance,
)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def identity(n):
    return torch.eye(n, dtype=torch.float64)


def driven(a, b):
    """x iid of unit variance, y' = a y + b x + e."""
    return tensor([0, 0], [b, a])


def te(transition, source, target, lags=1, noise=None):
    noise = identity(transition.shape[-1]) if noise is None else noise
    return normal_transfer_entropy(transition, noise, source, target, lags=lags)


@pytest.mark.parametrize("lags", [1, 2, 5])
@pytest.mark.parametrize("a", [0.0, 0.5, -0.9])
def test_golden_te_of_a_driven_process(a, lags):
    """TE X->Y, Y'=aY+bX+e (X iid, unit var), b=1: ln(2) / 2; and nothing comes back."""
    assert abs(te(driven(a, 1.0), [0], [1], lags).item() - 0.34657359028) < 5e-12
    assert abs(te(driven(a, 1.0), [1], [0], lags).item()) < 1e-13
    assert abs(te(driven(a, 0.0), [0], [1], lags).item()) < 1e-13
    for b in (0.3, 2.0):
        assert abs(te(driven(a, b), [0], [1], lags).item() - math.log1p(b * b) / 2) < 1e-12


def test_the_covariance_solves_its_equation_and_is_the_series():
    transition = torch.randn(4, 3, 3, dtype=torch.float64) * 0.3
    root = torch.randn(4, 3, 3, dtype=torch.float64)
    noise = root @ root.mT + identity(3)
    covariance = stationary_covariance(transition, noise)
    torch.testing.assert_close(transition @ covariance @ transition.mT + noise, covariance)
    total, term = torch.zeros_like(noise), noise
    for _ in range(400):
        total, term = total + term, transition @ term @ transition.mT
    torch.testing.assert_close(covariance, total, rtol=1e-11, atol=1e-12)


def test_it_is_not_negative_and_minds_no_units():
    transition = 0.25 * torch.randn(50, 4, 4, dtype=torch.float64)
    for lags in (1, 3):
        assert bool((te(transition, [0, 2], [1], lags) >= -1e-13).all())
    scale = tensor(1, 10, 0.1, 3)
    moved = scale[:, None] * transition / scale
    noise = (scale.square() * torch.ones(4)).diag().expand(50, 4, 4)
    got, wanted = te(moved, [0, 2], [1], 2, noise), te(transition, [0, 2], [1], 2)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


def test_batches_are_loops_and_gradients_are_right():
    transition = 0.2 * torch.randn(3, 2, 2, dtype=torch.float64)
    loop = torch.stack([te(one, [0], [1], 2) for one in transition])
    torch.testing.assert_close(te(transition, [0], [1], 2, identity(2).expand(3, 2, 2)), loop)
    leaf = transition[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: te(a, [0], [1], 2), leaf)


def brute_force(x, y):
    """Schreiber's sum over triples of one token of past."""
    counts = {}
    for t in range(1, len(x)):
        key = (y[t], x[t - 1], y[t - 1])
        counts[key] = counts.get(key, 0) + 1
    total = len(x) - 1

    def count(test):
        return sum(c for key, c in counts.items() if test(key))

    result = 0.0
    for (now, source, own), c in counts.items():
        both = count(lambda k, s=source, o=own: k[1:] == (s, o))
        with_own = count(lambda k, n=now, o=own: (k[0], k[2]) == (n, o))
        alone = count(lambda k, o=own: k[2] == o)
        result += c / total * math.log((c / both) / (with_own / alone))
    return result


def test_counts_are_schreiber_s_sum():
    x, y = torch.randint(3, (60,)), torch.randint(2, (60,))
    wanted = brute_force(x.tolist(), y.tolist())
    assert discrete_transfer_entropy(x, y).item() == pytest.approx(wanted, abs=1e-12)


def test_a_copied_bit_is_one_bit_at_its_lag():
    x = torch.randint(2, (4000,))
    late = torch.cat([torch.zeros(2).long(), x[:-2]])
    assert discrete_transfer_entropy(x, x.roll(1)).item() == pytest.approx(math.log(2), abs=2e-3)
    assert discrete_transfer_entropy(x, late, lags=2).item() == pytest.approx(math.log(2), abs=2e-3)
    assert discrete_transfer_entropy(x, late).item() < 2e-3
    assert discrete_transfer_entropy(late, x, lags=2).item() < 5e-3


def test_names_of_symbols_do_not_matter():
    """Not even those of a large vocabulary."""
    x, y = torch.randint(3, (300,)), torch.randint(4, (300,))
    plain = discrete_transfer_entropy(x, y, lags=2)
    named = discrete_transfer_entropy(10**12 * (5 - x), 10**15 + y, lags=2)
    torch.testing.assert_close(named, plain, rtol=1e-12, atol=0)


def test_independent_symbols_show_the_bias_that_is_told():
    values = []
    for _ in range(20):
        x, y = torch.randint(3, (1000,)), torch.randint(4, (1000,))
        values.append(discrete_transfer_entropy(x, y).item())
    told = (4 - 1) * (3 - 1) * 4 / (2 * 999)
    assert sum(values) / 20 == pytest.approx(told, rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: te(1.1 * identity(2), [0], [1]), "transition: got an eigenvalue of modulus 1.1"),
        (lambda: te(identity(2) / 2, [0], [0]), r"source: got \[0\] and \[0\]"),
        (lambda: te(identity(2) / 2, [0], [2]), "distinct components below 2"),
        (lambda: te(identity(2) / 2, [], [1]), "source: got"),
        (lambda: te(identity(2) / 2, [0], [1], 0), "lags: got 0"),
        (lambda: te(identity(2) / 2, [0], [1], noise=-identity(2)), "noise: got smallest"),
        (lambda: te(identity(2) / 2, [0], [1], noise=identity(3)), "noise: got shape"),
        (
            lambda: discrete_transfer_entropy(torch.tensor([0.5]), torch.tensor([1])),
            "source: got torch.float32",
        ),
        (
            lambda: discrete_transfer_entropy(torch.tensor([0, 1]), torch.tensor([0, -1])),
            "target: got",
        ),
        (lambda: discrete_transfer_entropy(torch.arange(3), torch.arange(3), lags=3), "lags: got"),
    ],
)
def test_what_is_no_process_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
