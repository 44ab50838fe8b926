import random
import sys
import warnings

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, MissingDependencyError
from adaptive_attention_tiling.mathematics.topology.smith_normal_form import (
    elementary_divisors,
    smith_normal_form,
)

CASES = {
    "hand-worked": ([[2, 4, 4], [-6, 6, 12], [10, 4, 16]], (2, 2, 156)),
    "coprime": ([[2, 0], [0, 3]], (1, 6)),
    "zero": ([[0, 0, 0], [0, 0, 0]], ()),
    "singular": ([[6, 10], [9, 15]], (1,)),
    "wide": ([[4, 6, 8]], (2,)),
    "beyond int64": ([[2**70, 0], [0, 3 * 2**64]], (2**64, 3 * 2**70)),
}


def product(first, second):
    columns = list(zip(*second, strict=True))
    return [[sum(x * y for x, y in zip(r, c, strict=True)) for c in columns] for r in first]


def identity(size):
    return [[int(i == j) for j in range(size)] for i in range(size)]


def random_rows(seed, height, width, low_rank=False):
    rng = random.Random(seed)
    if low_rank:
        return product(random_rows(seed, height, 3), random_rows(seed + 1, 3, width))
    return [[rng.randint(-9, 9) for _ in range(width)] for _ in range(height)]


RANDOM = {
    f"{h}x{w} {seed}": random_rows(seed, h, w, low_rank)
    for seed, (h, w, low_rank) in enumerate(
        [(1, 1, False), (4, 4, False), (5, 8, False), (9, 6, False), (7, 7, True), (12, 12, False)]
    )
}


@pytest.mark.parametrize(("rows", "expected"), CASES.values(), ids=CASES.keys())
def test_golden_divisors(rows, expected):
    assert smith_normal_form(rows).divisors == expected
    for method in ("native", "auto"):
        assert elementary_divisors(rows, method) == expected


@pytest.mark.parametrize("rows", RANDOM.values(), ids=RANDOM.keys())
def test_law_transforms_are_unimodular_and_diagonalise(rows):
    form = smith_normal_form(rows)
    diagonal = product(product(form.left, rows), form.right)
    expected = [
        [form.divisors[i] if i == j and i < len(form.divisors) else 0 for j in range(len(rows[0]))]
        for i in range(len(rows))
    ]
    assert diagonal == expected
    assert product(form.left, form.left_inverse) == identity(len(rows))
    assert product(form.right, form.right_inverse) == identity(len(rows[0]))
    assert all(b % a == 0 for a, b in zip(form.divisors, form.divisors[1:], strict=False))
    assert all(value > 0 for value in form.divisors)


@pytest.mark.parametrize("rows", RANDOM.values(), ids=RANDOM.keys())
def test_pair_native_flint_and_transforms(rows):
    pytest.importorskip("flint", reason="flint, of the arithmetic extra, is not installed")
    expected = smith_normal_form(rows).divisors
    assert elementary_divisors(torch.tensor(rows), "native") == expected
    assert elementary_divisors(torch.tensor(rows).to_sparse(), "flint") == expected


@pytest.mark.parametrize("rows", RANDOM.values(), ids=RANDOM.keys())
def test_pair_sympy(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sympy import ZZ, Matrix
        from sympy.matrices.normalforms import smith_normal_form as of_sympy
    form = of_sympy(Matrix(rows), domain=ZZ)
    diagonal = [abs(int(form[i, i])) for i in range(min(form.shape))]
    assert tuple(sorted(value for value in diagonal if value)) == elementary_divisors(rows)


def test_pair_of_a_large_sparse_matrix():
    rng = random.Random(3)
    rows = torch.zeros(120, 150, dtype=torch.int64)
    for column in range(150):
        for row in rng.sample(range(120), 3):
            rows[row, column] = rng.choice([-1, 1, 2])
    native = elementary_divisors(rows, "native")
    pytest.importorskip("flint", reason="flint, of the arithmetic extra, is not installed")
    import flint

    form = flint.fmpz_mat(rows.tolist()).snf()
    assert native == tuple(abs(int(form[i, i])) for i in range(120) if form[i, i] != 0)


def test_empty_matrices():
    assert smith_normal_form(torch.zeros(0, 3, dtype=torch.int64)).right == identity(3)
    assert smith_normal_form(torch.zeros(2, 0, dtype=torch.int64)).left == identity(2)
    assert elementary_divisors([]) == ()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.ones(2, 2), r"matrix: got torch.float32 \[2, 2\]"),
        (torch.ones(2, dtype=torch.int64), r"expected integers \[n, m\]"),
        ([[1, 2], [3]], "rows of one length"),
        ([[1.0]], "rows of one length of integers"),
    ],
)
def test_what_is_no_integer_matrix_is_told(rows, message):
    for function in (smith_normal_form, elementary_divisors):
        with pytest.raises(ArgumentError, match=message):
            function(rows)


def test_methods_are_pinned(monkeypatch):
    with pytest.raises(ArgumentError, match="method: got 'magma'"):
        elementary_divisors([[1]], "magma")
    subject = sys.modules[elementary_divisors.__module__]
    monkeypatch.setattr(subject, "installed", lambda name: False)
    monkeypatch.setattr(subject, "_flint_divisors", _absent)
    assert elementary_divisors([[2, 0], [0, 3]]) == (1, 6)
    with pytest.raises(MissingDependencyError, match="python-flint"):
        elementary_divisors([[2, 0], [0, 3]], "flint")


def _absent(rows):
    raise MissingDependencyError("elementary_divisors", "python-flint", "pip install it")
