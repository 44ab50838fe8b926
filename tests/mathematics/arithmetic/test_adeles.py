import math
import random
from fractions import Fraction

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.adeles import (
    Adele,
    rational_reconstruction,
    solve_congruences,
)
from adaptive_attention_tiling.mathematics.arithmetic.heights import rational_height
from adaptive_attention_tiling.mathematics.arithmetic.p_adic import (
    PAdic,
    hensel_lift,
    square_root_modulo,
)
from adaptive_attention_tiling.mathematics.arithmetic.places import absolute_value
from adaptive_attention_tiling.mathematics.arithmetic.prime_base import PrimeBase, PrimeVector
from adaptive_attention_tiling.mathematics.arithmetic.primes import primes_up_to, valuation

BASE = PrimeBase([5, 2, 3])


def random_rational(generator, size=300):
    return Fraction(
        generator.choice((-1, 1)) * generator.randint(1, size), generator.randint(1, size)
    )


def smooth_rational(generator):
    number = Fraction(generator.choice((-1, 1)))
    for prime in BASE.primes:
        number *= Fraction(prime) ** generator.randint(-4, 4)
    return number


def test_vectors_of_valuations_are_a_lattice_ordered_group():
    generator = random.Random(0)
    for _ in range(50):
        x, y = smooth_rational(generator), smooth_rational(generator)
        u, v = BASE.vector(x), BASE.vector(y)
        assert u.value() == x
        assert u.exponents == tuple(valuation(x, p) for p in (2, 3, 5))
        assert (u * v).value() == x * y
        assert (u / v).value() == x / y
        assert (u**-3).value() == x**-3
        assert (u.gcd(v) * u.lcm(v)).value() == abs(x * y)
        assert u.gcd(v).divides(u)
        assert u.divides(v) is ((y / x).denominator == 1)
        assert u.height() == pytest.approx(rational_height(x), abs=1e-13)


def test_a_base_is_found_from_numbers_and_counts_their_relations():
    numbers = [Fraction(12, 35), 10, Fraction(7, 6)]
    base = PrimeBase.of(*numbers)
    assert base.primes == (2, 3, 5, 7)
    assert base.relations(numbers) == 0
    assert base.relations([*numbers, Fraction(12, 35) ** 2 * 10, -10]) == 2


def test_digits_of_known_p_adic_numbers():
    assert PAdic.of(-1, 5, 6).digits() == [4] * 6
    assert PAdic.of(Fraction(1, 2), 3, 5).digits() == [2, 1, 1, 1, 1]
    assert PAdic.of(Fraction(50, 3), 5, 4).valuation == 2
    # 3 + 1*7 + 2*7^2 + 6*7^3 + ... is a root of 2 in Z_7 (Koblitz, section I.6).
    assert PAdic.of(2, 7, 4).sqrt().digits() == [3, 1, 2, 6]


def test_p_adic_arithmetic_is_that_of_rationals_to_the_known_digits():
    generator = random.Random(1)
    for _ in range(100):
        x, y = random_rational(generator), random_rational(generator)
        for p in (2, 3, 7):
            a, b = PAdic.of(x, p, 8), PAdic.of(y, p, 6)
            for result, exact in ((a + b, x + y), (a - b, x - y), (a * b, x * y), (a / b, x / y)):
                assert result == PAdic.of(exact, p, result.precision)
            assert (a + b).precision == 6
            assert (a * b).precision == min(8 + b.valuation, 6 + a.valuation)
            assert a.absolute_value() == absolute_value(x, p)
            digits = sum(d * Fraction(p) ** (a.valuation + i) for i, d in enumerate(a.digits()))
            assert digits == a.lift()


def test_square_roots_are_lifted():
    generator = random.Random(2)
    for p in (2, 3, 5, 7, 41):
        for _ in range(20):
            x = random_rational(generator)
            root = PAdic.of(x * x, p, 20).sqrt()
            assert root * root == PAdic.of(x * x, p, (root * root).precision)
            assert root == PAdic.of(x, p, root.precision) or -root == PAdic.of(x, p, root.precision)
            assert root.precision >= 19 - abs(root.valuation)
    for p in primes_up_to(100):
        squares = {x * x % p: min(x, -x % p) for x in range(p)}
        assert [square_root_modulo(a, p) for a in range(p)] == [squares.get(a) for a in range(p)]


