import math
import random
from fractions import Fraction

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.elliptic_curve import EllipticCurve
from adaptive_attention_tiling.mathematics.arithmetic.heights import (
    archimedean_local_height,
    canonical_height,
    elliptic_local_heights,
    finite_local_height,
    height_pairing,
    naive_canonical_height,
    regulator,
)
from adaptive_attention_tiling.mathematics.arithmetic.places import log_absolute_value

CURVE = EllipticCurve(0, 0, 1, -1, 0)
P = CURVE.point(0, 0)
HEIGHT_OF_P = 0.0511114082399688402358


def curve_through(generator, size, primes=()):
    """A curve and a point (x, y) of infinite order on it; a4 and a6 divisible by some primes."""
    while True:
        a1, a2, a3, a4, x, y = (generator.randint(-size, size) for _ in range(6))
        if primes:
            p = generator.choice(primes)
            a1, a2, a3, a4 = a1 * p, a2 * p, a3 * p, a4 * p ** generator.randint(1, 3)
            x, y = x * p, y * p ** generator.randint(1, 2)
        a6 = y * y + a1 * x * y + a3 * y - x**3 - a2 * x * x - a4 * x
        try:
            curve = EllipticCurve(a1, a2, a3, a4, a6)
        except ArgumentError:
            continue
        point = curve.point(x, y)
        if curve.torsion_order(point) is None:
            return curve, point


def float_invariants(curve):
    return torch.tensor([float(b) for b in curve.b_invariants], dtype=torch.float64)


@pytest.mark.parametrize(
    ("multiple", "abscissa"),
    [
        pytest.param(1, 0, id="37a1 h(P), x(P) = 0"),
        pytest.param(2, 1, id="37a1 h(2P), x = 1"),
        pytest.param(3, -1, id="37a1 h(3P), x = -1"),
        pytest.param(4, 2, id="37a1 h(4P), x = 2"),
        pytest.param(6, 6, id="37a1 h(6P), x = 6"),
        pytest.param(5, Fraction(1, 4), id="37a1 h(5P), x = 1/4: arch + log 4"),
    ],
)
def test_golden_heights_on_37a1(multiple, abscissa):
    point = CURVE.multiply(P, multiple)
    assert point[0] == abscissa
    expected = multiple**2 * HEIGHT_OF_P
    assert canonical_height(CURVE, point) == pytest.approx(expected, rel=1e-15, abs=2e-16)
    assert canonical_height(CURVE, point, "silverman") == pytest.approx(expected / 2, abs=2e-16)
    at_infinity = archimedean_local_height(
        float_invariants(CURVE), torch.tensor(float(abscissa), dtype=torch.float64)
    )
    finite = math.log(4) if multiple == 5 else 0.0
    assert float(at_infinity) + finite == pytest.approx(expected, abs=1e-15)


def test_silverman_s_height_of_p_and_the_naive_limit():
    assert canonical_height(CURVE, P, "silverman") == pytest.approx(0.02555570412, abs=5e-12)
    assert naive_canonical_height(CURVE, P, 8) == pytest.approx(0.0511106492906, abs=5e-13)


def test_heights_are_those_of_pari_at_good_and_bad_primes():
    cypari = pytest.importorskip("cypari", reason="cypari, of the oracles extra, is not installed")
    ask = cypari.pari("(a, P)->ellheight(ellinit(a), P)")
    generator = random.Random(0)
    kinds = set()
    for case in range(80):
        curve, point = curve_through(generator, 7, ((), (2,), (3,), (2, 3, 5))[case % 4])
        if case % 3 == 0:
            point = curve.multiply(point, 2 + case % 5)
        expected = float(ask([int(a) for a in curve.coefficients], [str(c) for c in point]))
        assert canonical_height(curve, point) == pytest.approx(expected, rel=2e-14, abs=2e-15)
        kinds |= {(p, curve.reduction(p)) for p in (2, 3, 5)}
    assert len(kinds) == 12


# b2 is so large beside the others that floats lose digits: in lengths of b2 the curves are
# nearly nodal. Heights by PARI at 200 digits.
@pytest.mark.parametrize(
    ("coefficients", "point"),
    [
        ((-676, 514, 288, 199800, 15945924), (134, 90894)),
        ((1000000, 1, 1, 1, 5999998), (2, 3)),
    ],
)
def test_curves_near_singular_ones_lose_no_digit(coefficients, point):
    cypari = pytest.importorskip("cypari", reason="cypari, of the oracles extra, is not installed")
    digits = cypari.pari("default(realprecision)")
    cypari.pari("default(realprecision, 200)")
    expected = cypari.pari("(a, P)->ellheight(ellinit(a), P)")(coefficients, point)
    cypari.pari(f"default(realprecision, {digits})")
    curve = EllipticCurve(*coefficients)
    height = canonical_height(curve, curve.point(*point))
    assert height == pytest.approx(float(expected), rel=1e-15)


def test_the_archimedean_height_in_floats_is_that_in_integers():
    generator = random.Random(4)
    for _ in range(20):
        curve, point = curve_through(generator, 9)
        exact = elliptic_local_heights(curve, point)["infinity"]
        floats = archimedean_local_height(
            float_invariants(curve), torch.tensor(float(point[0]), dtype=torch.float64), 28
        )
        assert float(floats) == pytest.approx(exact, rel=2e-14, abs=2e-14)


