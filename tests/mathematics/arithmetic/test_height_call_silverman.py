import math
import random
from fractions import Fraction

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.elliptic_curve import EllipticCurve
from adaptive_attention_tiling.mathematics.arithmetic.heights import (
    arithmetic_height,
    call_silverman_height,
    call_silverman_local_heights,
    canonical_height,
    finite_green,
    green_function,
    height_bounds,
    naive_call_silverman_height,
    polynomial_green_function,
    preperiod,
    projective_height,
    rational_height,
)
from adaptive_attention_tiling.mathematics.arithmetic.rational_map import RationalMap, determinant


def quadratic(c):
    return RationalMap((c, 0, 1))


def random_map(generator, degree, size, polynomial):
    while True:
        rows = [
            [
                Fraction(generator.randint(-size, size), generator.choice((1, 1, 2, 3, 6)))
                for _ in range(degree + 1)
            ]
            for _ in range(2)
        ]
        try:
            system = RationalMap(rows[0], (1,) if polynomial else rows[1])
        except ArgumentError:
            continue
        if system.degree == degree:
            return system


@pytest.mark.parametrize(
    ("c", "x", "expected"),
    [
        pytest.param(-1, Fraction(1, 2), 0.69314718056, id="z^2 - 1 at 1/2"),
        pytest.param(-1, 2, 0.517876089791, id="z^2 - 1 at 2"),
        pytest.param(-2, 3, 0.962423650119, id="z^2 - 2 at 3"),
        pytest.param(Fraction(1, 4), Fraction(1, 3), 1.79175946923, id="z^2 + 1/4 at 1/3"),
        pytest.param(-2, 3, math.log((3 + math.sqrt(5)) / 2), id="Chebyshev z^2 - 2 at 3"),
        pytest.param(-2, Fraction(5, 2), math.log(4), id="Chebyshev z^2 - 2 at 2 + 1/2"),
        pytest.param(0, Fraction(3, 7), math.log(7), id="z^2, Weil's height"),
    ],
)
def test_golden_heights(c, x, expected):
    system = quadratic(c)
    assert call_silverman_height(system, x) == pytest.approx(expected, abs=3e-12)
    assert naive_call_silverman_height(system, x, 14) == pytest.approx(expected, abs=2e-4)
    locally = call_silverman_local_heights(system, x)
    assert sum(locally.values()) == pytest.approx(expected, abs=3e-12)


def test_parts_of_the_height_of_one_third_under_a_bad_map():
    locally = call_silverman_local_heights(quadratic(Fraction(1, 4)), Fraction(1, 3))
    assert locally["infinity"] == pytest.approx(0, abs=1e-15)
    assert finite_green(quadratic(Fraction(1, 4)), Fraction(1, 3), 2) == 1
    assert finite_green(quadratic(Fraction(1, 4)), Fraction(1, 3), 3) == 1
    # Halves of odd 2-adic integers stay such: (a/2)^2 + 1/4 = (a^2 + 1)/4.
    assert finite_green(quadratic(Fraction(1, 4)), Fraction(1, 10), 2) == 0
    assert finite_green(quadratic(Fraction(1, 9)), Fraction(1, 3), 3) == Fraction(1)
    assert finite_green(quadratic(Fraction(-1, 9)), Fraction(1, 3), 3) == Fraction(1, 2)


@pytest.mark.parametrize("polynomial", [True, False])
def test_the_height_is_multiplied_by_the_degree(polynomial):
    generator = random.Random(0)
    for case in range(15):
        system = random_map(generator, 2 + case % 3, 6, polynomial)
        x = Fraction(generator.randint(-9, 9), generator.randint(1, 9))
        image = system(x)
        if image is None:
            continue
        height = call_silverman_height(system, x)
        expected = call_silverman_height(system, image) / system.degree
        assert height == pytest.approx(expected, rel=1e-12, abs=1e-13)
        steps = 12 // (system.degree - 1)
        low, high = height_bounds(system)
        error = max(low, high) / (system.degree - 1) / system.degree**steps
        naive = naive_call_silverman_height(system, x, steps)
        assert abs(naive - height) <= error + 1e-12
        assert -low <= rational_height(image) - system.degree * rational_height(x) <= high


def test_local_heights_of_polynomials_are_escape_rates_and_obey_the_map():
    generator = random.Random(1)
    for case in range(10):
        system = random_map(generator, 2 + case % 2, 5, polynomial=True)
        x = Fraction(generator.randint(-9, 9), generator.randint(1, 9))
        locally = call_silverman_local_heights(system, x)
        moved = call_silverman_local_heights(system, system(x))
        assert sum(locally.values()) == pytest.approx(call_silverman_height(system, x), abs=1e-12)
        for place in locally.keys() | moved.keys():
            assert locally.get(place, 0.0) >= -1e-15
            expected = system.degree * locally.get(place, 0.0)
            assert moved.get(place, 0.0) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("system", "x"),
    [
        (quadratic(-1), 0),
        (quadratic(Fraction(-29, 16)), Fraction(5, 4)),
        (quadratic(Fraction(1, 4)), Fraction(1, 2)),
        (RationalMap((0, 1, 0, 4), (5, 0, 2)), None),
        (RationalMap((1, 0, 1), (0, 0, 1)), None),
    ],
)
def test_preperiodic_points_have_height_zero_or_a_growing_orbit(system, x):
    orbit, current = [], x
    while current not in orbit and len(orbit) < 12:
        orbit.append(current)
        current = system(current)
    assert (call_silverman_height(system, x) == 0.0) is (current in orbit)


