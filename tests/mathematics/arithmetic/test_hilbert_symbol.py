import random
from fractions import Fraction

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.hilbert_symbol import (
    hilbert_symbol,
    hilbert_symbols,
    product_of_hilbert_symbols,
)
from adaptive_attention_tiling.mathematics.arithmetic.primes import legendre_symbol, primes_up_to


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param(2, 5, {"infinity": 1, 2: -1, 5: -1}, id="(2, 5)"),
        pytest.param(-1, 3, {"infinity": 1, 2: -1, 3: -1}, id="(-1, 3)"),
        pytest.param(6, -35, {"infinity": 1, 2: -1, 3: 1, 5: 1, 7: -1}, id="(6, -35)"),
        pytest.param(-1, -1, {"infinity": -1, 2: -1}, id="Hamilton's quaternions"),
    ],
)
def test_golden_symbols_and_their_product(a, b, expected):
    assert hilbert_symbols(a, b) == expected
    assert product_of_hilbert_symbols(a, b) == 1


def test_legendre_symbols_tell_the_squares():
    for p in primes_up_to(60)[1:]:
        squares = {x * x % p for x in range(1, p)}
        for a in range(-p, p):
            expected = 0 if a % p == 0 else (1 if a % p in squares else -1)
            assert legendre_symbol(a, p) == expected


def random_rational(generator):
    return Fraction(generator.choice((-1, 1)) * generator.randint(1, 500), generator.randint(1, 60))


def test_symbols_are_those_of_pari():
    cypari = pytest.importorskip("cypari", reason="cypari, of the oracles extra, is not installed")
    generator = random.Random(0)
    ask = cypari.pari("(a, b)->[hilbert(a, b, v) | v <- [0, 2, 3, 5, 7, 11]]")
    for _ in range(200):
        a, b = random_rational(generator), random_rational(generator)
        expected = [int(v) for v in ask(str(a), str(b))]
        assert [hilbert_symbol(a, b, v) for v in ("infinity", 2, 3, 5, 7, 11)] == expected


def test_laws_of_the_symbol():
    generator = random.Random(1)
    for _ in range(100):
        a, b, c = (random_rational(generator) for _ in range(3))
        assert product_of_hilbert_symbols(a, b) == 1
        for v in ("infinity", 2, 3, 5):
            symbol = hilbert_symbol(a, b, v)
            assert symbol == hilbert_symbol(b, a, v) == hilbert_symbol(a * c * c, b, v)
            assert symbol * hilbert_symbol(a, c, v) == hilbert_symbol(a, b * c, v)
            assert hilbert_symbol(a, -a, v) == 1
            if a != 1:
                assert hilbert_symbol(a, 1 - a, v) == 1


@pytest.mark.parametrize(("p", "modulus"), [(2, 32), (3, 27)])
def test_the_symbol_tells_solutions_modulo_powers(p, modulus):
    # With valuations 0 and 1 a primitive solution to this modulus lifts (Hensel).
    squares = {(x * x % modulus, x % p != 0) for x in range(modulus)}
    coefficients = [a for a in range(1, modulus) if a % p**2]
    for a in coefficients:
        for b in coefficients[::3]:
            solvable = any(
                (a * x + b * y - z) % modulus == 0 and (prime_x or prime_y or prime_z)
                for x, prime_x in squares
                for y, prime_y in squares
                for z, prime_z in squares
            )
            assert solvable is (hilbert_symbol(a, b, p) == 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hilbert_symbol(0, 3, 2), "first: got 0"),
        (lambda: hilbert_symbol(3, 0, 2), "second: got 0"),
        (lambda: hilbert_symbol(3, 5, 15), r"place: got 15 = 3 \* 5"),
        (lambda: legendre_symbol(3, 2), "prime: got 2, expected an odd prime"),
        (lambda: legendre_symbol(3, 21), r"prime: got 21 = 3 \* 7"),
    ],
)
def test_what_has_no_symbol_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
