import math
import random
from fractions import Fraction

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.heights import (
    algebraic_height,
    archimedean_height,
    coprime_coordinates,
    count_rationals,
    exponential_height,
    local_heights,
    multiplicative_height,
    projective_height,
    rational_height,
    rationals_of_height,
    running_exponential_height,
    smooth_archimedean_height,
)
from adaptive_attention_tiling.mathematics.arithmetic.places import (
    absolute_value,
    log_absolute_value,
    places_of,
    product_over_places,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(rational_height(Fraction(3, 4)), 1.38629436112, id="h(3/4)"),
        pytest.param(
            projective_height([Fraction(2, 3), Fraction(4, 5), 1]),
            2.7080502011,
            id="h([2/3:4/5:1]) = [10:12:15]",
        ),
        pytest.param(algebraic_height([-1, -1, 1]), 0.24060591253, id="h(phi) = ln phi / 2"),
        pytest.param(
            algebraic_height([1, 1, 0, -1, -1, -1, -1, -1, 0, 1, 1]),
            math.log(1.17628081826) / 10,
            id="Lehmer's number",
        ),
    ],
)
def test_golden_heights(value, expected):
    assert value == pytest.approx(expected, abs=6e-12)


@pytest.mark.parametrize(("bound", "count"), [(1, 3), (10, 127), (100, 12175)])
def test_northcott_counts(bound, count):
    assert count_rationals(bound) == count
    if bound <= 10:
        listed = list(rationals_of_height(bound))
        assert len(listed) == len(set(listed)) == count
        assert all(multiplicative_height(x) <= bound for x in listed)
        assert [multiplicative_height(x) for x in listed][1:] == sorted(
            multiplicative_height(x) for x in listed[1:]
        )


def test_the_product_formula_is_exact():
    x = Fraction(-1400, 297)
    assert places_of([x]) == ["infinity", 2, 3, 5, 7, 11]
    assert absolute_value(x, 5) == Fraction(1, 25)
    assert product_over_places(x) == 1
    logs = [log_absolute_value(x, place) for place in places_of([x])]
    assert sum(logs) == pytest.approx(0, abs=2e-15)
    generator = random.Random(0)
    for _ in range(50):
        x = Fraction(generator.randint(1, 10**9), generator.randint(1, 10**9))
        assert product_over_places(-x) == 1


def test_coordinates_are_coprime_and_heights_do_not_see_the_scale():
    generator = random.Random(1)
    for _ in range(50):
        point = [
            Fraction(generator.randint(-30, 30), generator.randint(1, 30)) for _ in range(3)
        ] + [Fraction(1)]
        scale = Fraction(generator.randint(1, 99), -generator.randint(1, 99))
        integers = coprime_coordinates(point)
        assert math.gcd(*integers) == 1
        assert all(a == integers[-1] * x for a, x in zip(integers, point, strict=True))
        parts, moved = local_heights(point), local_heights([scale * x for x in point])
        assert sum(parts.values()) == pytest.approx(projective_height(point), abs=1e-13)
        assert sum(moved.values()) == pytest.approx(projective_height(point), abs=1e-13)
        for place in parts.keys() | moved.keys():
            shift = moved.get(place, 0.0) - parts.get(place, 0.0)
            assert shift == pytest.approx(log_absolute_value(scale, place), abs=1e-13)


@pytest.mark.parametrize("power", [-3, -1, 0, 1, 2, 5])
def test_functoriality_under_powers(power):
    for x in (Fraction(3, 4), Fraction(-7), Fraction(5, 22)):
        expected = abs(power) * rational_height(x)
        assert rational_height(x**power) == pytest.approx(expected, abs=1e-14)
    # phi^2 and 1/phi are roots of x^2 - 3x + 1 and x^2 + x - 1.
    assert algebraic_height([1, -3, 1]) == pytest.approx(2 * algebraic_height([-1, -1, 1]))
    assert algebraic_height([-1, 1, 1]) == pytest.approx(algebraic_height([-1, -1, 1]))


def test_the_height_of_a_rational_is_that_of_its_minimal_polynomial():
    for x in (Fraction(3, 4), Fraction(-17, 5), Fraction(9)):
        linear = [-3 * x.numerator, 3 * x.denominator]
        assert algebraic_height(linear) == pytest.approx(rational_height(x), abs=1e-14)


def test_archimedean_heights_of_tensors():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(4, 3, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    height = archimedean_height(points)
    for place in ((0, 0), (3, 2)):
        exact = [Fraction(x) for x in points[place].tolist()]
        local = local_heights(exact)["infinity"]
        assert float(height[place].detach()) == pytest.approx(local, abs=2e-16)
    scaled = archimedean_height(-3.0 * points)
    torch.testing.assert_close(scaled, height + math.log(3), rtol=0, atol=1e-14)
    for sharpness in (2.0, 40.0):
        excess = smooth_archimedean_height(points, sharpness) - height
        assert float(excess.min().detach()) > 0
        assert float(excess.max().detach()) <= math.log(6) / sharpness
    assert torch.autograd.gradcheck(archimedean_height, points)
    assert torch.autograd.gradgradcheck(lambda x: smooth_archimedean_height(x, 3.0), points[:1])


def test_a_zero_coordinate_has_no_gradient():
    point = torch.tensor([0.0, -2.0, 1.0], requires_grad=True)
    smooth_archimedean_height(point, 2.0).backward()
    torch.testing.assert_close(point.grad, torch.tensor([0.0, -0.4, 0.2]))


def test_exponential_heights_are_the_maxima_of_a_streamed_softmax():
    generator = torch.Generator().manual_seed(1)
    logits = 30 * torch.randn(5, 40, generator=generator, dtype=torch.float64)
    small = logits / 30
    torch.testing.assert_close(exponential_height(small), archimedean_height(small.exp()))
    shifted = exponential_height(logits + 7) - exponential_height(logits)
    torch.testing.assert_close(shifted, torch.full_like(shifted, 7.0))
    total, before = torch.zeros(5, dtype=torch.float64), logits[:, 0]
    for step, height in enumerate(running_exponential_height(logits).unbind(-1)):
        total = total * (before - height).exp() + (logits[:, step] - height).exp()
        before = height
    expected = logits.logsumexp(-1)
    torch.testing.assert_close(total.log() + before, expected, rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rational_height(0.75), "number: got 0.75, expected an int or a Fraction"),
        (lambda: projective_height([0, 0]), r"point: .*expected some coordinate other than 0"),
        (lambda: projective_height([]), "point: "),
        (lambda: algebraic_height([4]), "minimal_polynomial: .*degree 1 or more"),
        (lambda: absolute_value(3, 15), r"place: got 15 = 3 \* 5, expected a prime"),
        (lambda: archimedean_height(torch.zeros(2, 3)), "point: got a point of zeros"),
        (lambda: archimedean_height(torch.tensor([torch.nan, 1.0])), "point: got NaN"),
        (lambda: archimedean_height(torch.tensor([1, 2])), "point: got torch.int64"),
        (lambda: smooth_archimedean_height(torch.ones(2), 0.0), "sharpness: got 0.0"),
        (lambda: smooth_archimedean_height(torch.ones(2), math.inf), "sharpness: got inf"),
    ],
)
def test_what_has_no_height_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