def test_hensel_s_root_of_a_cubic():
    # 2 is a simple root of x^3 - x - 1 modulo 5.
    root = hensel_lift([-1, -1, 0, 1], 2, 5, 13)
    x = int(root.lift())
    assert (x**3 - x - 1) % 5**13 == 0
    assert x % 5 == 2


def test_adeles_of_rationals_add_multiply_and_have_norm_one():
    generator = random.Random(3)
    for _ in range(30):
        x, y = smooth_rational(generator), smooth_rational(generator)
        a, b = (Adele.of(z, BASE.primes, 12) for z in (x, y))
        assert a.norm() == 1
        total, product = a + b, a * b
        assert total.real == x + y
        assert product.norm() == 1
        for p in BASE.primes:
            assert total.finite[p] == PAdic.of(x + y, p, total.finite[p].precision)
            assert (a + -b).finite[p] == PAdic.of(x - y, p, 12)


def test_strong_approximation_meets_all_finite_places_and_the_real_one():
    generator = random.Random(4)
    for _ in range(30):
        finite = {p: PAdic.of(random_rational(generator), p, 3) for p in (2, 3, 5)}
        adele = Adele(Fraction(generator.randint(-(10**6), 10**6), 7), finite)
        x = adele.nearest_rational()
        assert all(PAdic.of(x, p, 3) == part for p, part in finite.items())
        assert abs(x - adele.real) <= Fraction(30**3, 2)
        assert all(p in finite for p in PrimeBase.of(x.denominator).primes)
    assert Adele.of(Fraction(3, 20), (2, 5), 4).nearest_rational() == Fraction(3, 20)


def test_rationals_are_rebuilt_from_residues():
    generator = random.Random(5)
    primes = (10007, 10009, 10037)
    modulus = math.prod(primes)
    for _ in range(100):
        x = random_rational(generator, 1000)
        parts = [PAdic.of(x, p, 1) for p in primes]
        residue = solve_congruences(parts)
        assert residue.denominator == 1
        assert 0 <= residue < modulus
        assert rational_reconstruction(int(residue), modulus) == x
    assert rational_reconstruction(0, 101) == 0
    # Of the 101 residues only those of a/b with |a|, b <= 7 come from one.
    small = {Fraction(a, b) for a in range(-7, 8) for b in range(1, 8)}
    residues = {x.numerator * pow(x.denominator, -1, 101) % 101 for x in small}
    found = {r for r in range(101) if rational_reconstruction(r, 101) is not None}
    assert found == residues


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PrimeBase([2, 9]), r"primes: got 9 = 3 \* 3, expected a prime"),
        (lambda: PrimeBase([2, 2]), "primes: got .*expected each prime once"),
        (lambda: BASE.vector(14), "number: got 14, with 7 left over"),
        (lambda: BASE.vector(0), "number: got 0"),
        (lambda: BASE.vector(2) * PrimeBase([2]).vector(2), "other: got base"),
        (lambda: PrimeVector(BASE, 0, (1, 1, 1)), "exponents: got sign 0"),
        (lambda: PAdic.of(1, 12, 3), r"prime: got 12 = 2 \* 6"),
        (lambda: PAdic(5, 0, 10, 2), "unit: got 10"),
        (lambda: PAdic.of(1, 5, 3) + PAdic.of(1, 7, 3), "other: got a 7-adic number"),
        (lambda: PAdic.of(0, 5, 3).inverse(), r"number: got O\(5\^3\)"),
        (lambda: PAdic.of(2, 5, 3).sqrt(), "number: got 2 .*expected a square"),
        (lambda: PAdic.of(5, 5, 3).sqrt(), "expected a square"),
        (lambda: PAdic.of(3, 2, 8).sqrt(), "expected a square"),
        (lambda: hensel_lift([-4, 0, 1], 0, 2, 5), "root: got 0, expected a simple root"),
        (lambda: Adele(Fraction(1), {3: PAdic.of(1, 5, 2)}), "finite: got a 5-adic number at 3"),
        (lambda: Adele.of(1, (2,), 3) + Adele.of(1, (3,), 3), "other: got"),
        (lambda: solve_congruences([PAdic.of(1, 3, 1)] * 2), "parts: got"),
        (lambda: rational_reconstruction(1, 1), "modulus: got 1"),
    ],
)
def test_what_is_no_number_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
