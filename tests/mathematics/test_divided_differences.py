import itertools

import mpmath
import pytest
import torch

from adaptive_attention_tiling.mathematics import divided_differences as dd

POINTS = [1e-3, 0.4, 0.4 * (1 + 1e-15), 0.4 * (1 + 1e-9), 0.40001, 0.7, 1.5, 1.7, 60.0]
FUNCTIONS = {
    "exp": (dd.EXP, mpmath.exp, 5.0),
    "log1p": (dd.LOG1P, mpmath.log1p, 5.0),
    "log": (dd.LOG, mpmath.log, 5.0),
    "sqrt": (dd.SQRT, mpmath.sqrt, 5.0),
    "inverse sqrt": (dd.INVERSE_SQRT, lambda x: 1 / mpmath.sqrt(x), 5.0),
    "power -1.7": (dd.power(-1.7), lambda x: x ** mpmath.mpf(-1.7), 10.0),
    "power 0.3": (dd.power(0.3), lambda x: x ** mpmath.mpf(0.3), 40.0),
}


def exact(f, *points):
    """The divided difference in 200 digits; equal points are taken 1e-60 apart."""
    with mpmath.workdps(200):
        x = [mpmath.mpf(p) + k * mpmath.mpf(10) ** -60 for k, p in enumerate(points)]
        values = [f(p) for p in x]
        for width in range(1, len(x)):
            values = [
                (values[i + 1] - values[i]) / (x[i + width] - x[i]) for i in range(len(values) - 1)
            ]
        return values[0]


def worst(approximate, points, f):
    """Largest relative error in units of float64's eps."""
    found = approximate(*torch.tensor(points, dtype=torch.float64).T).tolist()
    errors = [
        abs(float((mpmath.mpf(got) - want) / want))
        for got, want in zip(found, (exact(f, *p) for p in points), strict=True)
    ]
    return max(errors) / 2.2e-16


@pytest.mark.parametrize("name", FUNCTIONS)
def test_divided_differences_keep_all_digits_at_near_equal_points(name):
    function, f, bound = FUNCTIONS[name]
    pairs = list(itertools.product(POINTS, repeat=2))
    assert worst(function.first, pairs, f) < bound
    triples = list(itertools.combinations_with_replacement(POINTS, 3))
    triples += [tuple(reversed(t)) for t in triples[::3]]
    assert worst(function.second, triples, f) < bound


def test_exp_of_points_far_apart_neither_overflows_nor_cancels():
    pairs = [(-800.0, 0.0), (0.0, -800.0), (-3.0, 700.0)]
    assert worst(dd.EXP.first, pairs, mpmath.exp) < 3
    assert worst(dd.EXP.second, [(-800.0, 0.0, 1e-9), (-1.0, 0.0, 650.0)], mpmath.exp) < 5


def test_the_textbook_difference_would_not_pass():
    def naive(x, y):
        return (x.log() - y.log()) / (x - y)

    assert worst(naive, [(0.4, 0.4 * (1 + 1e-9))], mpmath.log) > 1e5
