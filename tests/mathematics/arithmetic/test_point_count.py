import itertools

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.finite_field import FiniteField, prime_power
from adaptive_attention_tiling.mathematics.arithmetic.point_count import (
    affine_points,
    elliptic_points,
    evaluate,
    grassmannian_points,
    projective_points,
)
from adaptive_attention_tiling.mathematics.arithmetic.weil import CurveZeta


@pytest.mark.parametrize(("prime", "degree"), [(2, 1), (5, 1), (2, 3), (3, 2), (2, 4), (5, 2)])
def test_the_axioms_of_a_field(prime, degree):
    field = FiniteField(prime, degree)
    q = field.order
    a, b, c = (
        torch.randint(q, (200,), generator=torch.Generator().manual_seed(seed)) for seed in range(3)
    )
    add, multiply = field.add, field.multiply
    assert torch.equal(multiply(a, add(b, c)), add(multiply(a, b), multiply(a, c)))
    assert torch.equal(multiply(multiply(a, b), c), multiply(a, multiply(b, c)))
    assert torch.equal(add(add(a, b), c), add(a, add(b, c)))
    everything = torch.arange(q)
    table = multiply(everything[:, None], everything[None])
    assert torch.equal(table, table.T)
    assert torch.equal(table[1], everything)
    assert all(row.unique().numel() == q for row in table[1:])
    # Frobenius adds, and its k-th power is the identity.
    frobenius = field.power(everything, prime)
    assert torch.equal(field.power(add(a, b), prime), add(frobenius[a], frobenius[b]))
    assert torch.equal(field.power(everything, q), everything)
    assert field.power(everything, 0).tolist() == [1] * q


def reference_points(equations, p, n):
    """Points over F_p by plain integers."""
    return sum(
        all(
            sum(
                c * torch.tensor(x).pow(torch.tensor(e)).prod().item() for e, c in equation.items()
            ) % p == 0
            for equation in equations
        )
        for x in itertools.product(range(p), repeat=n)
    )  # fmt: skip


TWISTED = [{(2, 0, 0): 1, (0, 1, 0): -1}, {(3, 0, 0): 1, (0, 0, 1): -1}]
MIXED = [{(2, 1, 0): 3, (0, 0, 2): -1, (0, 0, 0): 2}]


@pytest.mark.parametrize("p", [2, 3, 5])
@pytest.mark.parametrize("equations", [TWISTED, MIXED, [*TWISTED, *MIXED]])
def test_counts_against_plain_integers(p, equations):
    assert affine_points(equations, p) == reference_points(equations, p, 3)


def test_the_twisted_cubic_is_a_line_over_every_field():
    assert [affine_points(TWISTED, q) for q in (2, 4, 8, 9, 25)] == [2, 4, 8, 9, 25]


def test_fermat_cubic_of_hermite():
    # x^3 + y^3 + z^3 over F_4 is the Hermitian curve: q = 2 in q^3 + 1 points.
    fermat = {(3, 0, 0): 1, (0, 3, 0): 1, (0, 0, 3): 1}
    assert projective_points([fermat], 4) == 9
    assert projective_points([fermat], 2) == 3


@pytest.mark.parametrize(
    ("coefficients", "q"),
    [((0, -1, 1, -10, -20), 3), ((0, 0, 1, -1, 0), 2), ((0, 0, 1, -1, 0), 5), ((0, 0, 0, 1, 1), 7)],
)
def test_weil_conjectures_of_elliptic_curves(coefficients, q):
    zeta = CurveZeta.from_points(q, [elliptic_points(coefficients, q)])
    assert zeta.genus == 1
    assert zeta.keeps_functional_equation()
    assert zeta.keeps_riemann_hypothesis()
    for degree in (2, 3):
        assert zeta.points(degree) == elliptic_points(coefficients, q**degree)
    assert zeta.class_number() == zeta.points(1)
    product = zeta.inverse_roots().prod()
    assert complex(product) == pytest.approx(q)


def test_weil_conjectures_of_a_curve_of_genus_two():
    # y^2 = x^5 + x + 1 with its one point at infinity, p odd and prime to its discriminant.
    curve = {(0, 2): 1, (5, 0): -1, (1, 0): -1, (0, 0): -1}
    counts = [affine_points([curve], 7**k) + 1 for k in (1, 2, 3)]
    zeta = CurveZeta.from_points(7, counts[:2])
    assert zeta.keeps_functional_equation()
    assert zeta.keeps_riemann_hypothesis()
    assert zeta.points(3) == counts[2]


def test_a_polynomial_of_no_curve_breaks_the_conjectures():
    assert not CurveZeta(5, (1, -2, 3)).keeps_functional_equation()
    # The Hasse bound |a| <= 2 sqrt 5 is broken.
    assert CurveZeta(5, (1, -5, 5)).keeps_functional_equation()
    assert not CurveZeta(5, (1, -5, 5)).keeps_riemann_hypothesis()


def test_batches_of_points():
    field = FiniteField(3, 2)
    points = torch.randint(9, (40, 3), generator=torch.Generator().manual_seed(0))
    singly = torch.cat([evaluate(field, MIXED[0], point[None]) for point in points])
    assert torch.equal(evaluate(field, MIXED[0], points), singly)


def test_prime_powers():
    assert prime_power("q", 2**10) == (2, 10)
    assert prime_power("q", 7) == (7, 1)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: FiniteField(6), r"prime: got 6 = 2 \* 3, expected a prime"),
        (lambda: FiniteField(2, 0), "degree: got 0"),
        (lambda: FiniteField(2, 17), r"q = 2\^17"),
        (lambda: affine_points(TWISTED, 15), r"q: got 15 = 3 \* 5"),
        (lambda: affine_points(TWISTED, 1021), r"1021\^3 points"),
        (lambda: affine_points([], 3), "variables"),
        (lambda: affine_points([{(1,): 1, (1, 1): 1}], 3), r"got \[1, 2\] variables"),
        (lambda: affine_points([{(-1, 0): 1}], 3), "exponents >= 0"),
        (lambda: projective_points(TWISTED, 3), "homogeneous"),
        (lambda: projective_points([{(0, 0): 1}], 3), "homogeneous"),
        (lambda: grassmannian_points(3, 2, 3), "k: got 3"),
        (lambda: grassmannian_points(1, 2, 6), "q: got 6"),
        (lambda: CurveZeta(5, (1, 2)), "coefficients: "),
        (lambda: CurveZeta(10, (1, 0, 10)), "q: got 10"),
        (lambda: CurveZeta(5, (1, 0, 5)).points(0), "degree: got 0"),
        (lambda: CurveZeta.from_points(5, [6, 27]), "points: .*smooth curve"),
    ],
)
def test_what_cannot_be_counted_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
