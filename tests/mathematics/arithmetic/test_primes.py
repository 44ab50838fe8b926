import math
import random
from fractions import Fraction

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic import primes
from adaptive_attention_tiling.mathematics.arithmetic.primes import (
    check_prime,
    factor,
    is_prime,
    primes_up_to,
    valuation,
)
from adaptive_attention_tiling.mathematics.arithmetic.residue_symbols import (
    jacobi_symbol,
    kronecker_symbol,
)


def test_the_sieve_and_the_test_agree_with_trial_division():
    trial = [n for n in range(2, 3000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    assert primes_up_to(2999) == trial
    assert [n for n in range(-2, 3000) if is_prime(n)] == trial
    assert primes_up_to(1) == []
    assert primes_up_to(3) == [2, 3]


@pytest.mark.parametrize(
    ("number", "prime"),
    [
        pytest.param(561, False, id="Carmichael"),
        pytest.param(3215031751, False, id="strong pseudoprime to 2, 3, 5, 7"),
        pytest.param(318665857834031151167461, False, id="strong pseudoprime to 12 bases"),
        pytest.param(3317044064679887385961981, False, id="strong pseudoprime to 13 bases"),
        pytest.param(2**61 - 1, True, id="Mersenne 61"),
        pytest.param(2**127 - 1, True, id="Mersenne 127"),
        pytest.param((2**61 - 1) * (2**127 - 1), False, id="product of Mersenne primes"),
        pytest.param((2**127 - 1) ** 2, False, id="square of a Mersenne prime"),
    ],
)
def test_hard_cases_of_primality(number, prime):
    assert is_prime(number) is prime


def test_factors_multiply_to_the_number_and_are_prime():
    generator = random.Random(0)
    numbers = [generator.randrange(1, 10**16) for _ in range(40)]
    for number in [*numbers, 1, -12, 2**40, 1000003**2, 1009 * 1013, 10007**3]:
        found = factor(number)
        assert math.prod(p**e for p, e in found.items()) == abs(number)
        assert all(is_prime(p) for p in found)
        assert list(found) == sorted(found)


def test_long_numbers_are_factored_alike_with_and_without_flint(monkeypatch):
    pytest.importorskip("flint", reason="python-flint, of the arithmetic extra, is not installed")
    number = 2**5 * 1009**2 * 1000003 * (2**61 - 1) * 4294967311
    expected = {2: 5, 1009: 2, 1000003: 1, 4294967311: 1, 2**61 - 1: 1}
    assert factor(number) == expected
    monkeypatch.setattr(primes, "installed", lambda module: False)
    assert factor(number) == expected


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 7, 31, 100])
def test_valuations_count_powers(exponent):
    assert valuation(Fraction(10 * 3**exponent, 7), 3) == exponent
    assert valuation(Fraction(-10, 7 * 3**exponent), 3) == -exponent


def test_valuations_are_additive_and_ultrametric():
    generator = random.Random(1)
    for _ in range(200):
        x, y = (Fraction(generator.randint(1, 500), generator.randint(1, 500)) for _ in range(2))
        for p in (2, 3, 5):
            assert valuation(x * y, p) == valuation(x, p) + valuation(y, p)
            assert valuation(x + y, p) >= min(valuation(x, p), valuation(y, p))


def test_kronecker_symbols_are_those_of_pari():
    pari = pytest.importorskip("cypari", reason="cypari, of the oracles extra, is not installed")
    table = pari.pari("matrix(61, 61, i, j, kronecker(i - 31, j - 31))")
    for a in range(-30, 31):
        for n in range(-30, 31):
            assert kronecker_symbol(a, n) == int(table[a + 30, n + 30])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_prime("prime", 91), r"prime: got 91 = 7 \* 13, expected a prime"),
        (lambda: check_prime("prime", 1), "prime: got 1, expected a prime"),
        # Two primes of thirty digits, which rho would look for for ever.
        (lambda: check_prime("prime", (10**29 + 319) * (10**30 + 57)), "a composite number"),
        (lambda: check_prime("prime", 7 * (10**30 + 57)), r" = 7 \* 1"),
        (lambda: check_prime("base", 2.0), r"base: got 2\.0"),
        (lambda: valuation(8, 4), r"prime: got 4 = 2 \* 2"),
        (lambda: valuation(0, 2), "number: got 0"),
        (lambda: valuation(0.5, 2), "number: got 0.5, expected an int or a Fraction"),
        (lambda: factor(0), "number: got 0"),
        (lambda: jacobi_symbol(3, 8), "modulus: got 8, expected an odd number"),
    ],
)
def test_what_is_no_prime_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