def test_local_heights_obey_duplication_at_every_place_and_sum_to_the_height():
    generator = random.Random(1)
    for case in range(16):
        curve, point = curve_through(generator, 5, ((), (2, 3))[case % 2])
        if case % 4 == 0:
            curve = EllipticCurve(
                *(
                    a / Fraction(6) ** k
                    for a, k in zip(curve.coefficients, (1, 2, 3, 4, 6), strict=True)
                )
            )
            point = curve.point(point[0] / 36, point[1] / 216)
        twice = curve.add(point, point)
        vertical = 2 * point[1] + curve.a1 * point[0] + curve.a3
        ours, doubled = elliptic_local_heights(curve, point), elliptic_local_heights(curve, twice)
        assert sum(ours.values()) == pytest.approx(canonical_height(curve, point), abs=1e-12)
        for place in ours.keys() | doubled.keys():
            expected = 4 * ours.get(place, 0.0) - 2 * log_absolute_value(vertical, place)
            assert doubled.get(place, 0.0) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize(
    ("coefficients", "point"),
    [
        ((0, 0, 1, -1, 0), (0, 0)),
        ((0, 1, 1, -2, 0), (0, 0)),
        ((1, 0, 0, -22, 0), None),
    ],
)
def test_heights_are_quadratic(coefficients, point):
    curve = EllipticCurve(*coefficients)
    if point is None:
        generator = random.Random(7)
        curve, point = curve_through(generator, 9, (2, 3, 7))
    point = curve.point(*point)
    height = canonical_height(curve, point)
    for n in range(-3, 9):
        multiple = canonical_height(curve, curve.multiply(point, n))
        assert multiple == pytest.approx(n * n * height, rel=3e-14, abs=1e-15)


def test_rank_two_parallelogram_pairing_and_regulator():
    # 389a1, the first curve of rank two; its regulator is the LMFDB's.
    curve = EllipticCurve(0, 1, 1, -2, 0)
    p, q = curve.point(-1, 1), curve.point(0, 0)
    h_p, h_q = canonical_height(curve, p), canonical_height(curve, q)
    total = canonical_height(curve, curve.add(p, q))
    total += canonical_height(curve, curve.add(p, curve.negate(q)))
    assert total == pytest.approx(2 * h_p + 2 * h_q, abs=1e-14)
    assert regulator(curve, [p, q]) == pytest.approx(0.152460177943144, abs=1e-14)
    assert height_pairing(curve, p, p) == pytest.approx(h_p, abs=1e-15)
    mixed = height_pairing(curve, curve.multiply(p, 3), curve.add(p, q))
    assert mixed == pytest.approx(3 * h_p + 3 * height_pairing(curve, p, q), abs=1e-14)
    # Three points of a lattice of rank two span no volume.
    assert regulator(curve, [p, q, curve.add(p, q)]) == pytest.approx(0, abs=1e-14)
    assert regulator(curve, []) == 1.0


def test_heights_of_torsion_are_exactly_zero():
    curve = EllipticCurve(0, -1, 1, -10, -20)
    point = curve.point(5, 5)
    assert [canonical_height(curve, curve.multiply(point, n)) for n in range(6)] == [0.0] * 6


def test_the_model_does_not_matter():
    generator = random.Random(3)
    for _ in range(10):
        curve, point = curve_through(generator, 9)
        u = Fraction(generator.randint(1, 9), generator.randint(1, 9))
        scaled = EllipticCurve(
            *(a * u**k for a, k in zip(curve.coefficients, (1, 2, 3, 4, 6), strict=True))
        )
        image = scaled.point(point[0] * u**2, point[1] * u**3)
        assert canonical_height(scaled, image) == canonical_height(curve, point)


def test_archimedean_heights_in_batches_with_gradients():
    generator = torch.Generator().manual_seed(0)
    x = 4 * torch.randn(2, 2, generator=generator, dtype=torch.float64)
    invariants = torch.stack(
        [float_invariants(CURVE), float_invariants(EllipticCurve(1, 2, 3, 4, 5))]
    )
    batched = archimedean_local_height(invariants[:, None], x)
    for row in range(2):
        for column in range(2):
            single = archimedean_local_height(invariants[row], x[row, column])
            torch.testing.assert_close(batched[row, column], single, rtol=1e-15, atol=1e-15)
    single = archimedean_local_height(invariants[:, None].float(), x.float())
    torch.testing.assert_close(single.double(), batched, rtol=1e-5, atol=1e-5)
    x.requires_grad_()
    invariants.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda b, x: archimedean_local_height(b[:, None], x, 24), (invariants, x), eps=1e-5
    )


def test_far_out_the_archimedean_height_is_log_x():
    x = torch.tensor([1e20, -1e20], dtype=torch.float64)
    height = archimedean_local_height(float_invariants(CURVE), x)
    torch.testing.assert_close(height, x.abs().log(), rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: canonical_height(CURVE, (Fraction(1), Fraction(1))), "point: got "),
        (lambda: canonical_height(CURVE, P, "lmfdb"), "normalisation: got 'lmfdb'"),
        (lambda: finite_local_height(CURVE, P, 6), r"prime: got 6 = 2 \* 3"),
        (lambda: finite_local_height(CURVE, None, 5), "point: got O"),
        (lambda: archimedean_local_height(torch.ones(3), torch.ones(())), r"invariants: got \[3\]"),
        (
            lambda: archimedean_local_height(torch.ones(4), torch.tensor(torch.nan)),
            r"point: got \(0, 0\), NaN or infinity",
        ),
    ],
)
def test_what_has_no_canonical_height_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
