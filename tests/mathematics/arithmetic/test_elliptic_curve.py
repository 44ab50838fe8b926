import random
from fractions import Fraction

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.elliptic_curve import (
    INFINITY,
    EllipticCurve,
)

CURVE_37 = EllipticCurve(0, 0, 1, -1, 0)
CURVE_11 = EllipticCurve(0, -1, 1, -10, -20)


def random_curve(generator, size, denominators=(1,)):
    while True:
        values = [
            Fraction(generator.randint(-size, size), generator.choice(denominators))
            for _ in range(5)
        ]
        try:
            return EllipticCurve(*values)
        except ArgumentError:
            continue


def curve_through(generator, size):
    """A curve and a point (x, y) on it, by solving for a6."""
    while True:
        a1, a2, a3, a4, x, y = (generator.randint(-size, size) for _ in range(6))
        a6 = y * y + a1 * x * y + a3 * y - x**3 - a2 * x * x - a4 * x
        try:
            curve = EllipticCurve(a1, a2, a3, a4, a6)
        except ArgumentError:
            continue
        return curve, curve.point(x, y)


def test_invariants_of_37a1_and_11a1():
    assert CURVE_37.b_invariants == (0, -2, 1, -1)
    assert CURVE_37.c_invariants == (48, -216)
    assert CURVE_37.discriminant == 37
    assert CURVE_37.j_invariant == Fraction(110592, 37)
    assert CURVE_11.discriminant == -(11**5)
    assert CURVE_11.j_invariant == Fraction(-122023936, 161051)


def test_multiples_of_the_generator_of_37a1():
    multiples = [CURVE_37.multiply(CURVE_37.point(0, 0), n) for n in range(7)]
    abscissae = [point[0] for point in multiples[1:]]
    assert multiples[0] is INFINITY
    assert abscissae == [0, 1, -1, 2, Fraction(1, 4), 6]


def test_the_group_law():
    generator = random.Random(0)
    for _ in range(20):
        curve, p = curve_through(generator, 5)
        q, r = curve.multiply(p, 3), curve.negate(curve.multiply(p, 2))
        assert curve.contains(q)
        assert curve.contains(r)
        assert curve.add(p, q) == curve.add(q, p)
        assert curve.add(curve.add(p, q), r) == curve.add(p, curve.add(q, r))
        assert curve.add(p, curve.negate(p)) is INFINITY
        assert curve.add(p, INFINITY) == curve.add(INFINITY, p) == p
        assert curve.multiply(p, -5) == curve.negate(curve.add(q, curve.add(p, p)))


@pytest.mark.parametrize(
    ("coefficients", "point", "order"),
    [
        ((0, -1, 1, -10, -20), (5, 5), 5),
        ((0, -1, 1, -10, -20), None, 1),
        ((0, 0, 0, -1, 0), (0, 0), 2),
        ((0, 0, 0, 0, 1), (2, 3), 6),
        ((1, 1, 1, -10, -10), (8, 18), 4),
        ((1, -1, 1, -14, 29), (-3, 7), 9),
        ((1, -1, 0, -4, 4), None, 1),
        ((1, 0, 1, -19, 26), (-2, 8), 6),
        ((1, -1, 1, -122, 1721), (-9, 49), 12),
        ((0, 0, 1, -1, 0), (0, 0), None),
    ],
)
def test_torsion_orders(coefficients, point, order):
    curve = EllipticCurve(*coefficients)
    point = None if point is None else curve.point(*point)
    assert curve.torsion_order(point) == order
    if order is not None:
        assert [n for n in range(1, order + 1) if curve.multiply(point, n) is None] == [order]


def test_a_substitution_scales_invariants_and_carries_points():
    generator = random.Random(2)
    for _ in range(10):
        curve, point = curve_through(generator, 9)
        change = curve.minimal_substitution()
        model = curve.minimal_model()
        assert model.discriminant * change.u**12 == curve.discriminant
        assert model.j_invariant == curve.j_invariant
        image = change.apply(point)
        assert model.contains(image)
        assert model.add(image, image) == change.apply(curve.add(point, point))


def test_minimal_models_and_reductions_are_those_of_pari():
    cypari = pytest.importorskip("cypari", reason="cypari, of the oracles extra, is not installed")
    ask = cypari.pari("(a)->my(E=ellminimalmodel(ellinit(a))); [E[1..5], E.disc, E]")
    trace = cypari.pari("(E, p)->ellap(E, p)")
    kinds = {1: "split multiplicative", -1: "nonsplit multiplicative", 0: "additive"}
    generator, seen = random.Random(3), set()
    for case in range(120):
        curve = random_curve(generator, (2, 6, 30)[case % 3], (1, 1, 2, 3, 5))
        minimal, discriminant, answer = ask([cypari.pari(str(a)) for a in curve.coefficients])
        assert curve.minimal_model().coefficients == tuple(int(a) for a in minimal)
        for p in (2, 3, 5, 7):
            bad = int(discriminant) % p == 0
            expected = kinds[int(trace(answer, p))] if bad else "good"
            assert curve.reduction(p) == expected
            seen.add((p, expected))
    assert len(seen) == 16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EllipticCurve(0, 0, 0, 0, 0), "curve: .* of discriminant 0"),
        (lambda: EllipticCurve(0, 1, 0, 0, 0), "expected a nonsingular curve"),
        (lambda: EllipticCurve(0, 0, 0, 0.5, 1), "a4: got 0.5, expected an int or a Fraction"),
        (lambda: EllipticCurve(0, 0, True, 1, 1), "a3: got True"),
        (lambda: CURVE_37.point(1, 1), r"point: got \(1, 1\), expected a point of y\^2"),
        (lambda: CURVE_37.reduction(4), r"prime: got 4 = 2 \* 2"),
    ],
)
def test_what_is_no_curve_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
