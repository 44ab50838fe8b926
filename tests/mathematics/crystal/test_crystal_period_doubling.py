import math
from fractions import Fraction

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    doubling_bifurcations,
    feigenbaum_function,
    period_doubling,
    similarity_dimension,
)


def test_golden_delta_and_onset_of_chaos():
    """B5: delta = 4.6692016091 and r_infinity = 3.56994567187."""
    found = period_doubling(13)
    assert float(found.ratios[-1]) == pytest.approx(4.6692016091, abs=5e-9)
    assert float(found.onset) == pytest.approx(3.56994567187, abs=5e-12)
    # Each doubling is nearer, by about delta.
    errors = (found.ratios - 4.66920160910299).abs()
    assert bool((errors[6:] < errors[5:-1] / 4).all())


def test_superstable_cycles_hold_the_critical_point():
    for order, r in enumerate(period_doubling(6).parameters.tolist()):
        x = 0.5
        orbit = []
        for _ in range(2**order):
            x = r * x * (1 - x)
            orbit.append(x)
        assert orbit[-1] == pytest.approx(0.5, abs=1e-12)
        assert len({round(value, 6) for value in orbit}) == 2**order


def test_golden_second_doubling():
    """B5: r_2 = 1 + sqrt 6 = 3.44948974278; the first is 3, the third 3.54409035955."""
    found = doubling_bifurcations(6)
    assert float(found[1]) == pytest.approx(3.44948974278, abs=5e-12)
    assert float(found[0]) == pytest.approx(3, abs=1e-14)
    assert float(found[2]) == pytest.approx(3.5440903595519, abs=1e-12)
    superstable = period_doubling(6).parameters
    assert bool((superstable[:6] < found).all())
    assert bool((found < superstable[1:7]).all())
    assert float((found[4] - found[3]) / (found[5] - found[4])) == pytest.approx(4.669, abs=2e-3)


def test_golden_alpha_of_the_universal_function():
    """B5: alpha = -2.5029078751 = 1 / g(1), and g solves its equation away from its places."""
    c = feigenbaum_function()
    assert float(1 / (1 + c.sum())) == pytest.approx(-2.5029078751, abs=5e-11)
    assert float(c[0]) == pytest.approx(-1.527632997, abs=1e-8)

    def g(x):
        return 1 + sum(float(value) * x ** (2 * n + 2) for n, value in enumerate(c))

    alpha = 1 / g(1.0)
    for x in (0.1, 0.37, 0.77, 0.93):
        assert alpha * g(g(x / alpha)) == pytest.approx(g(x), abs=1e-11)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([Fraction(1, 3)] * 2, 0.630929753571),
        ([Fraction(1, 2)] * 3, 1.58496250072),
        ([1 / 3] * 4, math.log(4) / math.log(3)),
        ([0.5, 0.25], math.log2((1 + math.sqrt(5)) / 2)),
    ],
    ids=["B5 Cantor", "B5 Sierpinski", "Koch", "golden"],
)
def test_golden_similarity_dimensions(ratios, expected):
    assert similarity_dimension(ratios) == pytest.approx(expected, abs=5e-12)
    assert sum(float(r) ** similarity_dimension(ratios) for r in ratios) == pytest.approx(1)


MISUSED = {
    "doublings": (lambda: period_doubling(2), "doublings: got 2"),
    "count": (lambda: doubling_bifurcations(9), "count: got 9"),
    "degree": (lambda: feigenbaum_function(1), "degree: got 1"),
    "one": (lambda: similarity_dimension([0.5]), "ratios: got"),
    "large": (lambda: similarity_dimension([0.5, 1.0]), "expected two or more"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