def test_tails_and_periods_are_counted():
    system = quadratic(Fraction(-29, 16))
    kinds = [preperiod(system, Fraction(numerator, 4)) for numerator in (5, -1, 1, 3, 9)]
    assert kinds == [(0, 3), (0, 3), (1, 3), (2, 3), None]
    assert preperiod(system, None) == (0, 1)


def test_duplication_on_a_curve_gives_the_height_of_the_curve():
    for coefficients, (x, y) in (((0, 0, 1, -1, 0), (0, 0)), ((0, 0, 0, 0, 17), (-2, 3))):
        curve = EllipticCurve(*coefficients)
        point = curve.point(x, y)
        b2, b4, b6, b8 = curve.b_invariants
        system = RationalMap((-b8, -2 * b6, -b4, 0, 1), (b6, 2 * b4, b2, 4))
        for n in (1, 3):
            multiple = curve.multiply(point, n)
            expected = canonical_height(curve, multiple)
            height = call_silverman_height(system, multiple[0])
            assert height == pytest.approx(expected, abs=1e-13)


def test_green_functions_are_homogeneous_and_multiplied_by_the_map():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    point = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    green = green_function(*rows, point)
    scaled = green_function(*rows, -3 * point)
    torch.testing.assert_close(scaled, green + math.log(3), rtol=0, atol=1e-14)
    x, z = point.unbind(-1)
    powers = torch.stack([x**i * z ** (3 - i) for i in range(4)], -1)
    image = torch.stack([(row * powers).sum(-1) for row in rows], -1)
    torch.testing.assert_close(green_function(*rows, image), 3 * green, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_polynomial_green_functions_in_batches_with_gradients(dtype):
    generator = torch.Generator().manual_seed(1)
    c = 0.3 * torch.randn(2, generator=generator, dtype=dtype) - 1
    x = torch.tensor([3.0, -2.5, 0.1], dtype=dtype)
    coefficients = torch.stack([c, 0 * c, 0 * c + 1], -1)
    batched = polynomial_green_function(coefficients[:, None], x)
    for row in range(2):
        for column in range(3):
            slow, value = 0.0, complex(x[column])
            for step in range(1, 9):
                value = value**2 + complex(c[row])
                slow = math.log(max(1.0, abs(value))) / 2**step
            assert float(batched[row, column]) == pytest.approx(slow, abs=6e-3)
    outside, coefficients = x[:2].clone().requires_grad_(), coefficients[0].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, z: polynomial_green_function(a, z, 20), (coefficients, outside)
    )
    assert torch.autograd.gradgradcheck(
        lambda z: polynomial_green_function(coefficients.detach(), z, 12), outside[:1]
    )


def test_chebyshev_s_green_function_is_the_joukowski_map_s():
    x = torch.linspace(2.1, 9, 20, dtype=torch.float64, requires_grad=True)
    coefficients = torch.tensor([-2.0, 0, 1], dtype=torch.float64)
    green = polynomial_green_function(coefficients, x)
    torch.testing.assert_close(green, torch.acosh(x / 2), rtol=1e-14, atol=1e-14)
    (slope,) = torch.autograd.grad(green.sum(), x)
    torch.testing.assert_close(slope, 1 / (x.square() - 4).sqrt(), rtol=1e-12, atol=0)
    single = polynomial_green_function(coefficients.float(), x.detach().float())
    torch.testing.assert_close(single.double(), green.detach(), rtol=1e-5, atol=1e-6)


def test_arithmetic_height_is_the_height_of_its_system():
    curve = EllipticCurve(0, 0, 1, -1, 0)
    assert arithmetic_height(Fraction(3, 4)) == rational_height(Fraction(3, 4))
    point = [Fraction(2, 3), Fraction(4, 5), 1]
    assert arithmetic_height(point) == projective_height(point)
    assert arithmetic_height((0, 0), curve) == canonical_height(curve, curve.point(0, 0))
    assert arithmetic_height(None, curve) == arithmetic_height(None, quadratic(3)) == 0.0
    assert arithmetic_height(3, quadratic(-2)) == call_silverman_height(quadratic(-2), 3)


def test_determinants_are_exact():
    sympy = pytest.importorskip("sympy")
    generator = random.Random(2)
    for size in (1, 2, 4, 6):
        matrix = [[generator.randint(-5, 5) for _ in range(size)] for _ in range(size)]
        matrix[0][0] = 0
        assert determinant(matrix) == sympy.Matrix(matrix).det()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RationalMap((5,)), "numerator: got a constant map"),
        (lambda: RationalMap((0, 1, 1), (0, 1)), "denominator: got a root in common"),
        (lambda: RationalMap((1, 1), (0,)), "denominator: got 0"),
        (lambda: RationalMap((0.5, 0, 1)), "numerator: got 0.5"),
        (lambda: RationalMap((1, 0, 1), (0, 1)).coefficients, "expected a polynomial"),
        (lambda: call_silverman_height(RationalMap((1, 1)), 2), "system: got degree 1"),
        (lambda: finite_green(quadratic(1), 2, 9), r"prime: got 9 = 3 \* 3"),
        (lambda: arithmetic_height(None), "point: got None"),
        (lambda: arithmetic_height((1, 2, 3), EllipticCurve(0, 0, 1, -1, 0)), r"expected \(x, y\)"),
        (lambda: green_function(torch.ones(2), torch.ones(2), torch.ones(2)), "d >= 2"),
        (lambda: green_function(torch.ones(3), torch.ones(3), torch.zeros(2)), "point: "),
        (
            lambda: green_function(torch.full((3,), math.nan), torch.ones(3), torch.ones(2)),
            "numerator: got NaN",
        ),
    ],
)
def test_what_has_no_dynamical_height_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
